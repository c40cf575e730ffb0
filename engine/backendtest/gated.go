package backendtest

import (
	"context"
	"errors"
	"fmt"
	"math"
	"strings"
	"testing"

	"github.com/potstill/potstill/engine"
	"github.com/potstill/potstill/engine/ref"
)

// gated adds a small classifier of what the net of a Trial does not have: batch
// norms with activations whose slope comes from the argument (SiLU) and from the
// result (ELU), with a pool and without, squeeze and excitation, a factor of each
// pixel, PReLU, scales, stochastic depth, and GELU behind a convolution.
func (n *net) gated(b *engine.Builder, x *engine.Value, train bool) *engine.Value {
	p := func(name string, shape ...int) *engine.Value { return n.add(b, name, true, shape...) }
	act := func(f engine.Act, x *engine.Value) *engine.Value { return b.One(engine.Activation{F: f}, x) }
	norm := func(name string, x *engine.Value, f engine.Act) *engine.Value {
		c := x.Shape[3]
		return act(f, b.One(engine.BatchNorm{Eps: 1e-5, Momentum: 0.1, Train: train}, x,
			p(name+".weight", c), p(name+".bias", c), n.add(b, name+".mean", false, c), n.add(b, name+"_var", false, c)))
	}
	w := n.width
	x = norm("bn1", b.One(engine.Conv2D{Pad: engine.Around(1)}, x, p("stem", 3, 3, 3, w)), engine.SiLU)
	x = b.One(engine.MaxPool2D{Window: engine.Window{Kernel: engine.Both(2)}}, x)
	x = norm("bn2", b.One(engine.Conv2D{Pad: engine.Around(1), Groups: w}, x, p("depthwise", 3, 3, 1, w)), engine.ELU(1))
	gate := b.One(engine.Linear{}, b.One(engine.GlobalAvgPool{}, x), p("se1", w, 4), p("se1.bias", 4))
	gate = b.One(engine.Linear{}, act(engine.SiLU, gate), p("se2", 4, w), p("se2.bias", w))
	y := b.One(engine.Mul{}, x, act(engine.HardSigmoid(1./6, 0.5), gate))
	y = b.One(engine.Conv2D{}, y, p("pointwise", 1, 1, w, w), p("pointwise.bias", w))
	y = b.One(engine.ScaleShift{Scale: true, Shift: true}, y, p("scale", w), p("shift", w))
	if train {
		y = b.One(engine.StochasticDepth{P: 0.3, Stream: 7}, y, b.DropoutCounter())
	}
	x = b.One(engine.PReLU{}, b.One(engine.Add{}, x, y), p("slope", w))
	x = act(engine.GELU, b.One(engine.Conv2D{Pad: engine.Around(1)}, x, p("dense", 3, 3, w, w), p("dense.bias", w)))
	attention := b.One(engine.Softmax{}, b.One(engine.Conv2D{}, x, p("attention", 1, 1, w, 4)))
	x = b.One(engine.Mul{}, x, b.One(engine.Slice{Start: 1, End: 2}, attention))
	return b.One(engine.Linear{}, b.One(engine.GlobalAvgPool{}, x), p("fc", w, netClasses), p("fc.bias", netClasses))
}

// gatedStep computes the logits in evaluation and the loss with its gradients in
// training, and returns the training's plan.
func gatedStep(backend engine.Backend, s Size, noFuse bool) (values [][]float32, plans [2]*engine.Plan, err error) {
	n := &net{width: s.Width}
	store := engine.NewStore(backend)
	defer func() { err = errors.Join(err, store.Close()) }()
	for i, train := range []bool{false, true} {
		b := engine.NewBuilder(engine.NewGraph())
		x, target := b.Input("images", engine.F32(s.Batch, s.Pixels, s.Pixels, 3)), b.Input("target", engine.F32(s.Batch, netClasses))
		out := []*engine.Value{n.gated(b, x, train)}
		in := engine.Bindings{}
		in[x], in[target] = s.images()
		if train {
			in[b.DropoutCounter()] = engine.Bytes([]uint32{11, 0, 5, 0})
			out[0] = b.One(engine.CrossEntropy{LabelSmoothing: 0.1}, out[0], target)
			var params []*engine.Value
			for _, v := range n.vars {
				if v.Trainable {
					params = append(params, b.Variable(v))
				}
			}
			grads, err := engine.Grad(b.Graph(), out[0], params)
			if err != nil {
				return nil, plans, err
			}
			out = append(out, grads...)
		} else {
			delete(in, target)
		}
		if err := errors.Join(b.Err(), n.fill(store, studentSeed)); err != nil {
			return nil, plans, err
		}
		prog, err := b.Graph().Compile(backend, engine.Options{Store: store, Outputs: out, NoFuse: noFuse})
		if err != nil {
			return nil, plans, err
		}
		plans[i] = prog.Plan()
		err = prog.Run(context.Background(), in)
		for _, v := range out {
			y := make([]float32, v.Len())
			err = errors.Join(err, prog.Read(v, engine.Bytes(y)))
			values = append(values, y)
		}
		if err = errors.Join(err, prog.Close()); err != nil {
			return nil, plans, err
		}
	}
	return values, plans, nil
}

// RunGated holds b to the reference on whole programs of a net with gates and with
// activations other than ReLU's kind, fused and not, and checks that b, which must
// fuse, has BatchNorm and activation in one op, in both directions, and the
// activation within the convolution in evaluation.
func RunGated(t *testing.T, b engine.Backend, s Size) {
	want, _, err := gatedStep(ref.New(ref.WithoutFusion()), s, true)
	if err != nil {
		t.Fatal(err)
	}
	for _, noFuse := range []bool{false, true} {
		got, plans, err := gatedStep(b, s, noFuse)
		if err != nil {
			t.Fatal(err)
		}
		for k := range want {
			if off := farthest(got[k], want[k]); !(off <= 1e-4) {
				t.Errorf("%s, NoFuse %v: output %d is off by %.2g of its largest", b.Name(), noFuse, k, off)
			}
		}
		if noFuse {
			continue
		}
		const folded = "Conv2D BatchNorm Activation"
		ops := make(map[string]int)
		for _, step := range append(plans[0].Steps, plans[1].Steps...) {
			ops[step.Op]++
			ops[fmt.Sprint(step.Op, step.Fused)]++
			ops[folded] += strings.Count(strings.Join(step.Fused, " "), folded) // in a chain or alone
		}
		for op, n := range map[string]int{"BatchNormAct": 2, "BatchNormActBackward": 2, "BatchNorm": 0, "BatchNormBackward": 0,
			"BatchNormAct[BatchNorm Activation MaxPool2D]": 1, folded: 2, "Conv2D[Conv2D Activation]": 1} {
			if ops[op] != n {
				t.Errorf("%s: %d steps are %s, want %d", b.Name(), ops[op], op, n)
			}
		}
	}
}

// farthest returns the largest difference over the largest wanted value.
func farthest(got, want []float32) float64 {
	largest, off := 0.0, 0.0
	for i, w := range want {
		largest = max(largest, math.Abs(float64(w)))
		off = max(off, math.Abs(float64(got[i])-float64(w)))
	}
	return off / largest
}
