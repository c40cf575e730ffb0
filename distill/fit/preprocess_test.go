package fit

import (
	"bytes"
	"log/slog"
	"strings"
	"testing"

	"github.com/potstill/potstill/engine/data"
	"github.com/potstill/potstill/layers"
)

// Where images are prepared otherwise than a model was made for, one line says
// so, and where all agree there is none.
func TestOtherPreprocessingIsSaid(t *testing.T) {
	ds, b := fashion(t), backend(t)
	arch := layers.Arch{Family: "cnn-dwpw", Base: 4, Classes: len(ds.Classes)}
	for name, c := range map[string]struct {
		set  func(*Job)
		want string
	}{
		"the same":    {func(j *Job) { j.Init, j.Teacher = drawn(t, arch, 1), drawn(t, arch, 2) }, ""},
		"init's size": {func(j *Job) { j.Init = drawn(t, arch, 1); j.Init.Preprocess.Size = 24 }, "was made for other images (center crop to 24, divided by 255) than it gets here (center crop to 28, divided by 255)"},
		"teacher's": {func(j *Job) {
			j.Teacher, j.SharedImages = drawn(t, arch, 1), true
			j.Teacher.Preprocess.Resize = 32
		}, "it gets the student's"},
		"its own": {func(j *Job) {
			j.Teacher = drawn(t, arch, 1)
			j.Teacher.Preprocess.Resize = 32
		}, "gets its own images of the same pictures: shorter side to 32, center crop to 28"},
		"unscaled": {func(j *Job) {
			j.Config.Train.RandomCrop, j.Config.Train.RandomResizedCrop = false, &data.ScaleRatio{Scale: [2]float64{0.5, 1}, Ratio: [2]float64{1, 1}}
		}, "a resize to about 32"},
		"small": {func(j *Job) {
			j.Config.Train.Size, j.Config.Eval.Size, j.Preprocess.Size = 32, 32, 32
		}, "are smaller than 32x32: where they end"},
	} {
		t.Run(name, func(t *testing.T) {
			var log bytes.Buffer
			j := small(ds, "")
			j.Config.Epochs = 1
			j.Logger = slog.New(slog.NewTextHandler(&log, nil))
			c.set(&j)
			if _, err := Run(t.Context(), b, j); err != nil {
				t.Fatal(err)
			}
			text := log.String()
			if c.want == "" { // of images; an untrained teacher is warned of, too
				text = strings.ReplaceAll(text, "WARN msg=\"the teacher", "")
			}
			if c.want == "" && strings.Contains(text, "WARN") || !strings.Contains(text, c.want) {
				t.Errorf("want %q in:\n%s", c.want, text)
			}
		})
	}
}
