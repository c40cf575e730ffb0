package train

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"math"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/potstill/potstill/engine"
	"github.com/potstill/potstill/engine/data"
)

// together runs a trainer for each of n ranks, as setup makes them, and returns what
// has come of each.
func together(t *testing.T, n int, setup func(rank int, p engine.Peers) (*Trainer, context.Context)) (results []*Result, errs []error) {
	t.Helper()
	peers := engine.LocalPeers(n)
	results, errs = make([]*Result, n), make([]error, n)
	var all sync.WaitGroup
	for r, p := range peers {
		tr, ctx := setup(r, p)
		all.Go(func() {
			if results[r], errs[r] = tr.Run(ctx); errs[r] != nil {
				p.Leave(errs[r].Error())
			}
		})
	}
	all.Wait()
	return results, errs
}

// ranked runs a config on n ranks, and returns what rank 0 has saved.
func ranked(t *testing.T, ds *data.Dataset, c Config, n int, seed uint64, from *Snapshot, ctx context.Context, step func(StepInfo)) (*recorder, []*Result, []error) {
	t.Helper()
	recorders := make([]recorder, n)
	results, errs := together(t, n, func(r int, p engine.Peers) (*Trainer, context.Context) {
		c := c
		c.Peers = p
		h := Hooks{Save: recorders[r].save}
		if r == 0 {
			h.Step = step
		}
		tr := start(t, ds, c, seed, h)
		if from != nil {
			if err := tr.Resume(from); err != nil {
				t.Fatal(err)
			}
		}
		if r == n-1 { // one of them alone is told to stop
			return tr, ctx
		}
		return tr, context.Background()
	})
	for r := 1; r < n; r++ {
		if recorders[r].last != nil {
			t.Errorf("rank %d has saved a run", r)
		}
	}
	return &recorders[0], results, errs
}

// TestRanksAreAccumulation holds n ranks to one process that accumulates n batches: every
// byte of every snapshot, and every figure but times. 20 images make 4 batches of 6, of
// which 3 ranks leave one rank two without one in the last step.
func TestRanksAreAccumulation(t *testing.T) {
	ds := noisyData(t)
	configs := maps.Clone(resumeConfigs)
	configs["clip"] = func(c *Config) { c.ClipNorm, c.EMA, c.LabelSmoothing = 0.5, 0.9, 0.1 }
	configs["small batches"] = func(c *Config) { c.Batch = 3 }
	configs["drop last"] = func(c *Config) { c.DropLast = true }
	for name, set := range configs {
		for _, n := range []int{2, 3, 4} {
			t.Run(fmt.Sprintf("%s/%d ranks", name, n), func(t *testing.T) {
				onCPU(t, 1) // the reference rounds elsewhere
				c := base()
				set(&c)
				if c.Accumulate = 0; c.DropLast && n > 3 {
					t.Skip("there are 3 batches")
				}
				got, results, errs := ranked(t, ds, c, n, 1, nil, context.Background(), nil)
				if err := errors.Join(errs...); err != nil {
					t.Fatal(err)
				}
				one := c
				one.Accumulate = n
				if c.Optimizer.Kind == Stale {
					t.Skip("without gradients a step of several batches is not one step of accumulation")
				}
				var want recorder
				if _, err := start(t, ds, one, 1, Hooks{Save: want.save}).Run(context.Background()); err != nil {
					t.Fatal(err)
				}
				if len(want.last) != len(got.last) || len(want.best) != len(got.best) {
					t.Fatalf("%d and %d snapshots, want %d and %d", len(got.last), len(got.best), len(want.last), len(want.best))
				}
				for i := range want.last {
					same(t, fmt.Sprintf("last %d", i), got.last[i], want.last[i])
				}
				for i := range want.best {
					same(t, fmt.Sprintf("best %d", i), got.best[i], want.best[i])
				}
				for r := range results {
					if results[r].Best.ValLoss != results[0].Best.ValLoss {
						t.Errorf("rank %d has a validation loss of %v, rank 0 of %v", r, results[r].Best.ValLoss, results[0].Best.ValLoss)
					}
				}
			})
		}
	}
}

// TestRanksResume stops a run of four ranks when one of them is told to, and resumes it with
// four ranks and in one process. Two ranks that accumulate add up in another order: they are
// refused.
func TestRanksResume(t *testing.T) {
	ds := noisyData(t)
	onCPU(t, 1)
	c := base()
	c.Batch, c.EMA = 2, 0.9
	four := c
	four.Accumulate = 1
	whole, _, errs := ranked(t, ds, four, 4, 1, nil, context.Background(), nil)
	if err := errors.Join(errs...); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	stopped, _, errs := ranked(t, ds, four, 4, 1, nil, ctx, func(s StepInfo) {
		if s.Update == 4 {
			cancel()
		}
	})
	for r, err := range errs {
		if !errors.Is(err, context.Canceled) {
			t.Errorf("rank %d, which was to stop with the others: %v", r, err)
		}
	}
	for _, n := range []int{4, 1} {
		now := c
		now.Accumulate = 4 / n
		rest, _, errs := ranked(t, ds, now, n, 9, stopped.final(), context.Background(), nil)
		if err := errors.Join(errs...); err != nil {
			t.Fatal(err)
		}
		same(t, fmt.Sprintf("resumed by %d", n), rest.final(), whole.final())
	}
	two := c
	two.Accumulate, two.Peers = 2, engine.LocalPeers(2)[0]
	err := start(t, ds, two, 1, Hooks{}).Resume(stopped.final())
	if err == nil || !strings.Contains(err.Error(), "ranks") {
		t.Errorf("two ranks that add up before they exchange resume a run of four: %v", err)
	}
}

