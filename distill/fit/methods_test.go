package fit

import (
	"bytes"
	"context"
	"log/slog"
	"math"
	"slices"
	"strings"
	"testing"

	"github.com/potstill/potstill/distill"
	"github.com/potstill/potstill/engine/data"
	"github.com/potstill/potstill/engine/train"
	"github.com/potstill/potstill/layers"
	"github.com/potstill/potstill/layers/checkpoint"
)

// projected is a loss with projectors, a schedule and the classes of mixed images.
const projected = "fitnet:w=10+reviewkd+dkd:warmup=2"

// remembered is a loss with a memory of all training images.
const remembered = "crd:K=8,dim=8+kd:w=1"

// imitate mixes the images of a job and gives labels and teacher a momentum each.
func imitate(j *Job) {
	j.Config.MixupAlpha = 0.5
	j.Config.Optimizer = train.OptimizerConfig{Kind: train.SGD, LR: 1e-3, Momentum: 0.9, WeightDecay: 1e-4, DOT: new(0.05)}
}

func init() {
	jobs["projectors"] = func(t *testing.T, ds *data.Dataset, dir string) Job {
		j := distilled(t, ds, dir)
		j.KD = distill.Settings{Spec: projected}
		imitate(&j)
		return j
	}
	jobs["memory"] = func(t *testing.T, ds *data.Dataset, dir string) Job {
		j := distilled(t, ds, dir)
		j.KD = distill.Settings{Spec: remembered}
		return j
	}
	jobs["reused"] = func(t *testing.T, ds *data.Dataset, dir string) Job {
		j := distilled(t, ds, dir)
		j.KD = distill.Settings{Spec: "simkd"}
		return j
	}
	jobs["two teachers"] = func(t *testing.T, ds *data.Dataset, dir string) Job {
		j := distilled(t, ds, dir)
		j.Others = append(j.Others, drawn(t, layers.Arch{Family: "cnn-group", Base: 4, Classes: len(ds.Classes)}, 5))
		j.KD = distill.Settings{Spec: "kd:T=2+dist+sp", Teachers: distill.Confidence}
		return j
	}
}

// TestProjectorsStayBehind: a run of several terms logs each by its name, and its best
// model has the student's tensors alone, its last file the projectors' too.
func TestProjectorsStayBehind(t *testing.T) {
	ds, dir := fashion(t), t.TempDir()
	j := jobs["projectors"](t, ds, dir)
	var log bytes.Buffer
	j.Logger = slog.New(slog.NewTextHandler(&log, nil))
	out, err := Run(context.Background(), backend(t), j)
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"cross_entropy", "fitnet", "reviewkd", "dkd"} {
		if v, ok := out.Result.Last.Terms[name]; !ok || !(v > 0) {
			t.Errorf("the terms %v have no %s", out.Result.Last.Terms, name)
		}
		if !strings.Contains(log.String(), "loss: "+name+": ") {
			t.Errorf("%s is not announced in:\n%s", name, &log)
		}
	}
	if !strings.Contains(log.String(), "of 30 validation images right") {
		t.Errorf("the teacher is not examined in:\n%s", &log)
	}
	m, err := out.Best.Net.Model()
	if err != nil {
		t.Fatal(err)
	}
	if len(out.Best.State) != len(m.Slots()) {
		t.Errorf("the best model has %d tensors, its net %d", len(out.Best.State), len(m.Slots()))
	}
	found := make(map[string]bool)
	for _, x := range load(t, dir, LastFile).Extra {
		for _, part := range []string{"distillation.fitnet.1.1.conv.weight", "distillation.fitnet.1.1.bn.running_var", "distillation.reviewkd.2.attention.conv.bias"} {
			if strings.HasSuffix(x.Name, part) {
				found[x.Name] = true
			}
		}
	}
	// The two parameters with their two momenta, and the running variance.
	if len(found) != 7 {
		t.Errorf("%s keeps %v of the projectors", LastFile, found)
	}
}

