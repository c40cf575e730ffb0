package engine_test

import (
	"math"
	"slices"
	"testing"

	"github.com/potstill/potstill/engine"
	"github.com/potstill/potstill/engine/ref"
)

// A distilNet is weights[0]·CE + weights[1]·KL of the logits x·w, with dw.
type distilNet struct {
	*net
	in               engine.Bindings
	ce, kl, loss, dw *engine.Value
}

// newDistilNet adds, with extra, a reader of the cross-entropy by itself.
func newDistilNet(t *testing.T, weights []float32, swap, extra bool, opts ...ref.Option) *distilNet {
	n := &distilNet{net: newNet(t, opts...)}
	x, target, teacher := n.b.Input("x", engine.F32(3, 2)), n.b.Input("target", engine.F32(3, 4)), n.b.Input("teacher", engine.F32(3, 4))
	w := n.shaped("w", []int{2, 4}, 1, -2, .5, 3, -1, .25, 2, -.75)
	logits := n.b.One(engine.Linear{}, x, w)
	n.ce = n.b.One(engine.CrossEntropy{LabelSmoothing: 0.1}, logits, target)
	n.kl = n.b.One(engine.KLDiv{T: 3}, logits, teacher)
	a, b := n.ce, n.kl
	if swap {
		a, b = b, a
	}
	if extra {
		a = n.b.One(engine.Add{}, a, n.b.One(engine.Add{Weights: []float32{0.5}}, n.ce))
	}
	n.loss = n.b.One(engine.Add{Weights: weights}, a, b)
	grads, err := engine.Grad(n.g, n.loss, []*engine.Value{w})
	if err != nil {
		t.Fatal(err)
	}
	n.dw = grads[0]
	n.in = engine.Bindings{x: engine.Bytes([]float32{1, 2, -1, .5, 0, 3}), target: engine.Bytes([]float32{1, 0, 0, 0, 0, 0, 1, 0, 0, .5, 0, .5}),
		teacher: engine.Bytes([]float32{3, 1, 0, -1, 0, 2, 5, 1, -3, 1, 1, 0})}
	return n
}

// TestFuseDistillLoss: the two losses, their sum and their gradients become two
// steps, whatever the weights and their order; each loss can still be read.
func TestFuseDistillLoss(t *testing.T) {
	for _, weights := range [][]float32{nil, {0.3, 0.7}, {1, 0.25}, {-2, 1}, {1, 0}} {
		for _, swap := range []bool{false, true} {
			var results [2][][]float32
			for i, opts := range [][]ref.Option{nil, {ref.WithoutFusion()}} {
				n := newDistilNet(t, weights, swap, false, opts...)
				p := n.compile(n.loss, n.ce, n.kl, n.dw)
				want := []string{"Linear", "DistillLoss", "Fill", "DistillLossBackward", "LinearBackwardWeight"}
				if got := ops(p); (i == 0) != slices.Equal(got, want) {
					t.Errorf("weights %v, swapped %v, fusion %v: plan is %v", weights, swap, i == 0, got)
				}
				n.run(p, n.in)
				for _, v := range []*engine.Value{n.loss, n.ce, n.kl, n.dw} {
					results[i] = append(results[i], n.read(p, v))
				}
			}
			for k, want := range results[1] {
				for i := range want {
					if d := math.Abs(float64(results[0][k][i] - want[i])); !(d <= 1e-6*(1+math.Abs(float64(want[i])))) {
						t.Errorf("weights %v, swapped %v, output %d[%d]: fused %v, plain %v", weights, swap, k, i, results[0][k][i], want[i])
					}
				}
			}
		}
	}
}

// TestDistillLossIsLeftAlone: a loss that another step reads, perhaps before the
// sum, keeps its own step; so do gradients that come from different scalars.
func TestDistillLossIsLeftAlone(t *testing.T) {
	n := newDistilNet(t, []float32{0.3, 0.7}, false, true)
	p := n.compile(n.loss, n.dw)
	for _, op := range []string{"CrossEntropy", "KLDiv", "CrossEntropyBackward", "KLDivBackward"} {
		if !slices.Contains(ops(p), op) {
			t.Errorf("%s is gone: %v", op, ops(p))
		}
	}
	n.run(p, n.in)
}

// TestDistillLossOfTwoLogits: losses of different logits are no distillation loss.
func TestDistillLossOfTwoLogits(t *testing.T) {
	n := newNet(t)
	x, y, target := n.b.Input("x", engine.F32(1, 3)), n.b.Input("y", engine.F32(1, 3)), n.b.Input("target", engine.F32(1, 3))
	loss := n.b.One(engine.Add{}, n.b.One(engine.CrossEntropy{}, x, target), n.b.One(engine.KLDiv{T: 2}, y, target))
	p := n.compile(loss)
	if want := []string{"CrossEntropy", "KLDiv", "Add"}; !slices.Equal(ops(p), want) {
		t.Errorf("plan is %v, want %v", ops(p), want)
	}
}
