package train

import (
	"bytes"
	"context"
	"errors"
	"log/slog"
	"math"
	"os"
	"reflect"
	"strings"
	"testing"

	"github.com/potstill/potstill/engine"
	"github.com/potstill/potstill/engine/data"
)

func TestTrainingLearns(t *testing.T) {
	c := Config{Epochs: 12, Batch: 5, Seed: 3, Shuffle: true, Optimizer: OptimizerConfig{LR: 0.02}}
	var epochs []EpochInfo
	h := Hooks{Epoch: func(e EpochInfo) { epochs = append(epochs, e) }}
	r, err := start(t, noisyData(t), c, 1, h).Run(context.Background())
	if err != nil {
		t.Fatal(err)
	}
	if r.Best.ValAccuracy < 0.99 || r.Last.TrainLoss > r.History[0].TrainLoss/2 {
		t.Errorf("it does not learn: %+v", r.Last)
	}
	if len(epochs) != 12 || epochs[11].Step != 48 || epochs[11].Confusion.Accuracy() != epochs[11].ValAccuracy {
		t.Errorf("%d epochs, last: %+v", len(epochs), epochs[len(epochs)-1])
	}
	if r.Last.ImagesPerSecond <= 0 || r.Last.Seconds <= 0 || r.Stopped {
		t.Errorf("last: %+v", r.Last)
	}
}

func TestWorkersDoNotMatter(t *testing.T) {
	ds := noisyData(t)
	var ends []*Snapshot
	for _, workers := range []int{1, 5} {
		c := base()
		c.Workers = workers
		var r recorder
		if _, err := start(t, ds, c, 1, Hooks{Save: r.save}).Run(context.Background()); err != nil {
			t.Fatal(err)
		}
		ends = append(ends, r.final())
	}
	same(t, "1 and 5 workers", ends[0], ends[1])
}

func TestStaleMovesStatisticsOnly(t *testing.T) {
	c := base()
	c.Optimizer.Kind = Stale
	tr := start(t, noisyData(t), c, 1, Hooks{})
	before := make([][]float32, len(tr.vars))
	for i, v := range tr.vars {
		if v.DType == engine.Float32 {
			before[i] = floats(t, tr.store, v)
		}
	}
	if _, err := tr.Run(context.Background()); err != nil {
		t.Fatal(err)
	}
	for i, v := range tr.vars {
		if v.DType != engine.Float32 {
			continue
		}
		moved := false
		for j, x := range floats(t, tr.store, v) {
			moved = moved || x != before[i][j]
		}
		if moved == v.Trainable {
			t.Errorf("%s: moved is %v", v.Name, moved)
		}
	}
}

func TestBatchesAreCounted(t *testing.T) {
	c := base()
	c.Accumulate = 3
	tr := start(t, noisyData(t), c, 1, Hooks{})
	n := []int64{100}
	if err := tr.store.Set(tr.vars[6], engine.Bytes(n)); err != nil {
		t.Fatal(err)
	}
	if _, err := tr.Run(context.Background()); err != nil {
		t.Fatal(err)
	}
	if err := tr.store.Get(tr.vars[6], engine.Bytes(n)); err != nil || n[0] != 112 { // 3 epochs of 4 batches
		t.Errorf("num_batches_tracked is %d: %v", n[0], err)
	}
}

