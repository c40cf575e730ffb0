package checkpoint

import (
	"slices"

	"github.com/potstill/potstill/engine/data"
)

// Transform returns what an image goes through before it meets the net.
func (p Preprocess) Transform() data.Transform {
	t := data.Transform{Size: p.Size, Width: p.Width, Gray: p.Gray, Resize: p.Resize}
	if len(p.Mean) > 0 {
		t.Mean, t.Std = p.Mean, p.Std
	}
	return t
}

// Normalization returns the mean and the standard deviation of a channel: 0 and
// 1 where there are none.
func (p Preprocess) Normalization(channel int) (mean, std float64) {
	if len(p.Mean) == 0 {
		return 0, 1
	}
	return float64(p.Mean[channel]), float64(p.Std[channel])
}

// Declares reports whether a model says what its images go through. Another
// program's file does not, and what is made of it without training neither,
// until somebody gives it a resize or a normalization; the preprocessing of its
// checkpoint is then no more than a default.
func (c *Checkpoint) Declares() bool {
	if c.Preprocess.Assumed {
		return false
	}
	if len(c.Preprocess.Mean) > 0 || c.Preprocess.Resize > 0 || len(c.History) == 0 {
		return true
	}
	return c.History[0].Kind != KindImport || slices.ContainsFunc(c.History, func(e Event) bool {
		return e.Kind == "train" || e.Kind == "distill"
	})
}

// CheckDataset reports whether the model was made for the classes of a dataset,
// or for their numbers where the dataset has a list of its own.
func (c *Checkpoint) CheckDataset(ds *data.Dataset) error {
	if ds.Numbered(c.Classes) && c.Net.Classes() == len(ds.Classes) {
		return nil
	}
	return c.CheckClasses(ds.Classes)
}
