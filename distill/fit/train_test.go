package fit

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"math"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/potstill/potstill/distill"
	"github.com/potstill/potstill/distill/eval"
	"github.com/potstill/potstill/engine/train"
	"github.com/potstill/potstill/layers"
	"github.com/potstill/potstill/layers/checkpoint"
)

func TestTrainAndEvaluate(t *testing.T) {
	ds, dir := fashion(t), filepath.Join(t.TempDir(), "a", "b")
	j := small(ds, dir)
	var steps bytes.Buffer
	j.StepLog = &steps
	out, err := Run(context.Background(), backend(t), j)
	if err != nil {
		t.Fatal(err)
	}
	if out.BestPath != filepath.Join(dir, BestFile) || out.LastPath != filepath.Join(dir, LastFile) {
		t.Errorf("%s, %s", out.BestPath, out.LastPath)
	}
	info, err := os.Stat(out.BestPath)
	if err != nil || info.Size() != out.BytesBest {
		t.Errorf("%d bytes reported: %v, %v", out.BytesBest, info, err)
	}
	var seen int
	ev, err := eval.Evaluate(context.Background(), backend(t), out.Best, ds.Val, eval.Options{
		Batch: 16, Classes: ds.Classes, Each: func(int, []float32) error { seen++; return nil },
	})
	if err != nil {
		t.Fatal(err)
	}
	best := out.Result.Best
	if ev.Top1 != best.ValAccuracy || math.Abs(ev.Loss-best.ValLoss) > 1e-9 || seen != ds.Val.Len() ||
		out.Best.Metrics["val_accuracy"] != ev.Top1 || out.Best.Metrics["epoch"] != float64(best.Epoch) {
		t.Errorf("evaluated to %+v, trained to %+v, metrics %v, %d seen", ev, best, out.Best.Metrics, seen)
	}
	if e := out.Best.History; len(e) != 1 || e[0].Kind != "train" || e[0].Data != ds.Fingerprint {
		t.Errorf("history %+v", e)
	}
	if !slices.Equal(out.Best.Classes, ds.Classes) || out.Best.Preprocess.Size != 28 || len(out.Best.Extra) != 0 || out.Best.Progress != nil {
		t.Errorf("best: %v, %+v, %d extra tensors", out.Best.Classes, out.Best.Preprocess, len(out.Best.Extra))
	}
	lines := strings.Split(strings.TrimSpace(steps.String()), "\n")
	var last struct {
		Epoch, Step, Update int
		Loss, LR            float64
	}
	if err := json.Unmarshal([]byte(lines[len(lines)-1]), &last); err != nil || len(lines) != 12 ||
		last.Epoch != 3 || last.Step != 4 || last.Update != 12 || last.Loss <= 0 || last.LR != 1e-2 {
		t.Errorf("%d lines, the last %s (%v)", len(lines), lines[len(lines)-1], err)
	}
	if n := strings.Count(string(read(t, dir, CSVFile)), "\n"); n != 4 {
		t.Errorf("%s has %d lines, not a heading and 3 more", CSVFile, n)
	}
	if n := strings.Count(string(read(t, dir, MetricsFile)), "\n"); n != 3 {
		t.Errorf("%d lines of metrics", n)
	}
	if m, _ := filepath.Glob(filepath.Join(dir, "events.out.tfevents.*")); len(m) != 1 {
		t.Errorf("event files: %v", m)
	}
}

func TestResumeIsExact(t *testing.T) {
	ds := fashion(t)
	for name, job := range jobs {
		t.Run(name, func(t *testing.T) {
			whole := t.TempDir()
			if _, err := Run(context.Background(), backend(t), job(t, ds, whole)); err != nil {
				t.Fatal(err)
			}
			for _, k := range []int{2, 4, 7} { // within an epoch, at its end, within a later one
				dir := t.TempDir()
				ctx, cancel := context.WithCancel(context.Background())
				defer cancel()
				j := job(t, ds, dir)
				j.Step = func(i train.StepInfo) {
					if i.Update == k {
						cancel()
					}
				}
				_, err := Run(ctx, backend(t), j)
				var stopped *InterruptedError
				if !errors.As(err, &stopped) || !errors.Is(err, context.Canceled) {
					t.Fatal(err)
				}
				oneLine(t, err, filepath.Join(dir, LastFile), "--resume", "step")
				j.Step, j.Resume = nil, true
				if _, err := Run(context.Background(), backend(t), j); err != nil {
					t.Fatal(err)
				}
				sameRun(t, whole, dir)
				if m, _ := filepath.Glob(filepath.Join(dir, "events.out.tfevents.*")); len(m) != 1 {
					t.Errorf("event files: %v", m)
				}
			}
		})
	}
}

