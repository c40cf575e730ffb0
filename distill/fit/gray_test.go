package fit

import (
	"testing"

	"github.com/potstill/potstill/distill/eval"
	"github.com/potstill/potstill/engine/data"
	"github.com/potstill/potstill/layers"
)

// Of a student and its teacher, either may take gray images of another shape;
// each then gets its own images of the same pictures.
func TestGrayStudentsAndTeachers(t *testing.T) {
	ds, b := fashion(t), backend(t)
	color := layers.Arch{Family: "cnn-dwpw", Base: 4, Classes: len(ds.Classes)}
	gray := color
	gray.InChannels = 1
	for name, c := range map[string]struct{ student, teacher layers.Arch }{
		"gray under color": {gray, color},
		"color under gray": {color, gray},
		"gray under gray":  {gray, gray},
	} {
		t.Run(name, func(t *testing.T) {
			j := small(ds, "")
			j.Net, j.Teacher = net(c.student), drawn(t, c.teacher, 5)
			j.Config.Epochs = 1
			j.Config.Train, j.Config.Eval = data.Transform{Size: 20, Width: 24, RandomCrop: true}, data.Transform{Size: 20, Width: 24}
			out, err := Run(t.Context(), b, j)
			if err != nil {
				t.Fatal(err)
			}
			p := out.Best.Preprocess
			if p.Gray != (c.student.InChannels == 1) || p.Size != 20 || p.Width != 24 {
				t.Errorf("preprocessing %+v", p)
			}
			got, err := eval.Evaluate(t.Context(), b, out.Best, ds.Val, eval.Options{})
			if err != nil || got.Top1 != out.Result.Best.ValAccuracy {
				t.Errorf("evaluation %+v, %v; training found %g", got, err, out.Result.Best.ValAccuracy)
			}
		})
	}
}