// TestClassifierOfTheTeacher: a student with its teacher's classifier keeps it as it is, with the
// projector, and learns to make the teacher's features.
func TestClassifierOfTheTeacher(t *testing.T) {
	ds, dir := fashion(t), t.TempDir()
	j := jobs["reused"](t, ds, dir)
	j.Config.Epochs = 6
	var log bytes.Buffer
	j.Logger = slog.New(slog.NewTextHandler(&log, nil))
	out, err := Run(context.Background(), backend(t), j)
	if err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{"weight 0", "projector.8 like ", "loss: simkd: mean", "the classifier of its teacher"} {
		if !strings.Contains(log.String(), want) {
			t.Errorf("%q is not announced in:\n%s", want, &log)
		}
	}
	for _, e := range j.Teacher.State {
		kept := out.Best.State.Find("teacher." + e.Name)
		if head := strings.HasPrefix(e.Name, "fc."); head != (kept != nil) || head && !slices.Equal(kept.Data, e.Data) {
			t.Errorf("of the teacher's %s the student has %v", e.Name, kept)
		}
	}
	last := load(t, dir, LastFile)
	if last.Net.Module("projector.6") == nil || last.Net.Module("fc.0") != nil {
		t.Error("the student is without a projector, or has its own classifier")
	}
	for _, x := range last.Extra {
		if strings.Contains(x.Name, "teacher.fc") {
			t.Errorf("%s is trained", x.Name)
		}
	}
	h := out.Result.History
	if first, end := h[0].Terms["simkd"], h[len(h)-1].Terms["simkd"]; !(end < first/2) {
		t.Errorf("the features differ by %v after the first epoch and by %v after the last", first, end)
	}
	// From a file, and under two teachers.
	j.Init, j.Replace = drawn(t, layers.Arch{Family: "cnn-dwpw", Base: 4, Classes: len(ds.Classes)}, 9), true
	j.Config.Epochs, j.Config.Optimizer.LR = 1, 1e-12
	if out, err = Run(context.Background(), backend(t), j); err != nil {
		t.Fatal(err)
	}
	conv := j.Init.State[0]
	if got := out.Best.State.Find(conv.Name).Data; math.Abs(float64(got[0]-conv.Data[0])) > 1e-6 {
		t.Error("the student does not start from its file")
	}
	j.Init = out.Best
	_, err = Run(context.Background(), backend(t), j)
	oneLine(t, err, "named projector already")
	j.Init, j.Others = nil, []*checkpoint.Checkpoint{j.Teacher}
	_, err = Run(context.Background(), backend(t), j)
	oneLine(t, err, "simkd takes one teacher", "here are 2")
}

// TestManyTeachersAreOneRun: a resumed run must have the same teachers.
func TestManyTeachersAreOneRun(t *testing.T) {
	ds, dir := fashion(t), t.TempDir()
	j := jobs["two teachers"](t, ds, dir)
	j.Config.Epochs = 1
	out, err := Run(context.Background(), backend(t), j)
	if err != nil {
		t.Fatal(err)
	}
	if detail := out.Best.History[0].Detail; !strings.Contains(detail, " and cnn-group") || !strings.Contains(detail, "kd:T=2+dist+sp, teachers weighted by confidence") {
		t.Errorf("the history says %q", detail)
	}
	j.Resume = true
	for want, set := range map[string]func(*Job){
		"had another teacher": func(j *Job) { j.Others = nil },
		"the distillation was kd:T=2+dist+sp, teachers weighted by confidence and is kd:T=3": func(j *Job) { j.KD = distill.Settings{Spec: "kd:T=3"} },
	} {
		k := j
		set(&k)
		_, err := Run(context.Background(), backend(t), k)
		oneLine(t, err, want)
	}
	j.Others[0].Net = net(layers.Arch{Family: "cnn-group", Base: 4, Classes: 7})
	_, err = Run(context.Background(), backend(t), j)
	oneLine(t, err, "teacher: ")
}
