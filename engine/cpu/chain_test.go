package cpu_test

import (
	"bytes"
	"context"
	"slices"
	"testing"

	"github.com/potstill/potstill/engine"
	"github.com/potstill/potstill/engine/backendtest"
	"github.com/potstill/potstill/engine/cpu"
)

// TestChains holds chains to their links on every instruction set.
func TestChains(t *testing.T) {
	eachVariant(t, func(t *testing.T, variant string) {
		if variant == "go" {
			t.Skip("plain Go has no chains")
		}
		for _, threads := range []int{1, 2} {
			backendtest.RunChains(t, open(t, variant, threads))
		}
	})
}

// A chainer is a backend that chains all that it can run, or nothing, but for chains of
// few links: of 2 to refused.
type chainer struct {
	*cpu.Backend
	all     bool
	refused int
}

func (c chainer) Chains(op engine.Chain, in, out []engine.Spec) bool {
	_, err := c.Compile(op, in, out)
	return c.all && err == nil && len(op.Links) > c.refused
}

// chainNet is a net of all that chains are made of: a first layer with a pool, a
// depthwise and a pointwise layer, an expansion with a residual.
func chainNet(g *engine.Builder, batch int) *engine.Value {
	variable := func(shape ...int) *engine.Value {
		return g.Variable(&engine.Variable{Name: "w", Spec: engine.F32(shape...)})
	}
	conv := func(x *engine.Value, k, o, groups int, act engine.Act) *engine.Value {
		y := g.One(engine.Conv2D{Pad: engine.Around(k / 2), Groups: groups}, x, variable(k, k, x.Shape[3]/groups, o), variable(o))
		if act == engine.Identity {
			return y
		}
		return g.One(engine.Activation{F: act}, y)
	}
	x := conv(g.Input("x", engine.F32(batch, 21, 19, 3)), 3, 8, 1, engine.ReLU)
	x = g.One(engine.MaxPool2D{Window: engine.Window{Kernel: engine.Both(2)}}, x)
	x = conv(conv(x, 3, 8, 8, engine.ReLU6), 1, 12, 1, engine.SiLU)
	y := conv(conv(conv(x, 1, 40, 1, engine.ReLU6), 3, 40, 40, engine.ReLU6), 1, 12, 1, engine.Identity)
	return g.One(engine.GlobalAvgPool{}, g.One(engine.Add{}, x, y))
}

// inference runs chainNet and returns its output and the ops of its plan.
func inference(t *testing.T, b engine.Backend, batch int) ([]byte, []string) {
	t.Helper()
	g := engine.NewBuilder(engine.NewGraph())
	y := chainNet(g, batch)
	if err := g.Err(); err != nil {
		t.Fatal(err)
	}
	store := engine.NewStore(b)
	defer store.Close()
	p, err := g.Graph().Compile(b, engine.Options{Store: store, Outputs: []*engine.Value{y}})
	if err != nil {
		t.Fatal(err)
	}
	defer p.Close()
	draw := func(n int) []byte {
		v := make([]float32, n)
		for i := range v {
			v[i] = float32(i*7919%101)/101 - 0.4
		}
		return engine.Bytes(v)
	}
	seen := map[*engine.Variable]bool{}
	for _, n := range g.Graph().Nodes() {
		for _, v := range n.In {
			if w := v.Variable(); w != nil && !seen[w] {
				seen[w] = true
				if err := store.Set(w, draw(w.Len())); err != nil {
					t.Fatal(err)
				}
			}
		}
	}
	in := g.Graph().Inputs()[0]
	for range 2 {
		if err := p.Run(context.Background(), engine.Bindings{in: draw(in.Len())}); err != nil {
			t.Fatal(err)
		}
	}
	out := make([]byte, y.Bytes())
	if err := p.Read(y, out); err != nil {
		t.Fatal(err)
	}
	var ops []string
	for _, s := range p.Plan().Steps {
		ops = append(ops, s.Op)
	}
	return out, ops
}

// TestPlansWithChains: a plan with chains computes what one without them does, to
// the bit, whatever the threads.
func TestPlansWithChains(t *testing.T) {
	eachVariant(t, func(t *testing.T, variant string) {
		if variant == "go" {
			t.Skip("plain Go has no chains")
		}
		for _, batch := range []int{1, 5} {
			want, ops := inference(t, chainer{Backend: open(t, variant, 1)}, batch)
			if slices.Contains(ops, "Chain") {
				t.Fatalf("chains that the backend did not want: %v", ops)
			}
			for _, threads := range []int{1, 2} {
				got, ops := inference(t, chainer{Backend: open(t, variant, threads), all: true}, batch)
				if !slices.Equal(ops, []string{"Chain", "Chain", "GlobalAvgPool"}) {
					t.Errorf("the plan is %v", ops)
				}
				if !bytes.Equal(got, want) {
					t.Errorf("batch %d, %d threads: the result differs with chains", batch, threads)
				}
			}
		}
	})
}

// TestChainsLookBeyond: a chain that is wanted is found behind one that is not and is one
// link shorter, and no further away.
func TestChainsLookBeyond(t *testing.T) {
	variant := cpu.Variants()[0]
	if variant == "go" {
		t.Skip("plain Go has no chains")
	}
	for refused, want := range map[int]int{0: 2, 2: 2, 3: 0} {
		_, ops := inference(t, chainer{open(t, variant, 1), true, refused}, 1)
		if n := len(slices.DeleteFunc(ops, func(op string) bool { return op != "Chain" })); n != want {
			t.Errorf("where chains of up to %d links are refused there are %d and not %d", refused, n, want)
		}
	}
}

// TestConstantsBeginNoChain compiles a plan whose first step has no input, and
// whose only reader is one that chains have.
func TestConstantsBeginNoChain(t *testing.T) {
	eachVariant(t, func(t *testing.T, variant string) {
		g := engine.NewBuilder(engine.NewGraph())
		x := g.Apply(engine.Fill{Value: 2, Shape: []int{1, 8, 8, 4}})[0]
		y := g.Apply(engine.MaxPool2D{Window: engine.Window{Kernel: engine.Both(2), Stride: engine.Both(2), Dilation: engine.Both(1)}}, x)[0]
		if err := g.Err(); err != nil {
			t.Fatal(err)
		}
		p, err := g.Graph().Compile(chainer{Backend: open(t, variant, 1), all: true}, engine.Options{Outputs: []*engine.Value{y}})
		if err != nil {
			t.Fatal(err)
		}
		if err := p.Close(); err != nil {
			t.Error(err)
		}
	})
}
