package main

import (
	"fmt"
	"slices"
	"strings"

	"github.com/potstill/potstill/layers"
	"github.com/potstill/potstill/layers/checkpoint"
)

// summaryCmd is potstill summary.
type summaryCmd struct {
	modelFlags
	jsonFlag
}

// modelFlags name a net: a family or a file.
type modelFlags struct {
	Model string    `arg:"" help:"A family (cnn-plain, cnn-dwpw, cnn-group, cnn-group-printed, hw7-student, resnet18) or a model's file."`
	Input imageSize `placeholder:"3x256x256" help:"Size of an image; what the file says, or 3x256x256, if not given."`
	archFlags
	Classes int `default:"11" help:"Classes of a family."`
}

// Help is printed below the flags' summary.
func (summaryCmd) Help() string {
	return `The rows and totals are those of torchsummary: parameters are weights and biases, not running statistics.

Example:

    potstill summary cnn-dwpw --input 3x256x256
    potstill summary out/dwpw/best.safetensors --json`
}

// load builds the net; c is nil for a family. The input's size is filled in.
func (f *modelFlags) load() (m *layers.Model, c *checkpoint.Checkpoint, err error) {
	arch := f.arch(f.Model, f.Classes)
	arch.InChannels = f.Input.C
	size := 256
	if !slices.Contains(layers.Families(), f.Model) {
		if c, err = loadModel(f.Model); err != nil {
			if ok, _ := exists(f.Model); !ok {
				err = fmt.Errorf("%s is neither a model's file nor a family; the families are %s", f.Model, strings.Join(layers.Families(), ", "))
			}
			return nil, nil, err
		}
		arch = c.Arch
		if c.Preprocess.Size > 0 {
			size = c.Preprocess.Size
		}
	}
	if m, err = layers.New(arch); err != nil {
		return nil, nil, err
	}
	channels := m.Arch().InChannels
	if f.Input == (imageSize{}) {
		f.Input = imageSize{channels, size, size}
	}
	if f.Input.C != channels {
		return nil, nil, fmt.Errorf("%s takes images of %d channels, not %d", f.Model, channels, f.Input.C)
	}
	return m, c, nil
}

// A fileSummary is the JSON form: the net's summary and, for a file, what else
// it tells.
type fileSummary struct {
	layers.Summary
	File       string                 `json:"file,omitempty"`
	FileBytes  int64                  `json:"file_bytes,omitempty"`
	Quant      string                 `json:"quant,omitempty"` // how the file stores the tensors
	Classes    []string               `json:"classes,omitempty"`
	Preprocess *checkpoint.Preprocess `json:"preprocess,omitempty"`
	Metrics    map[string]float64     `json:"metrics,omitempty"`
	History    []checkpoint.Event     `json:"history,omitempty"`
}

// Run summarises.
func (c *summaryCmd) Run(a *app) error {
	m, ck, err := c.load()
	if err != nil {
		return err
	}
	sum, err := m.Summary(c.Input.H, c.Input.W)
	if err != nil {
		return err
	}
	s := fileSummary{Summary: sum}
	if ck != nil {
		s.File, s.FileBytes, s.Quant, s.Classes = ck.Path, ck.Bytes, ck.Quant, ck.Classes
		s.Preprocess, s.Metrics, s.History = &ck.Preprocess, ck.Metrics, ck.History
	}
	if c.JSON {
		return printJSON(a.out, s)
	}
	return s.print(a)
}

func (s fileSummary) print(a *app) error {
	rows := [][]string{{"layer", "type", "output", "parameters", "MACs", "bytes"}}
	for _, l := range s.Layers {
		rows = append(rows, []string{l.Name, l.Type, dims(l.Output), thousands(l.Params), thousands(l.MACs), thousands(l.Bytes)})
	}
	rows = append(rows, []string{"total", s.Arch.Family, dims(s.Input), thousands(s.Params), thousands(s.MACs), thousands(s.Bytes)})
	if err := table(a.out, rows); err != nil {
		return err
	}
	fmt.Fprintf(a.out, "\nMB, as torchsummary counts them: input %.2f, forward and backward %.2f, parameters %.2f, all %.2f\n",
		s.InputMB, s.ForwardBackwardMB, s.ParamsMB, s.TotalMB)
	if s.File == "" {
		return nil
	}
	quant := s.Quant
	if quant == checkpoint.Float32 {
		quant = "float32"
	}
	rows = [][]string{{"\nfile", fmt.Sprintf("%s, %s bytes, %s", s.File, thousands(s.FileBytes), quant)}, {"classes", strings.Join(s.Classes, ", ")}}
	if v, ok := s.Metrics["val_accuracy"]; ok {
		rows = append(rows, []string{"validation", percent(v)})
	}
	for i, e := range s.History {
		name := ""
		if i == 0 {
			name = "history"
		}
		rows = append(rows, []string{name, strings.TrimSuffix(e.Kind+": "+e.Detail, ": ")})
	}
	return table(a.out, rows)
}

// dims writes a shape as in 16x128x128.
func dims(shape []int) string {
	return strings.ReplaceAll(strings.Trim(fmt.Sprint(shape), "[]"), " ", "x")
}
