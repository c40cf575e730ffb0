package onnx

import (
	"encoding/json"
	"fmt"
	"math"

	"github.com/potstill/potstill/layers"
	"github.com/potstill/potstill/layers/checkpoint"
)

// producer is the name of the program that writes.
const producer = "potstill"

// describe returns the metadata entries, key and value, in a fixed order.
func describe(c *checkpoint.Checkpoint, a layers.Arch, o Options) ([][2]string, error) {
	name := producer
	if o.Version != "" {
		name += " " + o.Version
	}
	all := [][2]string{{"producer", name}}
	add := func(key string, value any) error {
		text, err := json.Marshal(value)
		if err != nil {
			return fmt.Errorf("describing the model's %s: %w", key, err)
		}
		all = append(all, [2]string{key, string(text)})
		return nil
	}
	err := add("architecture", a)
	if err == nil && len(c.Classes) > 0 {
		err = add("classes", c.Classes)
	}
	if err == nil {
		err = add("preprocessing", c.Preprocess)
	}
	if scheme := c.Scheme(); err == nil && scheme != checkpoint.Float32 {
		err = add("quantisation", scheme)
	}
	if err == nil && len(c.History) > 0 {
		err = add("history", c.History)
	}
	return all, err
}

// check reports what in c, whose model is m, cannot be exported.
func check(c *checkpoint.Checkpoint, m *layers.Model) error {
	a, p := m.Arch(), c.Preprocess
	if err := m.Check(c.State); err != nil {
		return err
	}
	for i := range c.State {
		e := &c.State[i]
		for k, v := range e.Data {
			if !finite(v) {
				return fmt.Errorf("tensor %s: value %d is %g; only finite weights can be exported", e.Name, k, v)
			}
		}
	}
	if len(c.Classes) != 0 && len(c.Classes) != a.Classes {
		return fmt.Errorf("%d class names for a model of %d classes", len(c.Classes), a.Classes)
	}
	if len(p.Mean) != len(p.Std) || len(p.Mean) != 0 && len(p.Mean) != a.InChannels {
		return fmt.Errorf("normalization by %d means and %d deviations for %d channels", len(p.Mean), len(p.Std), a.InChannels)
	}
	for i, s := range p.Std {
		if !(s > 0) || !finite(s) || !finite(p.Mean[i]) {
			return fmt.Errorf("normalization by mean %g and deviation %g", p.Mean[i], s)
		}
	}
	return nil
}

// The largest height and width of images that are believed.
const maxSize = 1 << 14

// defaultSize is the height and width of images where nothing says it.
const defaultSize = 224

// imageSize returns the height and width of the images.
func imageSize(p checkpoint.Preprocess, o Options) (int, error) {
	size := o.Size
	if size == 0 && p.Width != 0 && p.Width != p.Size {
		return 0, fmt.Errorf("images of %dx%d pixels: ONNX is written for square ones only; convert to another format", p.Size, p.Width)
	}
	if size == 0 {
		size = p.Size
	}
	if size == 0 {
		size = defaultSize
	}
	if size < 1 || size > maxSize {
		return 0, fmt.Errorf("images of %dx%d pixels; give a size from 1 to %d", size, size, maxSize)
	}
	return size, nil
}

func finite(v float32) bool { return !math.IsNaN(float64(v)) && !math.IsInf(float64(v), 0) }
