package shrink

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/potstill/potstill/distill"
	"github.com/potstill/potstill/distill/budget"
	"github.com/potstill/potstill/distill/compress"
	"github.com/potstill/potstill/engine/cpu"
	"github.com/potstill/potstill/engine/data"
	"github.com/potstill/potstill/engine/train"
	"github.com/potstill/potstill/layers"
	"github.com/potstill/potstill/layers/checkpoint"
	"github.com/potstill/potstill/layers/checkpoint/checkpointtest"
)

// environment has a few of the built-in pictures, the CPU, and a folder of its own.
func environment(t *testing.T) compress.Env {
	t.Helper()
	ds, err := data.Open(context.Background(), "builtin:fashion", data.Options{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = ds.Close() })
	few := *ds
	few.Train, few.Val = ds.Train.Subset(64), ds.Val.Subset(48)
	b, err := cpu.New(cpu.Options{Threads: 1})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = b.Close() })
	return compress.Env{Backend: b, Data: &few, Dir: t.TempDir()}
}

// start is a small ResNet with a block that can go.
func start(t *testing.T) *checkpoint.Checkpoint {
	t.Helper()
	m, s := checkpointtest.Draw(t, layers.Arch{Family: "mlperf_resnet8", Classes: 10, Base: 4}, 1)
	return &checkpoint.Checkpoint{Net: m.Net(), State: s, Preprocess: checkpoint.Preprocess{Size: 28}}
}

func options(limits budget.Limits) Options {
	still := data.Transform{Size: 28}
	return Options{
		Under: limits, Bits: []int{8, 4}, Rounds: 2, Images: 16, Tune: 48, Fall: 0.9, QAT: 1, Nearest: true, KD: distill.Settings{T: 4, Alpha: 0.5},
		Train: train.Config{Epochs: 1, Batch: 32, Shuffle: true, Train: still, Eval: still, Optimizer: train.OptimizerConfig{Kind: train.SGD, LR: 0.01}},
	}
}

// tight are limits below what the net costs with 8 bits.
func tight(t *testing.T, env compress.Env, c *checkpoint.Checkpoint) budget.Limits {
	t.Helper()
	w, err := withMost(c, []int{8}, nil).written()
	if err != nil {
		t.Fatal(err)
	}
	cost, err := (&budget.Meter{Backend: env.Backend}).Cost(context.Background(), w)
	if err != nil {
		t.Fatal(err)
	}
	return budget.Limits{Bytes: cost.Bytes * 8 / 10, MACs: cost.MACs * 7 / 10}
}

// TestSearch: the file meets its budget; a search that was stopped here and there, and
// the recipe alone, end with the same bytes.
func TestSearch(t *testing.T) {
	env, c := environment(t), start(t)
	limits := tight(t, env, c)
	whole, err := Run(context.Background(), env, c, nil, options(limits))
	if err != nil {
		t.Fatal(err)
	}
	if n := whole.Best.Bytes; n > limits.Bytes || whole.Cost.Bytes != n || whole.Cost.MACs > limits.MACs {
		t.Errorf("the file has %d bytes and costs %+v", n, whole.Cost)
	}
	accepted, kinds := 0, make(map[string]bool)
	for _, trial := range whole.Journal.Trials {
		for _, m := range trial.Moves {
			kinds[m.Kind] = true
		}
		if trial.Accepted {
			accepted++
		}
	}
	if accepted < 3 || !kinds[Width] || !kinds[Bits] || !kinds[Block] {
		t.Errorf("%d trials were accepted, of moves %v", accepted, kinds)
	}
	want, err := os.ReadFile(whole.Path)
	if err != nil {
		t.Fatal(err)
	}
	again := func(what string, r *Outcome, err error) {
		t.Helper()
		if err != nil {
			t.Fatalf("%s: %v", what, err)
		}
		if got, err := os.ReadFile(r.Path); err != nil || !bytes.Equal(got, want) {
			t.Errorf("%s, the search has come to another file (%v)", what, err)
		}
	}
	env.Dir = t.TempDir()
	stops := 0
	for ; ; stops++ {
		ctx, cancel := context.WithCancel(context.Background())
		n := &counting{stop: cancel, left: 3 * (stops + 1)}
		o := options(limits)
		o.Progress = func(string, int, int, string) { n.count() }
		env.Log = slog.New(n)
		r, err := Run(ctx, env, c, nil, o)
		cancel()
		if stop := new(InterruptedError); errors.As(err, &stop) && stops < 60 {
			continue
		}
		again(fmt.Sprintf("stopped %d times", stops), r, err)
		break
	}
	if stops < 3 {
		t.Errorf("the search was stopped %d times only", stops)
	}
	env.Dir, env.Log = t.TempDir(), nil
	recipe, err := ReadRecipe(whole.Recipe)
	if err != nil {
		t.Fatal(err)
	}
	r, err := Repeat(context.Background(), env, c, nil, recipe, Options{})
	again("repeated", r, err)
	if _, err := Repeat(context.Background(), env, c, []*checkpoint.Checkpoint{c, c}, recipe, Options{}); err == nil {
		t.Error("a recipe is repeated under other teachers")
	}
}

