package fit

import (
	"cmp"
	"fmt"
	"reflect"

	"github.com/potstill/potstill/engine/data"
	"github.com/potstill/potstill/layers/checkpoint"
)

// tell gives a line to the log, if there is one.
func (j *Job) tell(line string) {
	if j.Logger != nil {
		j.Logger.Warn(line)
	}
}

// tellPreprocess compares what the images go through with what the model to
// start from was made for, and with training.
func (j *Job) tellPreprocess() {
	own := j.Preprocess.Transform().Describe()
	if c := j.Init; c != nil && !j.Resume && c.Declares() && !samePreprocess(c.Preprocess, j.Preprocess) {
		j.tell(fmt.Sprintf("%s was made for other images (%s) than it gets here (%s)",
			nameOf(c), c.Preprocess.Transform().Describe(), own))
	}
	if j.Config.Train.RandomResizedCrop != nil && j.Preprocess.Size > 0 && j.Preprocess.Resize == 0 {
		j.tell(fmt.Sprintf("training sees parts of images scaled to %d, evaluation a window of that size of images that are not scaled; a resize to about %d makes them alike",
			j.Preprocess.Size, j.Preprocess.Size*8/7))
	}
	t := j.Config.Train
	if small, of := j.tooSmall(); small*100 > of {
		j.tell(fmt.Sprintf("%d of %d training images are smaller than %dx%d: where they end, training mirrors them and evaluation sees black; a resize to %d makes them alike",
			small, of, t.Size, cmp.Or(t.Width, t.Size), t.Size))
	}
}

// tooSmall returns how many of the training images do not fill a random crop of
// their own pixels, and how many there are.
func (j *Job) tooSmall() (small, of int) {
	t := j.Config.Train
	if !t.RandomCrop || t.Resize > 0 || t.Size == 0 || j.Data.Train == nil {
		return 0, 0
	}
	for i := range j.Data.Train.Len() {
		if h, w := j.Data.Train.Bounds(i); h < t.Size || w < cmp.Or(t.Width, t.Size) {
			small++
		}
	}
	return small, j.Data.Train.Len()
}

// prepareTeachers finds how each teacher's images are prepared, and says where that
// is not as the student's, once.
func (s *session) prepareTeachers() {
	for _, t := range s.j.teachers() {
		own := *t
		own.Preprocess = s.j.teacherPreprocess(t)
		s.teachers = append(s.teachers, &own)
	}
}

// teacherPreprocess returns how a teacher's images are prepared, and says
// where they are not as the student's. A teacher whose file says nothing gets the
// student's images as they are.
func (j *Job) teacherPreprocess(teacher *checkpoint.Checkpoint) checkpoint.Preprocess {
	p, own := teacher.Preprocess, j.Preprocess
	if p.Gray = teacher.Net.Input.Channels == 1; p.Gray != own.Gray {
		if !teacher.Declares() { // the student's normalization is of other channels
			own.Gray, own.Mean, own.Std = p.Gray, nil, nil
			return own
		}
		if p.Size == 0 {
			p.Size, p.Width, p.Resize = own.Size, own.Width, own.Resize
		}
		return p
	}
	if !teacher.Declares() {
		if len(own.Mean) > 0 && !j.Resume {
			j.tell(fmt.Sprintf("%s does not say how its images are normalized: it gets the student's (minus %g, divided by %g)", nameOf(teacher), own.Mean, own.Std))
		}
		return own
	}
	if p.Size == 0 || p.Size == own.Size && p.Width == own.Width && p.Resize == own.Resize {
		return p
	}
	crop := func(p checkpoint.Preprocess) string {
		return data.Transform{Size: p.Size, Width: p.Width, Resize: p.Resize}.Describe()
	}
	if j.SharedImages {
		if !j.Resume {
			j.tell(fmt.Sprintf("the teacher %s was made for other images (%s): it gets the student's (%s), normalized as its own",
				nameOf(teacher), crop(p), crop(own)))
		}
		p.Size, p.Width, p.Resize = own.Size, own.Width, own.Resize
		return p
	}
	if log := j.Logger; log != nil && !j.Resume {
		log.Info(fmt.Sprintf("the teacher %s gets its own images of the same pictures: %s", nameOf(teacher), p.Transform().Describe()))
	}
	return p
}

func samePreprocess(a, b checkpoint.Preprocess) bool {
	return reflect.DeepEqual(a.Transform(), b.Transform())
}

// nameOf names a model for people.
func nameOf(c *checkpoint.Checkpoint) string { return cmp.Or(c.Path, c.Net.String()) }