// The averages follow e ← d·e + (1-d)·p by hand, and are what is evaluated.
func TestAveragesAreEvaluated(t *testing.T) {
	ds := noisyData(t)
	c := base()
	c.EMA, c.Epochs = 0.15, 1
	var rec recorder
	var tr *Trainer
	var want []float64
	average := func(p []float32, d float64) {
		if want == nil {
			want = make([]float64, len(p))
			d = 0
		}
		for i, x := range p {
			want[i] = d*want[i] + (1-d)*float64(x)
		}
	}
	tr = start(t, ds, c, 1, Hooks{Save: rec.save, Step: func(i StepInfo) {
		u := float64(i.Update - 1)
		average(floats(t, tr.store, tr.vars[4]), min(0.15, (1+u)/(10+u))) // the running mean
	}})
	average(floats(t, tr.store, tr.vars[4]), 0)
	if _, err := tr.Run(context.Background()); err != nil {
		t.Fatal(err)
	}
	best, store := rec.best[0], newStore(t)
	if err := best.Apply(store); err != nil {
		t.Fatal(err)
	}
	for i, x := range floats(t, store, tr.vars[4]) {
		if math.Abs(float64(x)-want[i]) > 1e-6 {
			t.Errorf("average %d is %v, by hand %v", i, x, want[i])
		}
	}
	ev, err := NewEvaluator(tr.net, store, 3, EvalOptions{Batch: 4, Transform: c.Eval})
	if err != nil {
		t.Fatal(err)
	}
	defer ev.Close()
	r, err := ev.Run(context.Background(), ds.Val, nil)
	if err != nil || math.Abs(r.Loss-tr.ledger.history[0].ValLoss) > 1e-6 {
		t.Errorf("loss of the best snapshot: %+v (%v), in the run: %+v", r, err, tr.ledger.history[0])
	}
	if floats(t, store, tr.vars[0])[0] == floats(t, tr.store, tr.vars[0])[0] {
		t.Error("the averages are the weights")
	}
}

func TestPatience(t *testing.T) {
	c := base()
	c.Optimizer.LR, c.Optimizer.WeightDecay, c.Epochs, c.Patience = 1e-30, 0, 50, 3
	c.Eval = data.Transform{Mean: []float32{0, 0, 0}, Std: []float32{1, 1, 1}}
	net, store := newLinearNet(108, 3), newStore(t) // nothing moves, and there is no BatchNorm
	fill(t, store, net.Variables(), 5)
	r, err := newTrainer(t, net, store, noisyData(t), c, Hooks{}).Run(context.Background())
	if err != nil || !r.Stopped || len(r.History) != 4 || r.Best.Epoch != 1 {
		t.Errorf("%+v: %v", r, err)
	}
}

func TestDivergence(t *testing.T) {
	ds := noisyData(t)
	c := base()
	c.Optimizer = OptimizerConfig{Kind: SGD, LR: 1e38}
	c.SaveEvery, c.ClipNorm = 1, 0
	for _, clip := range []float32{0, 1} {
		c.ClipNorm = clip
		if clip > 0 {
			c.Optimizer.LR = 1e39 // beyond float32
		}
		var r recorder
		_, err := start(t, ds, c, 1, Hooks{Save: r.save}).Run(context.Background())
		var d *DivergedError
		if !errors.As(err, &d) {
			t.Fatalf("clip %v: %v", clip, err)
		}
		d.Checkpoint = "out/last.safetensors"
		for _, want := range []string{"training diverged at", "epoch 1", "clipping", "out/last.safetensors"} {
			if !strings.Contains(d.Error(), want) {
				t.Errorf("%q lacks %q", d.Error(), want)
			}
		}
		for _, s := range r.last {
			if name := s.notFinite(); name != "" {
				t.Errorf("a snapshot with a bad %s was saved", name)
			}
		}
	}
}

// An eps of 0 divides by the zero of a weight without a gradient: no learning rate helps, and none is advised.
func TestDivergenceByEps(t *testing.T) {
	l := ledger{c: Config{Optimizer: OptimizerConfig{LR: 0.001, Eps: new(0.0)}.normalized()}}
	var err error
	if l.schedule, err = NewSchedule(ScheduleConfig{}, 0.001, 3, 2); err != nil {
		t.Fatal(err)
	}
	if s := l.diverged("loss", math.NaN(), 1, 2).Error(); !strings.Contains(s, "eps is 0") || strings.Contains(s, "learning rate") {
		t.Error(s)
	}
	l.c.Optimizer.Eps = new(1e-8)
	if s := l.diverged("loss", math.NaN(), 1, 2).Error(); strings.Contains(s, "eps") || !strings.Contains(s, "learning rate") {
		t.Error(s)
	}
}