// counting stops a search after so many lines of its log and steps of its trainings.
type counting struct {
	stop func()
	left int
}

func (h *counting) Enabled(context.Context, slog.Level) bool { return true }
func (h *counting) WithAttrs([]slog.Attr) slog.Handler       { return h }
func (h *counting) WithGroup(string) slog.Handler            { return h }
func (h *counting) Handle(context.Context, slog.Record) error {
	h.count()
	return nil
}

func (h *counting) count() {
	if h.left--; h.left == 0 {
		h.stop()
	}
}

// TestNearest: under a budget that cannot be met, the nearest net is trained and written,
// with an error; a search that was stopped comes to the same.
func TestNearest(t *testing.T) {
	env, c := environment(t), start(t)
	o := options(budget.Limits{Bytes: 3000})
	o.Rounds, o.QAT = 1, 0
	whole, err := Run(context.Background(), env, c, nil, o)
	if !errors.Is(err, ErrOver) || whole == nil || !strings.Contains(err.Error(), ResultFile) {
		t.Fatalf("under 3,000 bytes: %v", err)
	}
	last := whole.Journal.Trials[len(whole.Journal.Trials)-1]
	if n := whole.Best.Bytes; n <= 3000 || n > 9000 || last.Cost.Bytes < n || !whole.Journal.Done {
		t.Errorf("the file has %d bytes, the last trial %+v", n, last)
	}
	want, err := os.ReadFile(whole.Path)
	if err != nil {
		t.Fatal(err)
	}
	env.Dir = t.TempDir()
	ctx, cancel := context.WithCancel(context.Background())
	n := &counting{stop: cancel, left: 12}
	env.Log = slog.New(n)
	if _, err := Run(ctx, env, c, nil, o); !errors.As(err, new(*InterruptedError)) {
		t.Fatalf("not stopped: %v", err)
	}
	env.Log = nil
	r, err := Run(context.Background(), env, c, nil, o)
	if !errors.Is(err, ErrOver) {
		t.Fatalf("resumed: %v", err)
	}
	if got, err := os.ReadFile(r.Path); err != nil || !bytes.Equal(got, want) {
		t.Errorf("resumed, the search has come to another file (%v)", err)
	}
}

// TestRefusals: a net in bits, another search's folder, settings that make no sense.
func TestRefusals(t *testing.T) {
	env, c := environment(t), start(t)
	fails := func(want string, c *checkpoint.Checkpoint, o Options) {
		t.Helper()
		if _, err := Run(context.Background(), env, c, nil, o); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("want %q, got %v", want, err)
		}
	}
	if err := (&Journal{Identity: "another"}).save(env.Dir); err != nil {
		t.Fatal(err)
	}
	fails("other settings", c, options(budget.Limits{Bytes: 16000}))
	fails("budget", c, options(budget.Limits{}))
	mixed := options(budget.Limits{Bytes: 16000})
	mixed.Bits = []int{4, 8}
	fails("the most first", c, mixed)
	env.Dir = filepath.Join(t.TempDir(), "x")
	w, err := withMost(c, []int{8}, nil).written()
	if err != nil {
		t.Fatal(err)
	}
	fails("quantized already", w, options(budget.Limits{Bytes: 16000}))
}

// TestTime: when the time is over the budget is met in one round, with one proposal.
func TestTime(t *testing.T) {
	env, c := environment(t), start(t)
	o := options(tight(t, env, c))
	o.Rounds, o.Time, o.QAT = 3, 1, 0
	r, err := Run(context.Background(), env, c, nil, o)
	if err != nil {
		t.Fatal(err)
	}
	if j := r.Journal; j.Rounds != 1 || len(j.Trials) != 2 || j.Trials[1].Name != "together" || j.Trials[1].Target != 1 {
		t.Errorf("%d rounds, with the trials %+v", j.Rounds, j.Trials)
	}
}

// TestTimed: sums by the table are held to the time of the last net's whole program, and
// of two nets of one accuracy the cheaper one is better.
func TestTimed(t *testing.T) {
	l := budget.Limits{MS: 4, Batch: 1}
	s := &search{o: Options{Under: l}, journal: new(Journal)}
	if got := s.limits(1).MS; math.Abs(got-4*margin) > 1e-12 {
		t.Errorf("before anything is timed, the limit is %v", got)
	}
	a := Trial{Accepted: true, Accuracy: 0.5, TableMS: 4, Cost: budget.Cost{MS: 5}}
	s.journal.Trials = []Trial{a, {Accuracy: 0.9}}
	if got := s.limits(1.5).MS; math.Abs(got-6*margin*4/5) > 1e-12 {
		t.Errorf("the limit is %v", got)
	}
	b := a
	b.Cost.MS = 4.5
	if !better(l, b, a) || better(l, a, b) || better(l, a, a) {
		t.Error("of equal nets the cheaper is not better")
	}
	if a.Accuracy = 0.6; !better(l, a, b) {
		t.Error("the more accurate net is not better")
	}
}
