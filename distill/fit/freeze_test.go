package fit

import (
	"context"
	"math"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/potstill/potstill/engine/train"
	"github.com/potstill/potstill/layers"
	"github.com/potstill/potstill/layers/checkpoint"
)

// TestFreeze: what is frozen stays as it was, the statistics of its batch norms
// and their counters too, and all else moves. Resumed, the run ends the same.
func TestFreeze(t *testing.T) {
	ds, dir := fashion(t), t.TempDir()
	start := drawn(t, layers.Arch{Family: "cnn-dwpw", Base: 4, Classes: 10}, 1)
	path := filepath.Join(dir, "start.safetensors")
	if _, err := checkpoint.Save(path, start); err != nil {
		t.Fatal(err)
	}
	job := func(dir string) Job {
		j := small(ds, dir)
		j.Net, j.Init = nil, load(t, path)
		j.Freeze = []string{"cnn.0", "cnn.1.1", "*.3.bias"}
		return j
	}
	out, err := Run(context.Background(), backend(t), job(filepath.Join(dir, "run")))
	if err != nil {
		t.Fatal(err)
	}
	frozen := 0
	for i, e := range out.Best.State {
		still := strings.HasPrefix(e.Name, "cnn.0.") || strings.HasPrefix(e.Name, "cnn.1.1.") || strings.HasSuffix(e.Name, ".3.bias")
		if still {
			frozen++
		}
		if same := slices.Equal(e.Data, start.State[i].Data) && slices.Equal(e.Int, start.State[i].Int); same != still {
			t.Errorf("%s stayed: %v", e.Name, same)
		}
	}
	if frozen < 15 {
		t.Errorf("%d tensors were frozen", frozen)
	}
	if h := out.Best.History; !strings.Contains(h[len(h)-1].Detail, "frozen: cnn.0, cnn.1.1, *.3.bias") {
		t.Errorf("history %+v", h)
	}

	j := job(filepath.Join(dir, "stopped"))
	j.Config.Epochs = 1
	if _, err := Run(context.Background(), backend(t), j); err != nil {
		t.Fatal(err)
	}
	j.Resume, j.Config.Epochs = true, 3
	again, err := Run(context.Background(), backend(t), j)
	if err != nil {
		t.Fatal(err)
	}
	for i, e := range again.Best.State {
		if !slices.Equal(e.Data, out.Best.State[i].Data) {
			t.Errorf("%s ends otherwise after resume", e.Name)
		}
	}
	j.Freeze = j.Freeze[:1]
	_, err = Run(context.Background(), backend(t), j)
	oneLine(t, err, `frozen was ["cnn.0" "cnn.1.1" "*.3.bias"] and is ["cnn.0"] now`)
}

// TestLRScale: a factor multiplies the first step of Adam, which is as long as
// the learning rate whatever the gradient; 0 leaves a tensor where it is.
func TestLRScale(t *testing.T) {
	ds := fashion(t)
	start := drawn(t, layers.Arch{Family: "cnn-dwpw", Base: 4, Classes: 10}, 1)
	step := func(accumulate int, scales ...LRScale) map[string]float64 {
		j := small(ds, "")
		j.Net, j.Init, j.LRScales = nil, start, scales
		j.Config.Epochs, j.Config.Batch, j.Config.EMA, j.Config.Accumulate = 1, 50/accumulate, 0, accumulate
		j.Config.Optimizer = train.OptimizerConfig{Kind: train.Adam, LR: 1e-3}
		out, err := Run(context.Background(), backend(t), j)
		if err != nil {
			t.Fatal(err)
		}
		moved := make(map[string]float64)
		for i, e := range out.Best.State {
			for k, v := range e.Data {
				moved[e.Name] = max(moved[e.Name], math.Abs(float64(v)-float64(start.State[i].Data[k])))
			}
		}
		return moved
	}
	for _, accumulate := range []int{1, 2} {
		whole := step(accumulate)
		scaled := step(accumulate, LRScale{"cnn.2", 0.25}, LRScale{"cnn.3", 0}, LRScale{"fc.0.bias", 4}, LRScale{"cnn.2.3.weight", 1})
		for name, want := range map[string]float64{
			"cnn.2.0.weight": 0.25, "cnn.2.1.bias": 0.25, "cnn.2.3.weight": 1, "cnn.3.0.weight": 0, "cnn.3.3.bias": 0, "fc.0.bias": 4, "fc.0.weight": 1, "cnn.5.3.weight": 1,
		} {
			if ratio := scaled[name] / whole[name]; math.Abs(ratio-want) > 1e-2 || whole[name] < 0.5e-3 {
				t.Errorf("accumulating %d, %s moved by %g of %g, want %g of it", accumulate, name, scaled[name], whole[name], want)
			}
		}
	}
	for text, ok := range map[string]bool{"a=0.1": true, "a.*=0": true, "a": false, "=1": false, "a=-1": false, "a=x": false, "a=Inf": false} {
		if s, err := ParseLRScale(text); (err == nil) != ok || ok && s.Pattern != strings.SplitN(text, "=", 2)[0] {
			t.Errorf("%q: %+v, %v", text, s, err)
		}
	}
}
