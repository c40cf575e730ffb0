package study

import (
	"bytes"
	"encoding/json"
	"fmt"
	"reflect"
	"strings"

	"github.com/potstill/potstill/distill/prune"
	"github.com/potstill/potstill/layers/checkpoint"
)

// CutRounds is a cut in several parts, with training after each.
type CutRounds struct {
	Model, Arch, Weights, Input string // the net, as an import step has them
	Data                        string // as data.Open takes it
	Limit                       int    // images of each part; 0: all
	Preprocess                  checkpoint.Preprocess
	Cut                         prune.Options // the whole cut; its ratios are of the widths in Cut.Whole
	Rounds, Epochs              int
	Tune                        string // settings of the training, in YAML's flow style
	Teach                       bool   // under the whole net
}

// Recipe writes the rounds down, for a net that costs so much, and returns the names
// of its steps: the import of the net, and then each round, from what the one before
// has left.
func (c CutRounds) Recipe(whole prune.Cost) (text string, names []string) {
	p := c.Preprocess
	images := map[string]any{"source": c.Data, "size": p.Size, "width": p.Width, "resize": p.Resize, "mean": p.Mean, "std": p.Std}
	if c.Limit > 0 {
		images["limit"] = map[string]int{"train": c.Limit, "val": c.Limit, "test": c.Limit}
	}
	begin := map[string]any{"kind": kindImport, "file": c.Model, "arch": c.Arch, "weights": c.Weights, "input": c.Input}
	var w strings.Builder
	fmt.Fprintf(&w, "# Written by potstill prune --rounds.\nstudy: rounds\ntitle: A cut in %d rounds\ndata: %s\n", c.Rounds, flow(images))
	tune := fmt.Sprintf("epochs: %d", c.Epochs)
	if c.Tune != "" {
		tune += ", " + c.Tune
	}
	fmt.Fprintf(&w, "defaults: {%s}\nsteps:\n  whole: %s\n", tune, flow(begin))
	names = []string{"whole"}
	for k := 1; k <= c.Rounds; k++ {
		step := keysOf(c.Cut.Part(whole, float64(k)/float64(c.Rounds)))
		step["kind"], step["from"] = kindPrune, names[k-1]
		if c.Teach {
			step["teacher"] = "whole"
		}
		names = append(names, fmt.Sprintf("round%d", k))
		fmt.Fprintf(&w, "  %s: %s\n", names[k], flow(step))
	}
	return w.String(), names
}

// keysOf returns the options that are set, by their keys in recipes.
func keysOf(o prune.Options) map[string]any {
	out := make(map[string]any)
	v := reflect.ValueOf(o)
	for i := range v.NumField() {
		if key := v.Type().Field(i).Tag.Get("yaml"); key != "" && !v.Field(i).IsZero() {
			out[key] = v.Field(i).Interface()
		}
	}
	return out
}

// flow writes a mapping in YAML's flow style, which JSON is, without what is not set.
func flow(m map[string]any) string {
	for k, v := range m {
		if x := reflect.ValueOf(v); !x.IsValid() || x.IsZero() || x.Kind() == reflect.Slice && x.Len() == 0 {
			delete(m, k)
		}
	}
	var w bytes.Buffer
	e := json.NewEncoder(&w)
	e.SetEscapeHTML(false)
	if err := e.Encode(m); err != nil {
		panic(err) // these are numbers, words and lists of them
	}
	return strings.TrimSpace(w.String())
}
