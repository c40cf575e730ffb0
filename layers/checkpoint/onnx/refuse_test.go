package onnx

import (
	"bytes"
	"errors"
	"math"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/potstill/potstill/layers/checkpoint"
)

// farFuture is a time that JSON has no form for.
var farFuture = time.Date(20000, 1, 1, 0, 0, 0, 0, time.UTC)

// TestRefused exports what cannot be: one line each, and no panic.
func TestRefused(t *testing.T) {
	nan := float32(math.NaN())
	for want, change := range map[string]func(c *checkpoint.Checkpoint, o *Options){
		"the output \"x\" is no": func(c *checkpoint.Checkpoint, _ *Options) { n := *c.Net; n.Output = "x"; c.Net = &n },
		"is missing":             func(c *checkpoint.Checkpoint, _ *Options) { c.State = c.State[1:] },
		"values for its shape":   func(c *checkpoint.Checkpoint, _ *Options) { c.State[0].Data = c.State[0].Data[1:] },
		"is [1], cnn-dwpw needs": func(c *checkpoint.Checkpoint, _ *Options) { c.State[0].Shape = []int{1} },
		"only finite weights":    func(c *checkpoint.Checkpoint, _ *Options) { c.State[3].Data[0] = nan },
		"cannot be folded": func(c *checkpoint.Checkpoint, _ *Options) {
			c.State.Find("cnn.0.1.running_var").Data[0] = -1
		},
		"beyond float32": func(c *checkpoint.Checkpoint, _ *Options) {
			c.State.Find("cnn.0.1.weight").Data[0], c.State.Find("cnn.0.0.weight").Data[0] = 1e38, 1e38
		},
		"2 class names": func(c *checkpoint.Checkpoint, _ *Options) { c.Classes = []string{"a", "b"} },
		"1 means and 0": func(c *checkpoint.Checkpoint, _ *Options) { c.Preprocess.Mean = []float32{1} },
		"deviation 0": func(c *checkpoint.Checkpoint, _ *Options) {
			c.Preprocess.Mean, c.Preprocess.Std = make([]float32, 3), make([]float32, 3)
		},
		"-3x-3 pixels":           func(_ *checkpoint.Checkpoint, o *Options) { o.Size = -3 },
		"give a size from 1 to":  func(c *checkpoint.Checkpoint, _ *Options) { c.Preprocess.Size = 1 << 60 },
		"images of 3x3 pixels":   func(_ *checkpoint.Checkpoint, o *Options) { o.Size = 3 },
		"unknown choice 9":       func(_ *checkpoint.Checkpoint, o *Options) { o.Int8 = 9 },
		"describing the model's": func(c *checkpoint.Checkpoint, _ *Options) { c.History = []checkpoint.Event{{Time: farFuture}} },
	} {
		c, o := sample(t, small(t, "cnn-dwpw"), ""), Options{}
		change(c, &o)
		path := filepath.Join(t.TempDir(), "m.onnx")
		n, err := Write(path, c, o)
		if err == nil || n != 0 || !strings.Contains(err.Error(), want) || !strings.Contains(err.Error(), path) || strings.Contains(err.Error(), "\n") {
			t.Errorf("error %v, want one line with %q", err, want)
		}
		if _, err := os.Stat(path); !errors.Is(err, os.ErrNotExist) {
			t.Errorf("%s: a file is there (%v)", want, err)
		}
	}
}

// TestExtremes exports tensors of the largest and smallest floats.
func TestExtremes(t *testing.T) {
	for _, v := range []float32{math.MaxFloat32, -math.MaxFloat32, math.SmallestNonzeroFloat32, 0} {
		c := sample(t, small(t, "resnet18"), "")
		for i := range c.State {
			for k := range c.State[i].Data {
				if !strings.HasSuffix(c.State[i].Name, "running_var") {
					c.State[i].Data[k] = v
				}
			}
		}
		for _, o := range []Options{{}, {KeepBatchNorm: true}, {Int8: Weights8}} {
			var b bytes.Buffer
			if err := Encode(&b, c, o); err != nil {
				if !strings.Contains(err.Error(), "beyond float32") && !strings.Contains(err.Error(), "cannot be folded") || math.Abs(float64(v)) < 1 {
					t.Errorf("%g: %v", v, err)
				}
				continue
			}
			m := readBack(t, b.Bytes())
			m.wired(t)
			for name, x := range m.tensors {
				if strings.HasSuffix(name, ".scale") && x.dtype == typeFloat {
					for _, s := range m.floats(t, name) {
						if !(s > 0) || !finite(s) {
							t.Errorf("%g: %s is %g", v, name, s)
						}
					}
				}
			}
		}
	}
}
