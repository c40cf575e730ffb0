package cpu_test

import (
	"context"
	"slices"
	"testing"

	"github.com/potstill/potstill/engine"
	"github.com/potstill/potstill/engine/cpu"
)

// A lender counts the loans that programs ask for.
type lender struct {
	*cpu.Backend
	loans int
}

func (l *lender) NewLoan() engine.Loan {
	n := l.Backend.NewLoan()
	if n != nil {
		l.loans++
	}
	return n
}

// TestLoans: a large input that the first step alone reads is read where the caller has it, and
// gives the results of one that is copied; every run has its own.
func TestLoans(t *testing.T) {
	const side, small = 96, 8
	relu := func(b *engine.Builder, v *engine.Value) *engine.Value {
		return b.One(engine.Activation{F: engine.ReLU}, v)
	}
	w := &engine.Variable{Name: "w", Spec: engine.F32(3, 3, 3, 16)}
	weights := make([]float32, w.Spec.Len())
	for i := range weights {
		weights[i] = float32(i%7-3) / 8
	}
	conv := func(b *engine.Builder, v *engine.Value) *engine.Value {
		return b.One(engine.Conv2D{Pad: engine.Around(1)}, v, b.Variable(w))
	}
	for _, x := range []struct {
		name  string
		side  int
		loans int
		build func(b *engine.Builder, in *engine.Value) []*engine.Value
	}{
		{"read once", side, 1, func(b *engine.Builder, in *engine.Value) []*engine.Value {
			return []*engine.Value{relu(b, conv(b, in))}
		}},
		{"begins a chain", 256, 1, func(b *engine.Builder, in *engine.Value) []*engine.Value {
			pool := engine.Window{Kernel: engine.Both(2), Stride: engine.Both(2), Dilation: engine.Both(1)}
			return []*engine.Value{b.One(engine.MaxPool2D{Window: pool}, relu(b, conv(b, in)))}
		}},
		{"a sum of many", side, 1, func(b *engine.Builder, in *engine.Value) []*engine.Value {
			return []*engine.Value{conv(b, b.One(engine.Add{}, in, in, in, in, in, in))}
		}},
		{"reshaped", side, 1, func(b *engine.Builder, in *engine.Value) []*engine.Value {
			flat := b.One(engine.Reshape{Shape: []int{1, 1, side * side, 3}}, in)
			return []*engine.Value{conv(b, b.One(engine.Reshape{Shape: []int{1, side, side, 3}}, relu(b, flat)))}
		}},
		{"read twice by the first step", side, 1, func(b *engine.Builder, in *engine.Value) []*engine.Value {
			return []*engine.Value{conv(b, b.One(engine.Mul{}, in, in))}
		}},
		{"read again later", side, 0, func(b *engine.Builder, in *engine.Value) []*engine.Value {
			return []*engine.Value{conv(b, b.One(engine.Add{}, in, relu(b, b.One(engine.Activation{F: engine.Tanh}, in))))}
		}},
		{"an output itself", side, 0, func(b *engine.Builder, in *engine.Value) []*engine.Value {
			return []*engine.Value{conv(b, in), in}
		}},
		{"small", small, 0, func(b *engine.Builder, in *engine.Value) []*engine.Value {
			return []*engine.Value{conv(b, in)}
		}},
	} {
		t.Run(x.name, func(t *testing.T) {
			backend := &lender{Backend: open(t, "", 2)}
			store := engine.NewStore(backend)
			defer store.Close()
			b := engine.NewBuilder(engine.NewGraph())
			in := b.Input("x", engine.F32(1, x.side, x.side, 3))
			outputs := x.build(b, in)
			if err := b.Err(); err != nil {
				t.Fatal(err)
			}
			p, err := b.Graph().Compile(backend, engine.Options{Store: store, Outputs: outputs})
			if err != nil {
				t.Fatal(err)
			}
			defer p.Close()
			if err := store.Set(w, engine.Bytes(weights)); err != nil {
				t.Fatal(err)
			}
			if n := count(p.Plan().Steps, "Chain"); x.name == "begins a chain" && cpu.Variants()[0] != "go" && n != 1 {
				t.Errorf("%d chains", n)
			}
			if has := backend.Backend.NewLoan() != nil; has && backend.loans != x.loans {
				t.Errorf("%d loans, want %d", backend.loans, x.loans)
			}
			run := func(data []byte) []byte {
				t.Helper()
				if err := p.Run(context.Background(), engine.Bindings{in: data}); err != nil {
					t.Fatal(err)
				}
				out := make([]byte, outputs[0].Bytes())
				if err := p.Read(outputs[0], out); err != nil {
					t.Fatal(err)
				}
				return out
			}
			data := make([][]byte, 2)
			for k := range data {
				pixels := make([]float32, in.Len())
				for i := range pixels {
					pixels[i] = float32((i*7919+k*31)%257)/64 - 2
				}
				data[k] = engine.Bytes(pixels)
			}
			astray := make([]byte, in.Bytes()+1) // of which no element lies where it should
			copied := func(k int) []byte { copy(astray[1:], data[k]); return run(astray[1:]) }
			first := run(data[0])
			switch {
			case !slices.Equal(first, copied(0)):
				t.Error("an input that is copied gives other results than one that is lent")
			case !slices.Equal(run(data[1]), copied(1)):
				t.Error("the second input gives other results where it is lent")
			case slices.Equal(first, run(data[1])):
				t.Error("both inputs give the same")
			case !slices.Equal(first, run(data[0])):
				t.Error("the first input gives other results again")
			}
			bound := engine.Bindings{in: data[0]}
			if n := testing.AllocsPerRun(20, func() {
				if err := p.Run(context.Background(), bound); err != nil {
					t.Fatal(err)
				}
			}); n != 0 {
				t.Errorf("a run allocates %v times", n)
			}
			flight, err := p.Start(context.Background(), engine.Bindings{in: data[1]})
			if err != nil {
				t.Fatal(err)
			}
			if err := flight.Wait(); err != nil {
				t.Fatal(err)
			}
			out := make([]byte, outputs[0].Bytes())
			if err := flight.Read(outputs[0], out); err != nil {
				t.Fatal(err)
			}
			if !slices.Equal(out, copied(1)) {
				t.Error("Start gives other results than Run")
			}
		})
	}
}

// TestLoanTakes: what is not aligned as elements have to be is not taken.
func TestLoanTakes(t *testing.T) {
	l := open(t, "", 1).NewLoan()
	if l == nil {
		t.Skip("plain Go lends nothing")
	}
	data := engine.Bytes(make([]float32, 4))
	for _, x := range []struct {
		data    []byte
		element int
		want    bool
	}{{data, 4, true}, {data[4:], 4, true}, {data[2:], 4, false}, {data[2:], 2, true}, {data[1:], 2, false}, {data[1:], 1, true}, {nil, 1, false}} {
		if got := l.Take(x.data, x.element); got != x.want {
			t.Errorf("%d bytes of elements of %d: %v", len(x.data), x.element, got)
		}
		l.Return()
	}
	if err := l.Write(0, []byte{1}); err == nil {
		t.Error("a loan is written to")
	}
}
