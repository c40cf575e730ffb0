package train

import (
	"context"
	"errors"
	"fmt"
	"math"
	"strings"
	"testing"

	"github.com/potstill/potstill/engine"
	"github.com/potstill/potstill/engine/backendtest/late"
	"github.com/potstill/potstill/engine/ref"
)

// onLate runs the rest of a test on a device that works on its own.
func onLate(t *testing.T) {
	old := backend
	t.Cleanup(func() { backend = old })
	backend = func(testing.TB) engine.Backend { return late.Wrap(ref.New()) }
}

// A log holds what the hooks were called with, in their order.
type log []string

func (l *log) hooks(also Hooks) Hooks {
	return Hooks{
		Step: func(i StepInfo) {
			i.ImagesPerSecond = 0
			*l = append(*l, fmt.Sprintf("step %+v", i))
			if also.Step != nil {
				also.Step(i)
			}
		},
		Epoch: func(e EpochInfo) {
			e.Seconds, e.ImagesPerSecond = 0, 0
			*l = append(*l, fmt.Sprintf("epoch %+v", e))
		},
		Save: func(kind string, s *Snapshot) error {
			*l = append(*l, "save "+kind)
			return also.Save(kind, s)
		},
	}
}

// A run whose steps are launched before the ones before them are accounted for
// calls the same hooks in the same order with the same figures, and saves the
// same bytes, as one that waits for every step.
func TestLaunchingAheadChangesNothing(t *testing.T) {
	ds := noisyData(t)
	for name, set := range resumeConfigs {
		t.Run(name, func(t *testing.T) {
			c := base()
			set(&c)
			c.SaveEvery = 2
			run := func() (l log, r recorder) {
				tr := start(t, ds, c, 1, l.hooks(Hooks{Save: r.save}))
				if _, err := tr.Run(context.Background()); err != nil {
					t.Fatal(err)
				}
				return l, r
			}
			wantLog, want := run()
			onLate(t)
			gotLog, got := run()
			if fmt.Sprint(gotLog) != fmt.Sprint(wantLog) {
				t.Errorf("the hooks' calls differ:\n%s\n%s", strings.Join(gotLog, "\n"), strings.Join(wantLog, "\n"))
			}
			if len(got.last) != len(want.last) || len(got.best) != len(want.best) {
				t.Fatalf("%d and %d snapshots, not %d and %d", len(got.last), len(got.best), len(want.last), len(want.best))
			}
			for i := range want.last {
				same(t, fmt.Sprint("snapshot ", i), got.last[i], want.last[i])
			}
			for i := range want.best {
				same(t, fmt.Sprint("best snapshot ", i), got.best[i], want.best[i])
			}
		})
	}
}

// The device is at most one launch ahead, and has one to do while the host
// accounts for the one before.
func TestOneLaunchAhead(t *testing.T) {
	onLate(t)
	ahead := 0
	h := Hooks{}
	var tr *Trainer
	h.Step = func(i StepInfo) {
		if n := len(tr.flights.under); n != 1 && i.Step < i.Steps {
			t.Errorf("at the end of step %d, %d launches are under way", i.Step, n)
		}
		ahead = max(ahead, tr.flights.next.Batches-tr.ledger.pos.Batches)
	}
	tr = start(t, noisyData(t), base(), 1, h)
	if _, err := tr.Run(context.Background()); err != nil || ahead != 1 {
		t.Errorf("%d batches ahead: %v", ahead, err)
	}
}

// A run that is canceled in a step finishes what is under way, saves, and is
// resumed exactly.
func TestResumeIsExactAhead(t *testing.T) {
	ds := noisyData(t)
	for _, accumulate := range []int{1, 3} {
		c := base()
		c.EMA, c.Accumulate = 0.9, accumulate
		var whole recorder
		if _, err := start(t, ds, c, 1, Hooks{Save: whole.save}).Run(context.Background()); err != nil {
			t.Fatal(err)
		}
		onLate(t)
		for k := 1; k <= 6; k++ {
			ctx, cancel := context.WithCancel(context.Background())
			var l log
			var stopped, rest recorder
			last := 0
			h := l.hooks(Hooks{Save: stopped.save, Step: func(i StepInfo) {
				if last = i.Update; i.Update == k {
					cancel()
				}
			}})
			_, err := start(t, ds, c, 1, h).Run(ctx)
			if !errors.Is(err, context.Canceled) || last > k+1 || l[len(l)-1] != "save last" {
				t.Fatalf("canceled in step %d, ended after %d with %s: %v", k, last, l[len(l)-1], err)
			}
			tr := start(t, ds, c, 99, Hooks{Save: rest.save})
			if err := tr.Resume(stopped.final()); err != nil {
				t.Fatal(err)
			}
			if _, err := tr.Run(context.Background()); err != nil {
				t.Fatal(err)
			}
			same(t, fmt.Sprintf("canceled in step %d", k), rest.final(), whole.final())
		}
	}
}

