package fit

import (
	"context"
	"fmt"

	"github.com/potstill/potstill/distill/eval"
	"github.com/potstill/potstill/engine"
)

// examined is how many validation images a teacher is tried on before the first step.
const examined = 256

// examine says how well the teachers do on some validation images, prepared as they are
// for them in training, and warns of one that is hardly better than chance: its classes
// may be in another order, or its images prepared in another way, than its file says.
func (s *session) examine(ctx context.Context, b engine.Backend) error {
	j := s.j
	if j.Resume || j.Logger == nil || j.Data.Val == nil || j.Data.Val.Len() == 0 {
		return nil
	}
	images := j.Data.Val.Subset(examined)
	for _, t := range s.teachers {
		ev, err := eval.Evaluate(ctx, b, t, images, eval.Options{Workers: j.Config.Workers})
		if err != nil {
			return fmt.Errorf("teacher %s: %w", nameOf(t), err)
		}
		right := fmt.Sprintf("the teacher %s classifies %.1f %% of %d validation images right", nameOf(t), 100*ev.Top1, images.Len())
		if classes := len(j.Data.Classes); ev.Top1*float64(classes) < 2 && classes > 2 {
			j.tell(right + ", hardly more than chance; see that its classes are in the order of the data's, and its images prepared as it was trained")
			continue
		}
		j.Logger.Info(right)
	}
	return nil
}
