package main

import (
	"cmp"
	"fmt"
	"strings"

	"github.com/potstill/potstill/layers/checkpoint"
)

// printFile prints what a model's file tells beside its net.
func (s fileSummary) printFile(a *app) error {
	fmt.Fprintln(a.out)
	sum := s.SHA256
	if s.Sealed {
		sum += ", and the checksum in it is right"
	}
	rows := [][]string{
		{"file", s.File},
		{"format", s.Format},
		{"architecture", fmt.Sprintf("%s, images of %d channels", describeArch(s.Arch), s.Arch.InChannels)},
		{"weights", weights(s.Quant)},
		{"computes in", s.Arithmetic},
		{"images", prepared(s.Preprocess)},
		{"classes", strings.Join(s.Classes, ", ")},
		{"SHA-256", sum},
	}
	if len(s.Classes) == 0 {
		rows[6][1] = "without names"
	}
	if v, ok := s.Metrics["val_accuracy"]; ok {
		rows = append(rows, []string{"validation", percent(v)})
	}
	for i, e := range s.History {
		rows = append(rows, []string{first(i, "history"), event(e)})
	}
	if err := table(a.out, rows); err != nil {
		return err
	}
	fmt.Fprintln(a.out)
	rows = [][]string{{"part of the file", "tensors", "bytes"}}
	for _, p := range s.Parts {
		n := ""
		if p.Tensors > 0 {
			n = thousands(p.Tensors)
		}
		rows = append(rows, []string{p.Name, n, thousands(p.Bytes)})
	}
	return table(a.out, append(rows, []string{"all", "", thousands(s.FileBytes)}))
}

// first is name for the first of several rows.
func first(i int, name string) string {
	if i > 0 {
		return ""
	}
	return name
}

// weights says how a file stores them.
func weights(quant string) string {
	switch quant {
	case checkpoint.Affine8:
		return "8-bit codes, a range a tensor (affine8)"
	case checkpoint.Affine8PerChannel:
		return "8-bit codes, a range an output channel; vectors in 32 bits (affine8-channel)"
	case checkpoint.Affine4Block:
		return "4-bit codes, a range for every 64 weights; vectors in 32 bits (affine4-block)"
	case checkpoint.Float16:
		return "float16"
	case checkpoint.Quantized:
		return "codes of the net's quantizers"
	case checkpoint.Mixed:
		return "mixed: 8-bit codes, float16 and float32"
	}
	return "float32"
}

// prepared says what an image goes through.
func prepared(p *checkpoint.Preprocess) string {
	var steps []string
	if p.Resize > 0 {
		steps = append(steps, fmt.Sprintf("shorter side to %d", p.Resize))
	}
	if p.Size > 0 {
		steps = append(steps, "center crop to "+pixels{p.Size, cmp.Or(p.Width, p.Size)}.String())
	}
	steps = append(steps, "divided by 255")
	if len(p.Mean) > 0 {
		steps = append(steps, fmt.Sprintf("minus %g, divided by %g", p.Mean, p.Std))
	}
	text := strings.Join(steps, ", ")
	if p.Assumed {
		text += " (assumed: the file does not say)"
	}
	return text
}

// event tells of a step in a model's history.
func event(e checkpoint.Event) string {
	text := strings.TrimSuffix(e.Kind+": "+e.Detail, ": ")
	for _, p := range []struct{ name, value string }{
		{"recipe", e.Recipe}, {"data", e.Data}, {"from", e.Parent}, {"teacher", e.Teacher},
	} {
		if p.value != "" {
			text += fmt.Sprintf("; %s %s", p.name, short(p.value))
		}
	}
	return text
}

// short leaves of a hash the part that tells it from others.
func short(s string) string {
	const enough = 16
	if len(s) == 64 && !strings.ContainsFunc(s, func(c rune) bool { return !strings.ContainsRune("0123456789abcdef", c) }) {
		return s[:enough] + "…"
	}
	return s
}
