package main

import (
	"cmp"
	"fmt"
	"slices"
	"strconv"
	"strings"

	"github.com/potstill/potstill/layers"
	"github.com/potstill/potstill/layers/checkpoint"
)

// summaryCmd is potstill summary.
type summaryCmd struct {
	modelFlags
	YAML bool `name:"yaml" help:"Write the net as YAML, to change and to give to --arch."`
	jsonFlag
}

// modelFlags name a net: a family or a file.
type modelFlags struct {
	Model string    `arg:"" help:"A family (the help lists them), a YAML file of a net, or a model's file."`
	Input imageSize `placeholder:"3x256x256" help:"Size of an image; what the file says, or 3x256x256, if not given."`
	foreignFlags
	archFlags
	Classes int `default:"11" help:"Classes of a family."`
}

// Help is printed below the flags' summary.
func (summaryCmd) Help() string {
	return `The rows and totals are those of torchsummary: parameters are weights and biases, not running statistics. Of a
file, it says all else that it tells: format, preprocessing, classes, history, and what each of its bytes is for.

Example:

    potstill summary cnn-dwpw --input 3x256x256
    potstill summary out/dwpw/best.safetensors --json
    potstill summary resnet18-f37072fd.pth
    potstill summary resnet18 --yaml > mine.yaml
    potstill summary builtin:fashion-resnet18

The last is built in, and taken wherever a model's file is: a ResNet-18 of a quarter of the width that was trained
on the 54,000 training images of Fashion-MNIST that builtin:fashion does not hold.

The families, with which --arch begins a net, too:
` + familyList()
}

// familyList lists the families in their groups, wrapped.
func familyList() string {
	const wide = 76
	var b strings.Builder
	for _, g := range layers.FamilyGroups() {
		fmt.Fprintf(&b, "\n%s:\n", g.Title)
		line := "   "
		for i, f := range g.Families {
			if i < len(g.Families)-1 {
				f += ","
			}
			if len(line)+1+len(f) > wide {
				b.WriteString(line + "\n")
				line = "   "
			}
			line += " " + f
		}
		b.WriteString(line + "\n")
	}
	return b.String()
}

// load builds the net; c is nil for a family. The input's size is filled in.
func (f *modelFlags) load(a *app) (m *layers.Model, c *checkpoint.Checkpoint, err error) {
	m, i, err := f.inspect(a, false)
	if err != nil || i == nil {
		return m, nil, err
	}
	return m, i.Checkpoint, nil
}

// inspect is load that tells all about a file, if asked for.
func (f *modelFlags) inspect(a *app, whole bool) (m *layers.Model, c *checkpoint.Info, err error) {
	height, width := 256, 256
	var n *layers.Net
	if layers.IsYAML(f.Model) || slices.Contains(layers.Families(), f.Model) {
		n, err = layers.Open(layers.Arch{Family: f.Model, Classes: f.Classes, Base: f.Base, Widths: f.Widths, InChannels: f.Input.C})
		if err != nil {
			return nil, nil, err
		}
	} else {
		if c, err = inspectModel(a, f.Model, f.foreignFlags, f.Input, whole); err != nil {
			if ok, _ := exists(f.Model); !ok && !strings.HasPrefix(f.Model, checkpoint.BuiltinPrefix) {
				err = fmt.Errorf("%s is neither a model's file nor a family; %s", f.Model, layers.NearFamilies(f.Model))
			}
			return nil, nil, err
		}
		n = c.Net
		if c.Preprocess.Size > 0 {
			height, width = c.Preprocess.Transform().OutSize(0, 0)
		}
	}
	if m, err = n.Model(); err != nil {
		return nil, nil, err
	}
	channels := n.Input.Channels
	if n.Input.Height > 0 {
		height, width = n.Input.Height, n.Input.Width
	}
	if f.Input == (imageSize{}) {
		f.Input = imageSize{channels, height, width}
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
	Net        *layers.Net            `json:"net"`
	File       string                 `json:"file,omitempty"`
	FileBytes  int64                  `json:"file_bytes,omitempty"`
	Format     string                 `json:"format,omitempty"`
	SHA256     string                 `json:"sha256,omitempty"`
	Sealed     bool                   `json:"sealed,omitempty"`
	Parts      []checkpoint.Part      `json:"parts,omitempty"`
	Quant      string                 `json:"quant,omitempty"`      // how the file stores the tensors
	Arithmetic string                 `json:"arithmetic,omitempty"` // what it is evaluated in
	Classes    []string               `json:"classes,omitempty"`
	Preprocess *checkpoint.Preprocess `json:"preprocess,omitempty"`
	Metrics    map[string]float64     `json:"metrics,omitempty"`
	History    []checkpoint.Event     `json:"history,omitempty"`
	Renamed    int                    `json:"renamed,omitempty"` // tensors with names that are not the family's
	Notes      []string               `json:"notes,omitempty"`
}

// Run summarizes.
func (c *summaryCmd) Run(a *app) error {
	m, i, err := c.inspect(a, true)
	if err != nil {
		return err
	}
	if c.YAML {
		text, err := m.Net().YAML()
		if err != nil {
			return err
		}
		_, err = a.out.Write(text)
		return err
	}
	sum, err := m.Summary(c.Input.H, c.Input.W)
	if err != nil {
		return err
	}
	s := fileSummary{Summary: sum, Net: m.Net()}
	if i != nil {
		if err := s.AddQuantizers(i.Net, i.State); err != nil {
			return err
		}
		if s.Arithmetic, err = arithmetic(i.Checkpoint); err != nil {
			return err
		}
		s.File, s.FileBytes, s.Quant, s.Classes = i.Path, i.Bytes, i.Scheme(), i.Classes
		s.Preprocess, s.Metrics, s.History = &i.Preprocess, i.Metrics, i.History
		s.Format, s.SHA256, s.Sealed, s.Parts, s.Renamed, s.Notes = i.Format, i.SHA256, i.Sealed, i.Parts, i.Renamed, i.Notes
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
	rows = append(rows, []string{"total", cmp.Or(s.Arch.Family, "net"), dims(s.Input), thousands(s.Params), thousands(s.MACs), thousands(s.Bytes)})
	if err := table(a.out, rows); err != nil {
		return err
	}
	if rows := s.quantizers(); len(rows) > 1 {
		fmt.Fprintln(a.out)
		if err := table(a.out, rows); err != nil {
			return err
		}
	}
	fmt.Fprintf(a.out, "\nmultiply-adds, as torchinfo counts them (with biases and norms): %s\n", thousands(s.MultAdds))
	fmt.Fprintf(a.out, "MB, as torchsummary counts them: input %.2f, forward and backward %.2f, parameters %.2f, all %.2f\n",
		s.InputMB, s.ForwardBackwardMB, s.ParamsMB, s.TotalMB)
	if s.File == "" {
		return nil
	}
	return s.printFile(a)
}

// dims writes a shape as in 16x128x128.
func dims(shape []int) string {
	return strings.ReplaceAll(strings.Trim(fmt.Sprint(shape), "[]"), " ", "x")
}

// quantizers returns a table of the layers' quantizers.
func (s fileSummary) quantizers() [][]string {
	rows := [][]string{{"layer", "quantized", "bits", "scales", "from", "to"}}
	for _, l := range s.Layers {
		for _, q := range l.Quantizers {
			rows = append(rows, []string{l.Name, q.Of, strconv.Itoa(q.Bits), strconv.Itoa(q.Scales), fmt.Sprintf("%.4g", q.Min), fmt.Sprintf("%.4g", q.Max)})
		}
	}
	return rows
}