// TestRanksAccumulate checks that several batches a rank make the step that they would in
// one process, but for the order of the sums.
func TestRanksAccumulate(t *testing.T) {
	ds := noisyData(t)
	c := base()
	c.Batch, c.Accumulate = 2, 2
	c.Optimizer = OptimizerConfig{Kind: SGD, LR: 0.01}
	got, _, errs := ranked(t, ds, c, 2, 1, nil, context.Background(), nil)
	if err := errors.Join(errs...); err != nil {
		t.Fatal(err)
	}
	one := c
	one.Accumulate = 4
	var want recorder
	if _, err := start(t, ds, one, 1, Hooks{Save: want.save}).Run(context.Background()); err != nil {
		t.Fatal(err)
	}
	for i, w := range want.final().Tensors {
		if w.Spec.DType != engine.Float32 {
			continue
		}
		g := got.final().Tensors[i]
		for k := 0; k < len(w.Data); k += 4 {
			a, b := float32At(g.Data[k:]), float32At(w.Data[k:])
			if d := math.Abs(float64(a - b)); !(d <= 1e-5) { // also NaN
				t.Fatalf("%s: %v, and in one process %v", w.Name, a, b)
			}
		}
	}
}

// TestRanksDiffer checks that ranks with other settings, data or weights are refused, all of
// them with the first difference.
func TestRanksDiffer(t *testing.T) {
	ds, other := noisyData(t), noisyDataOf(t, 21)
	for name, x := range map[string]struct {
		set  func(c *Config)
		data *data.Dataset
		seed uint64
		want string
	}{
		"batch":   {func(c *Config) { c.Batch = 5 }, ds, 1, "rank 1 differs from rank 0: batch is 5 there and 6 here"},
		"rate":    {func(c *Config) { c.Optimizer.LR = 0.5 }, ds, 1, "lr is 0.5 there and 0.01 here"},
		"data":    {func(*Config) {}, other, 1, "data is "},
		"weights": {func(*Config) {}, ds, 2, "the content of bn.bias"},
		"fact":    {func(c *Config) { c.Facts = map[string]string{"teacher": "b"} }, ds, 1, "teacher is b there and not set here"},
	} {
		t.Run(name, func(t *testing.T) {
			_, errs := together(t, 2, func(r int, p engine.Peers) (*Trainer, context.Context) {
				c := base()
				c.Peers = p
				if r == 0 {
					return start(t, ds, c, 1, Hooks{}), context.Background()
				}
				x.set(&c)
				return start(t, x.data, c, x.seed, Hooks{}), context.Background()
			})
			for r, err := range errs {
				if err == nil || !strings.Contains(err.Error(), x.want) {
					t.Errorf("rank %d: %v, want %q", r, err, x.want)
				}
			}
		})
	}
}

// TestTooManyRanks checks that more ranks than batches are refused, and that a rank that
// leaves ends the run of the others with its number.
func TestTooManyRanks(t *testing.T) {
	ds := noisyData(t)
	c := base()
	c.Peers = engine.LocalPeers(5)[0]
	net, store := newConvNet(0), newStore(t)
	if _, err := New(net, store, ds, c, Hooks{}); err == nil || !strings.Contains(err.Error(), "start at most 4") {
		t.Errorf("5 ranks, 4 batches: %v", err)
	}
	c = base()
	peers := engine.LocalPeers(2)
	c.Peers = peers[0]
	peers[1].Leave("it was killed")
	_, err := start(t, ds, c, 1, Hooks{}).Run(context.Background())
	var gone *engine.PeerError
	if !errors.As(err, &gone) || gone.Rank != 1 {
		t.Errorf("the other rank has left: %v", err)
	}
}

// TestGoneRankInAnError checks that a run that ends because a rank is gone says which, and not that
// this rank's device has failed.
func TestGoneRankInAnError(t *testing.T) {
	gone := fmt.Errorf("gpu: %w", &engine.PeerError{Rank: 1, Why: "nothing has been heard of it for 8 s"})
	err := &DeviceError{Device: "gpu", Epoch: 2, Step: 3, Steps: 9, Checkpoint: "last.safetensors", Err: gone}
	want := "rank 1 failed in epoch 2 after step 3 of 9: rank 1 is gone: nothing has been heard of it for 8 s; " +
		"start the program again and resume from last.safetensors, the last good checkpoint"
	if err.Error() != want {
		t.Errorf("%q, want %q", err, want)
	}
}

// TestEpochIsPartitioned checks that the parts of an epoch's batches are all of them,
// each once, whatever the number of ranks and wherever the epoch is begun.
func TestEpochIsPartitioned(t *testing.T) {
	ds := noisyData(t)
	for _, ranks := range []int{1, 2, 3, 4} {
		for first := range 4 {
			var seen []int
			for part := range ranks {
				l, err := data.NewLoader(ds.Train, len(ds.Classes), data.LoaderOptions{Batch: 6, Shuffle: true, Seed: 3, Part: part, Parts: ranks,
					Augment: data.Transform{Size: 6}})
				if err != nil {
					t.Fatal(err)
				}
				e := l.Epoch(context.Background(), 1, first)
				for {
					b, err := e.Next()
					if err != nil {
						break
					}
					seen = append(seen, b.Index...)
				}
				e.Close()
			}
			slices.Sort(seen)
			if want := 20 - 6*first; len(seen) != want || len(slices.Compact(seen)) != want {
				t.Errorf("%d ranks from batch %d on: %v", ranks, first, seen)
			}
		}
	}
}