// A poisoned picture makes the loss NaN in a known step.
func TestDivergenceNamesTheStep(t *testing.T) {
	c := Config{Epochs: 3, Batch: 6, Optimizer: OptimizerConfig{LR: 0.001}}
	var r recorder
	var tr *Trainer
	tr = start(t, noisyData(t), c, 1, Hooks{Save: r.save, Step: func(i StepInfo) {
		if i.Update == 6 { // the second of epoch 2
			bad := floats(t, tr.store, tr.vars[8])
			bad[1] = float32(math.NaN())
			if err := tr.store.Set(tr.vars[8], engine.Bytes(bad)); err != nil {
				t.Error(err)
			}
		}
	}})
	_, err := tr.Run(context.Background())
	var d *DivergedError
	if !errors.As(err, &d) || d.Epoch != 2 || d.Step != 3 || !math.IsNaN(d.Loss) {
		t.Fatalf("%+v", err)
	}
	if len(r.last) != 1 {
		t.Errorf("%d snapshots", len(r.last))
	}
}

// distill is an objective with a frozen net in the same graph.
type distill struct {
	Stateless
	teacher *convNet
	train   bool
}

func (o distill) Frozen() []*engine.Variable { return o.teacher.vars }

func (o distill) Build(b *engine.Builder, in *Batch, out *engine.Outputs) []Term {
	soft := b.One(engine.KLDiv{T: 4}, out.Logits, o.teacher.Build(b, in.Views[0], o.train).Logits)
	hard := b.One(engine.CrossEntropy{}, out.Logits, in.Target)
	return []Term{{Name: "hard", Weight: 0.5, Value: hard}, {Name: "soft", Weight: 0.5, Value: soft}}
}

func TestASecondNetInTheLoss(t *testing.T) {
	ds := noisyData(t)
	teacher, student, store := newConvNet(0), newConvNet(0), newStore(t)
	fill(t, store, teacher.vars, 1)
	c := Config{Epochs: 10, Batch: 5, Seed: 3, Optimizer: OptimizerConfig{LR: 0.02}}
	if _, err := newTrainer(t, teacher, store, ds, c, Hooks{}).Run(context.Background()); err != nil {
		t.Fatal(err)
	}
	var before [][]float32
	for _, v := range teacher.vars[:6] {
		before = append(before, floats(t, store, v))
	}
	fill(t, store, student.vars, 2)
	c.Objective = distill{teacher: teacher}
	r, err := newTrainer(t, student, store, ds, c, Hooks{}).Run(context.Background())
	if err != nil {
		t.Fatal(err)
	}
	if r.Last.TrainLoss > r.History[0].TrainLoss/2 {
		t.Errorf("the student does not learn: %+v", r.Last)
	}
	for i, v := range teacher.vars[:6] {
		for j, x := range floats(t, store, v) {
			if x != before[i][j] {
				t.Fatalf("the teacher's %s moved", v.Name)
			}
		}
	}
	c.Objective = distill{teacher: teacher, train: true}
	_, err = newTrainer(t, student, store, ds, c, Hooks{}).Run(context.Background())
	if err == nil || !strings.Contains(err.Error(), "frozen") {
		t.Errorf("a teacher in training mode: %v", err)
	}
}

