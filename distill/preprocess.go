package distill

import (
	"cmp"
	"fmt"
	"reflect"
	"slices"
	"strings"

	"github.com/potstill/potstill/engine/data"
	"github.com/potstill/potstill/layers/checkpoint"
)

// Declares reports whether a model says what its images go through. Another
// program's file does not, and what is made of it without training neither,
// until somebody gives it a resize or a normalization; the preprocessing of its
// checkpoint is then no more than a default.
func Declares(c *checkpoint.Checkpoint) bool {
	if c.Preprocess.Assumed {
		return false
	}
	if len(c.Preprocess.Mean) > 0 || c.Preprocess.Resize > 0 || len(c.History) == 0 {
		return true
	}
	return c.History[0].Kind != checkpoint.KindImport || slices.ContainsFunc(c.History, func(e checkpoint.Event) bool {
		return e.Kind == "train" || e.Kind == "distill"
	})
}

// DescribeTransform says in a few words what an image goes through.
func DescribeTransform(t data.Transform) string {
	var steps []string
	add := func(format string, args ...any) { steps = append(steps, fmt.Sprintf(format, args...)) }
	if t.Resize > 0 {
		add("shorter side to %d", t.Resize)
	}
	switch {
	case t.RandomResizedCrop != nil:
		add("a random %g to %g of the area scaled to %d", t.RandomResizedCrop.Scale[0], t.RandomResizedCrop.Scale[1], t.Size)
	case t.RandomCrop && t.Padding > 0:
		add("random crop to %d after padding by %d", t.Size, t.Padding)
	case t.RandomCrop:
		add("random crop to %d", t.Size)
	case t.Size > 0:
		add("center crop to %d", t.Size)
	}
	if t.HFlip > 0 {
		add("flipped with probability %g", t.HFlip)
	}
	if a := t.RandAugment; a != nil {
		add("RandAugment (%d operations of magnitude %d)", a.Ops, a.Magnitude)
	}
	if j := t.Jitter; j != nil {
		add("color jitter %g, %g, %g, %g", j.Brightness, j.Contrast, j.Saturation, j.Hue)
	}
	if t.Rotation > 0 {
		add("rotated by up to %g degrees", t.Rotation)
	}
	if t.Perspective > 0 {
		add("perspective distorted by up to %g", t.Perspective)
	}
	add("divided by 255")
	if len(t.Mean) > 0 {
		add("minus %g, divided by %g", t.Mean, t.Std)
	}
	if e := t.Erase; e != nil {
		add("a rectangle erased with probability %g", e.P)
	}
	return strings.Join(steps, ", ")
}

// tell gives a line to the log, if there is one.
func (j *Job) tell(line string) {
	if j.Logger != nil {
		j.Logger.Warn(line)
	}
}

// tellPreprocess compares what the images go through with what the model to
// start from was made for, and with training.
func (j *Job) tellPreprocess() {
	own := DescribeTransform(EvalTransform(j.Preprocess))
	if c := j.Init; c != nil && !j.Resume && Declares(c) && !samePreprocess(c.Preprocess, j.Preprocess) {
		j.tell(fmt.Sprintf("%s was made for other images (%s) than it gets here (%s)",
			nameOf(c), DescribeTransform(EvalTransform(c.Preprocess)), own))
	}
	if j.Config.Train.RandomResizedCrop != nil && j.Preprocess.Size > 0 && j.Preprocess.Resize == 0 {
		j.tell(fmt.Sprintf("training sees parts of images scaled to %d, evaluation a window of that size of images that are not scaled; a resize to about %d makes them alike",
			j.Preprocess.Size, j.Preprocess.Size*8/7))
	}
}

// teacherPreprocess returns how the teacher's images are normalized, and says
// where they are not what its file says. A teacher whose file says nothing gets
// the student's images as they are.
func (j *Job) teacherPreprocess() checkpoint.Preprocess {
	p, own := j.Teacher.Preprocess, j.Preprocess
	if !Declares(j.Teacher) {
		if len(own.Mean) > 0 && !j.Resume {
			j.tell(fmt.Sprintf("%s does not say how its images are normalized: it gets the student's (minus %g, divided by %g)", nameOf(j.Teacher), own.Mean, own.Std))
		}
		return own
	}
	crop := func(p checkpoint.Preprocess) string {
		return DescribeTransform(data.Transform{Size: p.Size, Resize: p.Resize})
	}
	if p.Size != 0 && (p.Size != own.Size || p.Resize != own.Resize) && !j.Resume {
		j.tell(fmt.Sprintf("the teacher %s was made for other images (%s): it gets the student's (%s), normalized as its own",
			nameOf(j.Teacher), crop(p), crop(own)))
	}
	return p
}

func samePreprocess(a, b checkpoint.Preprocess) bool {
	return reflect.DeepEqual(EvalTransform(a), EvalTransform(b))
}

// nameOf names a model for people.
func nameOf(c *checkpoint.Checkpoint) string { return cmp.Or(c.Path, c.Net.String()) }
