package fit

import (
	"fmt"

	"github.com/potstill/potstill/engine"
	"github.com/potstill/potstill/layers"
	"github.com/potstill/potstill/layers/checkpoint"
)

// prepareReuse gives the net the classifier of its teacher, where the loss does.
func (j *Job) prepareReuse() error {
	if j.Teacher == nil || j.Data.Train.Len() == 0 {
		return nil
	}
	loss, err := j.KD.Loss()
	if err != nil || !loss.Reuses() {
		return err
	}
	size := j.sizeOf(j.Preprocess)
	its := size
	quiet := Job{Preprocess: j.Preprocess, SharedImages: j.SharedImages} // what images the teacher gets is told later
	if p := quiet.teacherPreprocess(j.Teacher); p.Size != 0 {
		its = j.sizeOf(p)
	}
	j.own, j.reuse = j.Net, loss.Reuse(j.Teacher.Net, j.Teacher.State, size, its, j.Config.Seed)
	j.Net, _, err = j.reuse(j.own, nil)
	return err
}

// sizeOf returns the height and width of the images that preprocessing makes.
func (j *Job) sizeOf(p checkpoint.Preprocess) [2]int {
	first := j.Data.Train.Image(0)
	h, w := p.Transform().OutSize(first.H, first.W)
	return [2]int{h, w}
}

// startReuse sets the weights of a net with its teacher's classifier, and says what it is.
func (s *session) startReuse(store *engine.Store) (err error) {
	j := s.j
	var state layers.StateDict
	switch {
	case j.Init == nil:
		state, err = j.own.Start(j.Config.Seed)
	case j.NewHead:
		_, state, err = layers.ReplaceHead(j.own.Classes(), j.Config.Seed)(j.Init.Net, j.Init.State)
	default:
		state = j.Init.State
	}
	if err != nil {
		return err
	}
	if _, state, err = j.reuse(j.own, state); err != nil {
		return err
	}
	if log := j.Logger; log != nil {
		before, err := j.own.Model()
		if err != nil {
			return err
		}
		log.Info(fmt.Sprintf("the student has a projector and the classifier of its teacher in the place of its own, and keeps them: %d parameters, where it had %d",
			s.model.Params(), before.Params()))
	}
	return s.model.Load(store, state)
}