// A finished run that is resumed changes nothing; a longer one goes on.
func TestResumeOfAFinishedRun(t *testing.T) {
	ds, dir := fashion(t), t.TempDir()
	j := small(ds, dir)
	j.Config.Epochs = 1
	if _, err := Run(context.Background(), backend(t), j); err != nil {
		t.Fatal(err)
	}
	before := read(t, dir, LastFile)
	j.Resume = true
	if _, err := Run(context.Background(), backend(t), j); err != nil || !bytes.Equal(before, read(t, dir, LastFile)) {
		t.Errorf("changed, or %v", err)
	}
	j.Config.Epochs = 3
	if _, err := Run(context.Background(), backend(t), j); err != nil {
		t.Fatal(err)
	}
	whole := t.TempDir()
	if _, err := Run(context.Background(), backend(t), small(ds, whole)); err != nil {
		t.Fatal(err)
	}
	a, b := load(t, dir, BestFile), load(t, whole, BestFile)
	for i := range a.State {
		if !slices.Equal(a.State[i].Data, b.State[i].Data) {
			t.Errorf("%s differs", a.State[i].Name)
		}
	}
}

func TestResumeRefuses(t *testing.T) {
	ds, dir := fashion(t), t.TempDir()
	j := distilled(t, ds, dir)
	j.Config.Epochs = 1
	if _, err := Run(context.Background(), backend(t), j); err != nil {
		t.Fatal(err)
	}
	last := filepath.Join(dir, LastFile)
	for want, set := range map[string]func(*Job){
		"had a teacher and has none":     func(j *Job) { j.Teacher = nil },
		"sparsity was 0 and is 0.1 now":  func(j *Job) { j.Sparsity.Strength = 0.1 },
		"0.1 by groups now":              func(j *Job) { j.Sparsity = distill.Sparsity{Strength: 0.1, By: distill.SparseGroups} },
		"had another teacher":            func(j *Job) { j.Teacher = drawn(t, j.Teacher.Net.Arch(), 8) },
		"the distillation was":           func(j *Job) { j.KD = distill.Settings{T: 2, Alpha: 0.5} },
		"name the same model":            func(j *Job) { j.Net = net(layers.Arch{Family: "cnn-dwpw", Base: 8, Classes: 10}) },
		"seed was 7 and is 8":            func(j *Job) { j.Config.Seed = 8 },
		"start without --resume":         func(j *Job) { j.Dir = filepath.Join(dir, "none") },
		"there is no output folder":      func(j *Job) { j.Dir = "" },
		"without the state of a run":     func(j *Job) { j.Dir = copied(t, dir, BestFile, LastFile, nil) },
		"the best weights so far are lo": func(j *Job) { j.Dir = copied(t, dir, LastFile, LastFile, nil) },
		"damaged or cut short": func(j *Job) {
			j.Dir = copied(t, dir, LastFile, LastFile, func(b []byte) []byte { return b[:len(b)-9] })
		},
	} {
		k := j
		k.Resume = true
		set(&k)
		_, err := Run(context.Background(), backend(t), k)
		oneLine(t, err, want)
	}
	load(t, last)
}

// copied copies a file into a new folder.
func copied(t *testing.T, dir, from, to string, edit func([]byte) []byte) string {
	t.Helper()
	b, out := read(t, dir, from), t.TempDir()
	if edit != nil {
		b = edit(b)
	}
	if err := os.WriteFile(filepath.Join(out, to), b, 0o666); err != nil {
		t.Fatal(err)
	}
	return out
}

func TestInitStartsFromItsWeights(t *testing.T) {
	ds, dir := fashion(t), t.TempDir()
	c := drawn(t, layers.Arch{Family: "cnn-dwpw", Base: 4, Classes: 10}, 1)
	c.History = []checkpoint.Event{{Kind: "prune"}}
	path := filepath.Join(dir, "start.safetensors")
	if _, err := checkpoint.Save(path, c); err != nil {
		t.Fatal(err)
	}
	j := small(ds, "")
	j.Net, j.Init = nil, load(t, path)
	j.Config.EMA, j.Config.Optimizer.Kind = 0, train.Stale
	out, err := Run(context.Background(), backend(t), j)
	if err != nil {
		t.Fatal(err)
	}
	for i, e := range out.Best.State {
		moved := !slices.Equal(e.Data, c.State[i].Data) || !slices.Equal(e.Int, c.State[i].Int)
		running := strings.Contains(e.Name, "running_") || e.Integer()
		if moved != running {
			t.Errorf("%s moved: %v", e.Name, moved)
		}
	}
	want, err := checkpoint.Fingerprint(path)
	if h := out.Best.History; err != nil || len(h) != 2 || h[0].Kind != "prune" || h[1].Parent != want {
		t.Errorf("history %+v (%v)", h, err)
	}
	if out.BestPath != "" || out.BytesBest != 0 {
		t.Errorf("%q, %d bytes without a folder", out.BestPath, out.BytesBest)
	}
}

