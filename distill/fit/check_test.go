package fit

import (
	"math"
	"os"
	"testing"

	"github.com/potstill/potstill/layers"
	"github.com/potstill/potstill/layers/checkpoint"
)

// What can be known is said before the first step, in one line that helps.
func TestWhatIsKnownIsSaidBeforeTheFirstStep(t *testing.T) {
	ds, b := fashion(t), backend(t)
	arch := layers.Arch{Family: "cnn-dwpw", Base: 4, Classes: len(ds.Classes)}
	broken := func(v float32) *checkpoint.Checkpoint {
		c := drawn(t, arch, 3)
		c.Path = "start.pth"
		c.State[4].Data[2] = v
		return c
	}
	nan, inf := float32(math.NaN()), float32(math.Inf(1))
	for name, c := range map[string]struct {
		set  func(*Job)
		want []string
	}{
		"init":    {func(j *Job) { j.Init = broken(nan) }, []string{"start.pth", broken(nan).State[4].Name, "NaN", "broken"}},
		"teacher": {func(j *Job) { j.Teacher = broken(inf) }, []string{"start.pth", broken(inf).State[4].Name, "Inf", "broken"}},
		"channels": {func(j *Job) {
			four := arch
			four.InChannels = 4
			j.Net = net(four)
		}, []string{"4 channels", "3 (RGB)"}},
		"teacher's channels": {func(j *Job) {
			four := arch
			four.InChannels = 4
			j.Teacher = drawn(t, four, 3)
			j.Teacher.Path = "four.pth"
		}, []string{"four.pth", "4 channels"}},
		"alpha":    {func(j *Job) { j.KD.T, j.KD.Alpha = 4, 2 }, []string{"alpha", "2"}},
		"freeze":   {func(j *Job) { j.Freeze = []string{"nothing.*"} }, []string{"nothing.*"}},
		"lr-scale": {func(j *Job) { j.LRScales = []LRScale{{"nothing", 1}} }, []string{"nothing"}},
		"batch":    {func(j *Job) { j.Config.Batch = 0 }, []string{"batch"}},
		"last batch": {func(j *Job) {
			j.Net, j.Config.Batch = net(layers.Arch{Family: "resnet18", Base: 4, Classes: len(ds.Classes)}), 7 // 50 images
		}, []string{"50 images", "batches of 7", "--drop-last", "--batch"}},
		"one by one": {func(j *Job) {
			j.Net, j.Config.Batch = net(layers.Arch{Family: "resnet18", Base: 4, Classes: len(ds.Classes)}), 1
		}, []string{"one image at a time", "larger batch"}},
	} {
		t.Run(name, func(t *testing.T) {
			j := small(ds, t.TempDir())
			c.set(&j)
			oneLine(t, j.Check(), c.want...)
			if name == "alpha" {
				return // no matter where there is no teacher
			}
			_, err := Run(t.Context(), b, j)
			oneLine(t, err, c.want...)
			if left, _ := os.ReadDir(j.Dir); len(left) != 0 {
				t.Errorf("left behind: %v", left)
			}
		})
	}
	j := small(ds, "")
	j.Net, j.Config.Batch, j.Config.DropLast, j.Config.Epochs = net(layers.Arch{Family: "resnet18", Base: 4, Classes: len(ds.Classes)}), 7, true, 1
	if err := j.Check(); err != nil {
		t.Error(err)
	}
	if _, err := Run(t.Context(), b, j); err != nil {
		t.Error(err)
	}
}