// A loss that is NaN ends the run though the next step has been launched, and
// nothing is saved of either.
func TestDivergenceAhead(t *testing.T) {
	onLate(t)
	c := Config{Epochs: 3, Batch: 6, Optimizer: OptimizerConfig{LR: 0.001}, SaveEvery: 4}
	var r recorder
	steps := 0
	var tr *Trainer
	tr = start(t, noisyData(t), c, 1, Hooks{Save: r.save, Step: func(i StepInfo) {
		steps = i.Update
		if i.Update == 5 { // step 6 is under way: step 7 is the first that meets it
			bad := floats(t, tr.store, tr.vars[8])
			bad[1] = float32(math.NaN())
			if err := tr.store.Set(tr.vars[8], engine.Bytes(bad)); err != nil {
				t.Error(err)
			}
		}
	}})
	_, err := tr.Run(context.Background())
	var d *DivergedError
	if !errors.As(err, &d) || d.Epoch != 2 || d.Step != 3 || steps != 6 || len(r.last) != 1 {
		t.Fatalf("%d steps, %d snapshots: %+v", steps, len(r.last), err)
	}
	if len(tr.flights.under) != 0 {
		t.Error("a launch was left under way")
	}
}

// A device that fails ends the run with one line that says where it was, what is
// left of it and how to resume; nothing is saved any more.
func TestAFailingDevice(t *testing.T) {
	ds := noisyData(t)
	boom := errors.New("unspecified launch failure")
	for at, want := range map[int]string{
		3:  "ref failed in epoch 1 after step 1 of 4: unspecified launch failure; nothing had been saved: start the run again",
		5:  "ref failed in epoch 1 after step 3 of 4: unspecified launch failure; start the program again and resume from the \"last\" snapshot, which was taken after step 2 of epoch 1",
		10: "ref failed in epoch 2 after step 0 of 4: unspecified launch failure; start the program again and resume from the \"last\" snapshot, which was taken at the end of epoch 1",
	} {
		device := late.Wrap(ref.New())
		old := backend
		backend = func(testing.TB) engine.Backend { return device }
		runs := 0
		device.Fail = func() error {
			if runs++; runs >= at {
				return boom
			}
			return nil
		}
		c := base()
		c.SaveEvery = 2
		var r recorder
		saves := 0
		h := Hooks{Save: func(kind string, s *Snapshot) error {
			if saves++; runs >= at {
				t.Error("something was saved after the failure")
			}
			return r.save(kind, s)
		}}
		_, err := start(t, ds, c, 1, h).Run(context.Background())
		backend = old
		var d *DeviceError
		if !errors.As(err, &d) || !errors.Is(err, boom) || err.Error() != want {
			t.Errorf("failure at run %d, %d snapshots: %v", at, saves, err)
			continue
		}
		if d.Checkpoint = "out/last.safetensors"; !strings.Contains(d.Error(), "resume from out/last.safetensors, the last good checkpoint") {
			t.Error(d)
		}
	}
}

func TestEvaluationAhead(t *testing.T) {
	TestEvaluatorByHand(t)
	onLate(t)
	TestEvaluatorByHand(t)
	TestEvaluatorUsesRunningStatistics(t)
}

func TestTheLargestBatch(t *testing.T) {
	for _, c := range []struct{ most, room, base, each, want int }{
		{256, 4200, 100, 36, 113}, {256, 135, 100, 36, 0}, {256, 137, 100, 36, 1}, {512, 110_000, 100_000, 36, 277}, {2, 1000, 100, 901, 0},
		{100000, 5_000_000, 7, 1000, 4999}, {1, 0, 1, 1, 0},
	} {
		asked := 0
		got := LargestBatch(c.most, c.room, func(n int) (int, error) {
			asked++
			return c.base + n*c.each + n%7, nil // nearly a line
		})
		if got < c.want-c.want/50 || got > c.want || asked > probes+2 {
			t.Errorf("%+v: %d after %d questions", c, got, asked)
		}
	}
	failing := func(n int) (int, error) {
		if n > 40 {
			return 0, errors.New("too little memory to plan")
		}
		return n, nil
	}
	// Above one image there is a part that does not grow with the batch.
	stepped := func(n int) (int, error) { return 1_350_000 + min(n-1, 1)*163_000_000 + n*566_000, nil }
	if got := LargestBatch(600, 281_342_605, stepped); got < 180 || got > 206 {
		t.Errorf("%d of 206 fit", got)
	}
	if got := LargestBatch(1000, 30, failing); got < 25 || got > 30 {
		t.Errorf("where large batches cannot be planned: %d", got)
	}
}