func TestTrainRefuses(t *testing.T) {
	ds := fashion(t)
	plain := layers.Arch{Family: "cnn-plain", Base: 4, Classes: 10}
	other := plain
	other.Classes = 5
	file := filepath.Join(t.TempDir(), "file")
	if err := os.WriteFile(file, nil, 0o666); err != nil {
		t.Fatal(err)
	}
	for want, set := range map[string]func(*Job){
		"the model has 5 classes, the data":             func(j *Job) { j.Net = net(other) },
		"teacher: the model has 5 classes, the data 10": func(j *Job) { j.Teacher = drawn(t, other, 1) },
		"the model has 5 classes, the data 10; choose the": func(j *Job) {
			j.Init = drawn(t, other, 1)
			j.Init.Classes = []string{"a", "b", "c", "d", "e"}
		},
		"the temperature must be positive": func(j *Job) {
			j.Teacher, j.KD = drawn(t, plain, 1), distill.Settings{T: -1}
		},
		"alpha must be in [0, 1]":      func(j *Job) { j.Teacher, j.KD = drawn(t, plain, 1), distill.Settings{T: 1, Alpha: 2} },
		"leave one of them out":        func(j *Job) { j.Preprocess.Size = 24 },
		"there is no net to train":     func(j *Job) { j.Net = nil },
		"no tensor fits":               func(j *Job) { j.Freeze = []string{"layer9"} },
		"nothing of cnn-dwpw is left":  func(j *Job) { j.Freeze = []string{"*"} },
		"no tensor that is trained":    func(j *Job) { j.Freeze, j.LRScales = []string{"fc.0"}, []LRScale{{"fc.0", 2}} },
		"there are no data":            func(j *Job) { j.Data = nil },
		file:                           func(j *Job) { j.Dir = filepath.Join(file, "sub") },
		"teacher takes images of 4 ch": func(j *Job) { four := plain; four.InChannels = 4; j.Teacher = drawn(t, four, 1) },
	} {
		j := small(ds, "")
		set(&j)
		_, err := Run(context.Background(), backend(t), j)
		oneLine(t, err, want)
	}
	j := small(ds, "")
	j.Name, j.Net = "student", net(other)
	_, err := Run(context.Background(), backend(t), j)
	oneLine(t, err, "student: the model has")
	_, err = eval.Evaluate(context.Background(), backend(t), drawn(t, other, 1), ds.Val, eval.Options{Classes: ds.Classes})
	oneLine(t, err, "the model has 5 classes, the data 10")
}

func TestDivergenceNamesTheLastGoodCheckpoint(t *testing.T) {
	ds, dir := fashion(t), t.TempDir()
	j := small(ds, dir)
	j.Config.EMA, j.Config.Optimizer = 0, train.OptimizerConfig{Kind: train.SGD, LR: 1e30}
	_, err := Run(context.Background(), backend(t), j)
	var diverged *train.DivergedError
	if !errors.As(err, &diverged) || diverged.Checkpoint != "" {
		t.Fatalf("without a checkpoint: %v", err)
	}
	j.Config.Optimizer.LR = 1e-3
	j.Config.Schedule = train.ScheduleConfig{Kind: train.StepDown, StepSize: 1, Gamma: new(1e30)}
	_, err = Run(context.Background(), backend(t), j)
	if !errors.As(err, &diverged) || diverged.Epoch != 2 || diverged.Step == 0 {
		t.Fatal(err)
	}
	oneLine(t, err, "epoch 2, step", filepath.Join(dir, LastFile))
	if _, err := checkpoint.Load(diverged.Checkpoint); err != nil {
		t.Error(err)
	}
}

func TestAStepLogThatFails(t *testing.T) {
	j := small(fashion(t), t.TempDir())
	full := errors.New("no space")
	j.StepLog = writerFunc(func(b []byte) (int, error) {
		if bytes.Contains(b, []byte(`"update":3,`)) {
			return 0, full
		}
		return len(b), nil
	})
	_, err := Run(context.Background(), backend(t), j)
	oneLine(t, err, "log of step 3: no space", "the run so far is in "+j.Dir)
	if !errors.Is(err, full) {
		t.Error(err)
	}
}

type writerFunc func([]byte) (int, error)

func (f writerFunc) Write(b []byte) (int, error) { return f(b) }
