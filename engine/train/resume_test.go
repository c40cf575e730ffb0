package train

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/potstill/potstill/engine"
	"github.com/potstill/potstill/engine/data"
)

// base is a run of 3 epochs of 4 batches, the last of them smaller, with
// everything random that there is.
func base() Config {
	return Config{
		Epochs: 3, Batch: 6, Seed: 11, Shuffle: true, Optimizer: OptimizerConfig{LR: 0.01, WeightDecay: 0.01},
		Train:      data.Transform{Size: 6, RandomCrop: true, Padding: 1, HFlip: 0.5},
		MixupAlpha: 0.4,
	}
}

var resumeConfigs = map[string]func(c *Config){
	"adamw":      func(*Config) {},
	"adam":       func(c *Config) { c.Optimizer.Kind = Adam },
	"sgd":        func(c *Config) { c.Optimizer.Kind = SGD },
	"nesterov":   func(c *Config) { c.Optimizer.Kind, c.Optimizer.Momentum, c.Optimizer.Nesterov = SGD, 0.9, true },
	"stale":      func(c *Config) { c.Optimizer.Kind = Stale },
	"ema":        func(c *Config) { c.EMA = 0.9 },
	"stale, ema": func(c *Config) { c.Optimizer.Kind, c.EMA = Stale, 0.9 },
	"accumulate": func(c *Config) { c.Accumulate = 3 },
	"all": func(c *Config) {
		c.EMA, c.Accumulate, c.ClipNorm, c.LabelSmoothing = 0.9, 2, 0.5, 0.1
		c.Schedule = ScheduleConfig{Kind: OneCycle, Warmup: 2}
	},
	"cosine": func(c *Config) { c.Schedule = ScheduleConfig{Kind: Cosine, PerStep: true} },
}

// A recorder keeps the snapshots of a run.
type recorder struct{ last, best []*Snapshot }

func (r *recorder) save(kind string, s *Snapshot) error {
	if kind == KindBest {
		r.best = append(r.best, s)
	} else {
		r.last = append(r.last, s)
	}
	return nil
}

func (r *recorder) final() *Snapshot { return r.last[len(r.last)-1] }

// dropout is that of the nets that start makes.
var dropout float32 = 0.3

// start returns a trainer of a new net in a new store, both seeded by seed.
func start(t *testing.T, ds *data.Dataset, c Config, seed uint64, h Hooks) *Trainer {
	net, store := newConvNet(dropout), newStore(t)
	fill(t, store, net.vars, seed)
	return newTrainer(t, net, store, ds, c, h)
}

// same compares two snapshots: every byte of every tensor, and every figure
// but times.
func same(t *testing.T, what string, a, b *Snapshot) {
	t.Helper()
	if len(a.Tensors) != len(b.Tensors) {
		t.Fatalf("%s: %d and %d tensors", what, len(a.Tensors), len(b.Tensors))
	}
	for i := range a.Tensors {
		if a.Tensors[i].Name != b.Tensors[i].Name || !bytes.Equal(a.Tensors[i].Data, b.Tensors[i].Data) {
			t.Errorf("%s: %s differs", what, a.Tensors[i].Name)
		}
	}
	if x, y := timeless(t, a), timeless(t, b); x != y {
		t.Errorf("%s: progress differs:\n%s\n%s", what, x, y)
	}
}

