package backendtest

import (
	"slices"
	"testing"

	"github.com/potstill/potstill/engine"
	"github.com/potstill/potstill/engine/cpu"
)

// mistaken compiles other chains than it is asked for.
type mistaken struct {
	*cpu.Backend
	change func(op engine.Op) engine.Op
}

func (m mistaken) Compile(op engine.Op, in, out []engine.Spec) (engine.Kernel, error) {
	if c, ok := op.(engine.Chain); ok {
		links := slices.Clone(c.Links)
		for i := range links {
			links[i].Op = m.change(links[i].Op)
		}
		op = engine.Chain{Links: links}
	}
	return m.Backend.Compile(op, in, out)
}

// A mistakes counts what is reported.
type mistakes int

func (n *mistakes) Errorf(string, ...any) { *n++ }
func (n *mistakes) Logf(string, ...any)   {}

// TestChainsFindMistakes: chains with a mistake in one kind of link do not pass.
func TestChainsFindMistakes(t *testing.T) {
	b, err := cpu.New(cpu.Options{Threads: 2})
	if err != nil {
		t.Fatal(err)
	}
	defer b.Close()
	if b.Name() == "cpu/go" {
		t.Skip("plain Go has no chains")
	}
	conv := func(f func(c *engine.Conv2D)) func(engine.Op) engine.Op {
		return func(op engine.Op) engine.Op {
			if c, ok := op.(engine.Conv2D); ok {
				f(&c)
				return c
			}
			return op
		}
	}
	for name, change := range map[string]func(engine.Op) engine.Op{
		"a row too high": conv(func(c *engine.Conv2D) { c.Pad[0], c.Pad[2] = c.Pad[2], c.Pad[0] }),
		"no clip at six": conv(func(c *engine.Conv2D) {
			c.Epilogue.Act = pick(c.Epilogue.Act == engine.ReLU6, engine.ReLU, c.Epilogue.Act)
		}),
		"another activation": conv(func(c *engine.Conv2D) {
			c.Epilogue.Act = pick(c.Epilogue.Act == engine.SiLU, engine.Tanh, c.Epilogue.Act)
		}),
		"the mean for a pool": func(op engine.Op) engine.Op {
			if p, ok := op.(engine.MaxPool2D); ok && p.Window.Complete().Dilation == engine.Both(1) {
				return engine.AvgPool2D{Window: p.Window}
			}
			return op
		},
	} {
		var n mistakes
		checkChains(&n, mistaken{b, change}, 60)
		if n == 0 {
			t.Errorf("%s: the mistake is not found", name)
		}
	}
	var n mistakes
	if checkChains(&n, b, 20); n > 0 {
		t.Errorf("without a mistake %d chains are wrong", n)
	}
}

func pick[T any](c bool, a, b T) T {
	if c {
		return a
	}
	return b
}
