package prune

import (
	"context"
	"math"
	"slices"
	"strings"
	"testing"

	"github.com/potstill/potstill/distill/compress"
	"github.com/potstill/potstill/engine/cpu"
	"github.com/potstill/potstill/engine/data"
	"github.com/potstill/potstill/layers"
	"github.com/potstill/potstill/layers/checkpoint"
)

// fashion returns an environment with a few images of Fashion-MNIST, and a model for
// them.
func fashion(t *testing.T, images int) (compress.Env, *checkpoint.Checkpoint) {
	t.Helper()
	ds, err := data.Open(context.Background(), "builtin:fashion", data.Options{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = ds.Close() })
	ds.Train = ds.Train.Subset(images)
	b, err := cpu.New(cpu.Options{Threads: 1})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = b.Close() })
	c := drawn(t, layers.Arch{Family: "cnn-dwpw", Classes: len(ds.Classes), Base: 4})
	c.Classes, c.Preprocess = ds.Classes, checkpoint.Preprocess{Size: 28}
	return compress.Env{Backend: b, Data: ds}, c
}

// gathered runs the images in batches of a size, or one by one.
func gathered(t *testing.T, env compress.Env, c *checkpoint.Checkpoint, criterion string) *statistics {
	t.Helper()
	k := &cutter{env: env, c: c, o: Options{Criterion: criterion, Images: 40}}
	s, err := k.statistics(context.Background())
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// TestGradients: the gradient is what the loss changes by, and the curvature of a
// single image is the square of its gradient, of several the mean of squares.
func TestGradients(t *testing.T) {
	env, c := fashion(t, 1)
	grad, curve := gathered(t, env, c, "taylor"), gathered(t, env, c, "hessian")
	for name, g := range grad.of {
		for i, v := range g {
			if d := math.Abs(float64(curve.of[name][i]) - float64(v)*float64(v)); d > 1e-6*float64(v)*float64(v)+1e-30 {
				t.Fatalf("%s %d: the gradient is %g, its square %g", name, i, v, curve.of[name][i])
			}
		}
	}
	// The last layer's bias: dL/db = softmax - target, whose sum is 0.
	sum, size := 0.0, 0.0
	for _, v := range grad.of["fc.0.bias"] {
		sum, size = sum+float64(v), size+math.Abs(float64(v))
	}
	if size == 0 || math.Abs(sum) > 1e-5*size {
		t.Errorf("the bias's gradients sum to %g of %g", sum, size)
	}
	// Of two images: the mean of the gradients, and of the squares.
	one := []map[string][]float32{grad.of}
	env2, _ := fashion(t, 2)
	both, curve2 := gathered(t, env2, c, "taylor"), gathered(t, env2, c, "hessian")
	second := make(map[string][]float32)
	for name, g := range both.of {
		second[name] = make([]float32, len(g))
		for i, v := range g {
			second[name][i] = 2*v - one[0][name][i]
		}
		scale := 0.0
		for _, h := range curve2.of[name] {
			scale = max(scale, float64(h))
		}
		for i, h := range curve2.of[name] {
			a, b := float64(one[0][name][i]), float64(second[name][i])
			if d := math.Abs(float64(h) - (a*a+b*b)/2); d > 1e-3*scale {
				t.Fatalf("%s %d: %g, want the mean of %g² and %g²", name, i, h, a, b)
			}
		}
	}
}

// TestActivations: what a layer reads that is never above zero is worth nothing.
func TestActivations(t *testing.T) {
	env, c := fashion(t, 40)
	// Channel 2 of block 3 dies in its batch norm: γ = 0, β = -1, ReLU6.
	c.State.Find("cnn.4.1.weight").Data[2], c.State.Find("cnn.4.1.bias").Data[2] = 0, -1
	s := gathered(t, env, c, "activation")
	read := s.read["cnn.4.3"]
	if len(read) != c.Net.Module("cnn.4.3").Kind.(layers.Conv2d).InChannels || read[2] != 0 || slices.Max(read) <= 0 || slices.Min(read) < 0 {
		t.Errorf("cnn.4.3 reads %v", read)
	}
}

// TestDataCriteria: cuts by what data show, and statistics re-estimated afterwards.
func TestDataCriteria(t *testing.T) {
	env, c := fashion(t, 64)
	for _, criterion := range []string{"taylor", "hessian", "activation"} {
		out, r, err := Cut(context.Background(), env, c, Options{Criterion: criterion, Ratio: 0.5, Rank: "global", Images: 16, Recalibrate: 64})
		if err != nil {
			t.Fatal(err)
		}
		if len(out.History) != len(c.History)+2 || r.ParamsAfter >= r.ParamsBefore {
			t.Errorf("%s: %v, %d of %d parameters", criterion, out.History, r.ParamsAfter, r.ParamsBefore)
		}
		plain, _, err := Cut(context.Background(), env, c, Options{Criterion: criterion, Ratio: 0.5, Rank: "global", Images: 16})
		if err != nil {
			t.Fatal(err)
		}
		for i, e := range out.State {
			statistic := strings.HasSuffix(e.Name, "running_mean") || strings.HasSuffix(e.Name, "running_var")
			if same := slices.Equal(e.Data, plain.State[i].Data); same == statistic && !e.Integer() {
				t.Errorf("%s: %s changed: %v", criterion, e.Name, !same)
			}
		}
	}
	_, _, err := Cut(context.Background(), compress.Env{}, c, Options{Criterion: "taylor", Ratio: 0.5})
	oneLine(t, err, "taylor ranks by what data show: it needs training images and a device; give --data")
	_, _, err = Cut(context.Background(), compress.Env{}, c, Options{Ratio: 0.5, Recalibrate: 10})
	oneLine(t, err, "re-estimated with training images, on a device; give --data")
}

// TestTime: a target of time is met as measured when it was chosen, by a smaller
// net; one that nothing meets, or that is met already, is refused.
func TestTime(t *testing.T) {
	env, _ := fashion(t, 1)
	c := drawn(t, layers.Arch{Family: "resnet18", Classes: 3, Base: 16})
	c.Preprocess.Size = 32
	k := &cutter{env: env, c: c, h: 32, w: 32}
	if err := k.measureTime(context.Background()); err != nil {
		t.Fatal(err)
	}
	if same, err := k.latency(context.Background(), c); err != nil || same < k.dense.MS/2 || same > k.dense.MS*2 {
		t.Errorf("the net takes %.3g ms, and beside itself %.3g (%v)", k.dense.MS, same, err)
	}
	out, r, err := Cut(context.Background(), env, c, Options{MS: k.dense.MS / 3})
	if err != nil {
		t.Fatal(err)
	}
	if r.Costs.Before.MS == 0 || r.Costs.After.MS == 0 || r.ParamsAfter >= r.ParamsBefore || out.Net.Equal(c.Net) {
		t.Errorf("%+v", r.Costs)
	}
	_, _, err = Cut(context.Background(), env, c, Options{MS: 1e-6})
	oneLine(t, err, "a target of 1e-06 ms cannot be met: the nearest that can is ")
	_, _, err = Cut(context.Background(), env, c, Options{MS: 1e6})
	oneLine(t, err, "a target of 1e+06 ms is met by the net as it is")
	_, _, err = Cut(context.Background(), compress.Env{}, c, Options{MS: 1})
	oneLine(t, err, "there is no device to measure on")
}