// TestBatchLargerThanData: the data are one batch, and a line says so.
func TestBatchLargerThanData(t *testing.T) {
	ds := noisyData(t)
	var histories [2][]EpochInfo
	for i, batch := range []int{20, 21} {
		c := base()
		c.Batch, c.Epochs = batch, 2
		var log bytes.Buffer
		store := newStore(t)
		net := newConvNet(0)
		fill(t, store, net.Variables(), 3)
		tr := newTrainer(t, net, store, ds, c, Hooks{Logger: slog.New(slog.NewTextHandler(&log, nil))})
		r, err := tr.Run(context.Background())
		if err != nil {
			t.Fatal(err)
		}
		for k := range r.History {
			r.History[k].ImagesPerSecond, r.History[k].Seconds = 0, 0
		}
		histories[i] = r.History
		if n := strings.Count(log.String(), "20 training images, fewer than a batch of 21"); n != i {
			t.Errorf("batch %d: %d lines in %s", batch, n, log.String())
		}
	}
	if !reflect.DeepEqual(histories[0], histories[1]) || histories[0][1].Step != 2 {
		t.Errorf("batches of 20 and 21 of 20 images: %+v, %+v", histories[0], histories[1])
	}
}

func TestNewRefuses(t *testing.T) {
	ds := noisyData(t)
	for want, set := range map[string]func(*Config){
		"epochs must be":     func(c *Config) { c.Epochs = 0 },
		"batch must be":      func(c *Config) { c.Batch = 0 },
		"unknown optimizer":  func(c *Config) { c.Optimizer.Kind = "lion" },
		"unknown schedule":   func(c *Config) { c.Schedule.Kind = "zigzag" },
		"learning rate":      func(c *Config) { c.Optimizer.LR = math.NaN() },
		"of 0 moves nothing": func(c *Config) { c.Optimizer.LR = 0 },
		"nesterov needs":     func(c *Config) { c.Optimizer.Kind, c.Optimizer.Nesterov = SGD, true },
		"ema decay":          func(c *Config) { c.EMA = 1 },
		"clip norm":          func(c *Config) { c.ClipNorm = float32(math.Inf(1)) },
		"label smoothing":    func(c *Config) { c.LabelSmoothing = 2 },
		"betas":              func(c *Config) { c.Optimizer.Betas = &[2]float64{1, 0.9} },
		"eps":                func(c *Config) { c.Optimizer.Eps = new(-1e-8) },
		"momentum":           func(c *Config) { c.Optimizer.Kind, c.Optimizer.Momentum = SGD, 1 },
		"gamma":              func(c *Config) { c.Schedule.Kind, c.Schedule.Gamma = StepDown, new(-0.1) },
		"above it":           func(c *Config) { c.Schedule.Kind, c.Schedule.MinLR = Cosine, 2*c.Optimizer.LR },
		"pct start":          func(c *Config) { c.Schedule.PctStart = 2 },
	} {
		c := base()
		set(&c)
		_, err := New(newConvNet(0), newStore(t), ds, c, Hooks{})
		if err == nil || !strings.Contains(err.Error(), want) || strings.Contains(err.Error(), "\n") {
			t.Errorf("want %q, got: %v", want, err)
		}
	}
	twice := newLinearNet(108, 3)
	twice.b.Name = twice.w.Name
	if _, err := New(twice, newStore(t), ds, base(), Hooks{}); err == nil || !strings.Contains(err.Error(), `"fc.weight"`) {
		t.Errorf("two variables of one name: %v", err)
	}
	tr := newTrainer(t, newLinearNet(108, 4), newStore(t), ds, base(), Hooks{})
	if _, err := tr.Run(context.Background()); err == nil || !strings.Contains(err.Error(), "the data have 3 classes") {
		t.Errorf("a net of other classes than the data: %v", err)
	}
	if _, err := tr.Run(context.Background()); err == nil || !strings.Contains(err.Error(), "has run already") {
		t.Errorf("a second run: %v", err)
	}
}

func TestAFailingSaveEndsTheRun(t *testing.T) {
	h := Hooks{Save: func(kind string, _ *Snapshot) error {
		return &os.PathError{Op: "write", Path: kind, Err: os.ErrPermission}
	}}
	_, err := start(t, noisyData(t), base(), 1, h).Run(context.Background())
	if !errors.Is(err, os.ErrPermission) || !strings.Contains(err.Error(), `saving the best snapshot`) {
		t.Error(err)
	}
}

