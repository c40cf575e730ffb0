package backendtest

import (
	"testing"

	"github.com/potstill/potstill/engine"
	"github.com/potstill/potstill/engine/ref"
)

// TestRefPrograms holds the reference's fused programs to its unfused ones.
func TestRefPrograms(t *testing.T) {
	RunPrograms(t, ref.New(), Small)
	RunRepeat(t, ref.New(), Small)
	RunGated(t, ref.New(), Small)
}

// larger returns an eval that makes the outputs larger by a share.
func larger(share float64) func(engine.Op, []ref.Array) ([]ref.Array, error) {
	return then(func(_ engine.Op, _, out []ref.Array) {
		for _, y := range out {
			for i := range y.V {
				y.V[i] *= 1 + share
			}
		}
	})
}

// stale makes a kernel keep what it wrote in its first run.
func stale(c call) {
	if c.n > 0 {
		if err := c.out[0].Write(c.before); err != nil {
			panic(err)
		}
	}
}

// restless changes the last bit of every second run's first element.
func restless(c call) {
	if b := read(c.out[0]); c.n >= 2 {
		b[0] ^= 1
		if err := c.out[0].Write(b); err != nil {
			panic(err)
		}
	}
}

// programBugs are what the checks of whole programs must find, by the check's name.
var programBugs = map[string][]bug{
	"Training": {
		{name: "a gradient of weights", stem: "Conv2DBackwardWeight", eval: larger(1e-3)},
		{name: "a gradient of a BatchNorm", stem: "BatchNormActBackward", eval: larger(1e-3)},
	},
	"Distillation": {{name: "the teacher's weights", stem: "FoldBatchNorm", eval: larger(1e-3)}},
	"Inference":    {{name: "a linear layer", stem: "Linear", eval: larger(1e-4)}},
	"Steps": {
		{name: "no decay", stem: "SGD", eval: on(func(_ engine.Op, in []ref.Array) { in[0].V[engine.HyperWeightDecay] = 0 })},
		{name: "gradients are not clipped", stem: "SGD", eval: on(func(_ engine.Op, in []ref.Array) { in[1].V[0] = 1 })},
	},
	"Fusion":   {{name: "a fused BatchNorm", stem: "BatchNormAct", eval: larger(1e-3)}},
	"Half":     {{name: "a cast", stem: "Cast", eval: larger(0.5)}},
	"Prepared": {{name: "folded once and for all", stem: "FoldBatchNorm", after: stale}},
	"Repeat":   {{name: "other bits", stem: "SGD", after: restless}, {name: "other bits", stem: "Adam", after: restless}},
}

// TestPlantedPrograms fails where a check passes a backend with a bug in it, or
// one without.
func TestPlantedPrograms(t *testing.T) {
	checks := append([]programCheck{{"Repeat", checkRepeat}}, programChecks...)
	for _, c := range checks {
		t.Run(c.name, func(t *testing.T) {
			c.check(t, &planted{Backend: ref.New()}, Small)
			for _, p := range programBugs[c.name] {
				var v verdict
				if c.check(&v, &planted{Backend: ref.New(), bug: p}, Small); len(v.faults) == 0 {
					t.Errorf("%s in %s is not found", p.name, p.stem)
				} else {
					t.Log(v.faults[0])
				}
			}
			if c.name != "Arena" && programBugs[c.name] == nil {
				t.Error("no bug is planted")
			}
		})
	}
}

// TestBadPrograms shows that what no operator is to blame for is found too.
func TestBadPrograms(t *testing.T) {
	for _, p := range []engine.Plan{{ArenaBytes: 9, NaiveBytes: 9, PeakBytes: 9}, {ArenaBytes: 5, NaiveBytes: 9, PeakBytes: 6}, {NaiveBytes: 9}} {
		if arena(&p) == nil {
			t.Errorf("%+v passes", p)
		}
	}
	var v verdict
	if checkAllocations(&v, ref.New(), Small); len(v.faults) != 3 {
		t.Errorf("the reference allocates; want three faults, got %q", v.faults)
	}
	v = verdict{}
	same := program{ref.New(), Recipe{Distill: true}}
	trials(&v, Small, func(c []*Trial) error { return compareRuns(c[0], c[1], 1, 0) }, same, same)
	if len(v.faults) != 0 {
		t.Errorf("two runs of the same program differ: %q", v.faults)
	}
	trials(&v, Small, func(c []*Trial) error {
		if err := compareRuns(c[0], c[1], 1, 0); err != nil {
			return err
		}
		return differ(c[0], c[1], "the same")
	}, same, same)
	checkStep(&v, &planted{Backend: ref.New(), bug: bug{refuse: true}}, Small, Recipe{})
	if len(v.faults) != 2 {
		t.Errorf("want two faults, a loss that does not differ and a backend that refuses all; got %q", v.faults)
	}
}