func timeless(t *testing.T, s *Snapshot) string {
	t.Helper()
	var p progress
	if err := json.Unmarshal(s.Progress, &p); err != nil {
		t.Fatal(err)
	}
	p.Partial.Seconds = 0
	for i := range p.History {
		p.History[i].Seconds, p.History[i].ImagesPerSecond = 0, 0
	}
	text, err := json.Marshal(p)
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

func TestResumeIsExact(t *testing.T) {
	ds := noisyData(t)
	for name, set := range resumeConfigs {
		t.Run(name, func(t *testing.T) {
			c := base()
			set(&c)
			var whole recorder
			if _, err := start(t, ds, c, 1, Hooks{Save: whole.save}).Run(context.Background()); err != nil {
				t.Fatal(err)
			}
			k := 1
			for steps := len(whole.steps(t, ds, c)); k < steps; k += 2 {
				stopped := stopAfter(t, ds, c, k)
				var rest recorder
				c2 := c
				c2.Workers = 1
				tr := start(t, ds, c2, 99, Hooks{Save: rest.save}) // other weights: all must come from the snapshot
				if err := tr.Resume(stopped); err != nil {
					t.Fatal(err)
				}
				if _, err := tr.Run(context.Background()); err != nil {
					t.Fatal(err)
				}
				what := fmt.Sprintf("stopped after %d steps", k)
				same(t, what, rest.final(), whole.final())
				if n := len(rest.best); n > 0 {
					same(t, what+", best", rest.best[n-1], whole.best[len(whole.best)-1])
				}
			}
		})
	}
}

// steps returns the losses of an uninterrupted run.
func (r *recorder) steps(t *testing.T, ds *data.Dataset, c Config) (losses []float64) {
	h := Hooks{Step: func(i StepInfo) { losses = append(losses, i.Loss) }}
	if _, err := start(t, ds, c, 1, h).Run(context.Background()); err != nil {
		t.Fatal(err)
	}
	return losses
}

// stopAfter cancels a run in its k-th step and returns what it has saved.
func stopAfter(t *testing.T, ds *data.Dataset, c Config, k int) *Snapshot {
	t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	var r recorder
	h := Hooks{Save: r.save, Step: func(i StepInfo) {
		if i.Update == k {
			cancel()
		}
		if i.Update > k {
			t.Errorf("step %d ran after the run was canceled in step %d", i.Update, k)
		}
	}}
	_, err := start(t, ds, c, 1, h).Run(ctx)
	if !errors.Is(err, context.Canceled) || !strings.Contains(err.Error(), "resume from the \"last\" snapshot") {
		t.Fatalf("canceled run: %v", err)
	}
	return r.final()
}

// A process that is killed leaves its last snapshot and no more. Every one of
// them must lead to the same end.
func TestEverySnapshotLeadsToTheSameEnd(t *testing.T) {
	ds := noisyData(t)
	c := base()
	c.EMA, c.SaveEvery = 0.9, 1
	var whole recorder
	if _, err := start(t, ds, c, 1, Hooks{Save: whole.save}).Run(context.Background()); err != nil {
		t.Fatal(err)
	}
	if len(whole.last) != 12 { // 3 steps and the end, in each of 3 epochs
		t.Fatalf("%d snapshots", len(whole.last))
	}
	for i, s := range whole.last {
		var rest recorder
		tr := start(t, ds, c, 99, Hooks{Save: rest.save})
		if err := tr.Resume(s); err != nil {
			t.Fatal(err)
		}
		if _, err := tr.Run(context.Background()); err != nil {
			t.Fatal(err)
		}
		if i == len(whole.last)-1 {
			if len(rest.last) != 0 || len(tr.History()) != 3 {
				t.Error("a finished run did something when it was resumed")
			}
			continue
		}
		same(t, fmt.Sprintf("snapshot %d", i), rest.final(), whole.final())
	}
}

// A resumed run must differ from the whole one if any tensor is disturbed:
// otherwise the comparisons above would prove nothing.
func TestResumeDependsOnEveryTensor(t *testing.T) {
	ds := noisyData(t)
	c := base()
	c.EMA = 0.9
	var whole recorder
	if _, err := start(t, ds, c, 1, Hooks{Save: whole.save}).Run(context.Background()); err != nil {
		t.Fatal(err)
	}
	for i, st := range stopAfter(t, ds, c, 5).Tensors {
		s := stopAfter(t, ds, c, 5)
		s.Tensors[i].Data[2] ^= 0x40 // a bit of float32's significand, or 2^22 in the count
		var rest recorder
		tr := start(t, ds, c, 1, Hooks{Save: rest.save})
		if err := tr.Resume(s); err != nil {
			t.Fatal(err)
		}
		if _, err := tr.Run(context.Background()); err != nil {
			t.Fatal(err)
		}
		differs := false
		for j, f := range rest.final().Tensors {
			differs = differs || !bytes.Equal(f.Data, whole.final().Tensors[j].Data)
		}
		if !differs {
			t.Errorf("%s has no influence on the resumed run", st.Name)
		}
	}
}

func TestResumeRefuses(t *testing.T) {
	ds := noisyData(t)
	good := stopAfter(t, ds, base(), 5)
	broken := func(f func(*Snapshot)) *Snapshot {
		s := &Snapshot{Progress: good.Progress, Tensors: append([]SnapTensor(nil), good.Tensors...)}
		f(s)
		return s
	}
	edit := func(old, new string) *Snapshot {
		return broken(func(s *Snapshot) {
			if !bytes.Contains(s.Progress, []byte(old)) {
				t.Fatalf("%s is not in %s", old, s.Progress)
			}
			s.Progress = bytes.Replace(s.Progress, []byte(old), []byte(new), 1)
		})
	}
	for _, c := range []struct {
		want string
		s    *Snapshot
		set  func(*Config)
	}{
		{"cannot be read", broken(func(s *Snapshot) { s.Progress = s.Progress[:20] }), nil},
		{"version 7", edit(`"version":1`, `"version":7`), nil},
		{`a "best" snapshot`, edit(`"kind":"last"`, `"kind":"best"`), nil},
		{"does not fit together", edit(`"batch":1,"update"`, `"batch":9,"update"`), nil},
		{"lacks conv.bias", broken(func(s *Snapshot) { s.Tensors = append(s.Tensors[:1:1], s.Tensors[2:]...) }), nil},
		{"fc.bias is 3 (8 bytes)", broken(func(s *Snapshot) { s.Tensors[8].Data = s.Tensors[8].Data[:8] }), nil},
		{"a tensor spare", broken(func(s *Snapshot) { s.Tensors = append(s.Tensors, SnapTensor{Name: "spare"}) }), nil},
		{"seed was 11 and is 12", good, func(c *Config) { c.Seed = 12 }},
		{"batch was 6 and is 5", good, func(c *Config) { c.Batch = 5 }},
		{"lr was 0.01 and is 1 now", good, func(c *Config) { c.Optimizer.LR = 1 }},
		{`optimizer was "adamw" and is "adam" now`, good, func(c *Config) { c.Optimizer.Kind = Adam }},
		{"betas was [0.9,0.999] and is [0,0], eps was 1e-8 and is 0 now", good, func(c *Config) { c.Optimizer.Betas, c.Optimizer.Eps = &[2]float64{}, new(0.0) }},
		{"schedule gamma was 0.1 and is 0, schedule kind", good, func(c *Config) { c.Schedule = ScheduleConfig{Kind: StepDown, Gamma: new(0.0)} }},
		{"training transform HFlip was 0.5 and is 0 now", good, func(c *Config) { c.Train.HFlip = 0 }},
		{"ema was 0 and is 0.5", good, func(c *Config) { c.EMA = 0.5 }},
	} {
		cfg := base()
		if c.set != nil {
			c.set(&cfg)
		}
		tr := start(t, ds, cfg, 99, Hooks{})
		before := floats(t, tr.store, tr.vars[0])
		err := tr.Resume(c.s)
		if err == nil || !strings.Contains(err.Error(), c.want) || strings.Contains(err.Error(), "\n") {
			t.Errorf("want %q, got: %v", c.want, err)
		}
		if fmt.Sprint(before) != fmt.Sprint(floats(t, tr.store, tr.vars[0])) {
			t.Errorf("%s: weights were changed", c.want)
		}
	}
	if err := start(t, ds, base(), 1, Hooks{}).Resume(good); err != nil {
		t.Error(err)
	}
}

// A cancelling net cancels the run when it is built for batches of 2 images:
// in the middle of a step, where batches are accumulated.
type cancellingNet struct {
	*convNet
	cancel func()
}

func (n cancellingNet) Build(b *engine.Builder, x *engine.Value, train bool) *engine.Outputs {
	if train && x.Shape[0] == 2 {
		n.cancel()
	}
	return n.convNet.Build(b, x, train)
}

func TestAStepIsFinished(t *testing.T) {
	ds := noisyData(t)
	c := base()
	c.Accumulate = 4
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	net, store := cancellingNet{newConvNet(0.3), cancel}, newStore(t)
	fill(t, store, net.vars, 1)
	var stopped, rest, whole recorder
	_, err := newTrainer(t, net, store, ds, c, Hooks{Save: stopped.save}).Run(ctx)
	if !errors.Is(err, context.Canceled) || !strings.Contains(err.Error(), "after step 1 of 1") {
		t.Fatal(err)
	}
	tr := start(t, ds, c, 99, Hooks{Save: rest.save})
	if err := tr.Resume(stopped.final()); err != nil {
		t.Fatal(err)
	}
	for _, run := range []*Trainer{tr, start(t, ds, c, 1, Hooks{Save: whole.save})} {
		if _, err := run.Run(context.Background()); err != nil {
			t.Fatal(err)
		}
	}
	same(t, "canceled within a step", rest.final(), whole.final())
}