// TestStepIsWhatTheTrainerRuns compares the plans of the trainer's programs with
// those of the same steps written elsewhere, as explain and bench do.
func TestStepIsWhatTheTrainerRuns(t *testing.T) {
	ds := noisyData(t)
	for name, set := range resumeConfigs {
		c := base()
		set(&c)
		tr := start(t, ds, c, 1, Hooks{})
		h, w, ch := tr.source.loader.Shape()
		k := stepKey{c.Batch, h, w, ch, tr.weight(c.Batch, c.Batch*max(c.Accumulate, 1)), 1}
		p, err := tr.program(k)
		if err != nil {
			t.Fatal(err)
		}
		store := newStore(t)
		net := newConvNet(tr.net.(*convNet).dropout)
		b := engine.NewBuilder(engine.NewGraph())
		images := []*engine.Value{b.Input("images", engine.F32(k.n, k.h, k.w, k.c))}
		step, err := NewStep(net, c).Build(b, images, len(ds.Classes), k.weight)
		if err != nil {
			t.Fatal(err)
		}
		prog, err := b.Graph().Compile(store.Backend(), engine.Options{Store: store, Outputs: step.Outputs()})
		if err != nil {
			t.Fatal(err)
		}
		var got, want strings.Builder
		if _, err := p.prog.Plan().WriteTo(&got); err != nil {
			t.Fatal(err)
		}
		if _, err := prog.Plan().WriteTo(&want); err != nil {
			t.Fatal(err)
		}
		if got.String() != want.String() {
			t.Errorf("%s: the trainer runs\n%s\nand Step writes\n%s", name, got.String(), want.String())
		}
		if err := prog.Close(); err != nil {
			t.Error(err)
		}
	}
}

// What the trainer adds to a program's run must not allocate.
func TestAStepAllocatesNothing(t *testing.T) {
	ds := noisyData(t)
	for name, set := range resumeConfigs {
		c := base()
		set(&c)
		c.Accumulate = max(min(c.Accumulate, 2), 1)
		c.Epochs, c.Batch, c.Workers = 1, 2, 1
		tr := start(t, ds, c, 1, Hooks{Step: func(StepInfo) {}})
		batches := tr.source.loader.Epoch(context.Background(), 0, 0)
		defer batches.Close()
		ctx := context.Background()
		if err := tr.group(ctx, batches); err != nil { // compiles
			t.Fatal(err)
		}
		run := func(p *program) {
			if err := p.prog.Run(ctx, p.In); err != nil {
				t.Fatal(err)
			}
		}
		programs := testing.AllocsPerRun(10, func() { // in turn, as in a step
			for _, p := range tr.programs.batches {
				for range c.Accumulate {
					run(p)
				}
			}
			if p := tr.programs.updates[false]; p != nil {
				run(p)
			}
		})
		all := testing.AllocsPerRun(1, func() {
			if err := tr.group(ctx, batches); err != nil {
				t.Fatal(err)
			}
		})
		if all > programs+2 {
			t.Errorf("%s: %v allocations a step, of which the programs' %v", name, all, programs)
		}
	}
}

// Every batch of a run has dropout masks of its own: with weights that stand
// still and the same images in every step, the loss still changes.
func TestDropoutMasksChange(t *testing.T) {
	c := Config{Epochs: 4, Batch: 20, Seed: 3, Optimizer: OptimizerConfig{Kind: Stale}}
	ds := noisyData(t)
	losses := func(seed uint64) map[float64]bool {
		seen := make(map[float64]bool)
		c.Seed = seed
		h := Hooks{Step: func(i StepInfo) { seen[i.Loss] = true }}
		if _, err := start(t, ds, c, 1, h).Run(context.Background()); err != nil {
			t.Fatal(err)
		}
		return seen
	}
	a, b := losses(3), losses(3|1<<40)
	if len(a) != 4 || len(b) != 4 {
		t.Errorf("losses %v, %v", a, b)
	}
	for l := range a {
		if b[l] {
			t.Errorf("two seeds, one loss: %v", l)
		}
	}
}
