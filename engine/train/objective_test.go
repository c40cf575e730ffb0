package train

import (
	"context"
	"math"
	"strings"
	"testing"

	"github.com/potstill/potstill/engine"
	"github.com/potstill/potstill/engine/data"
)

// A taught is an objective with everything that one may have: a frozen teacher
// with a view of its own, a projector that is trained, a variable that it moves
// itself, and an input that it rewrites before each batch.
type taught struct {
	teacher   *linearNet
	projector *engine.Variable
	mean      *engine.Variable // a moving average of the cross-entropy
	decay     []float32
	told      []Moment
	numbers   [][]uint32
}

func newTaught(t *testing.T, store *engine.Store, seed uint64) *taught {
	o := &taught{
		teacher:   newLinearNet(8*8*3, 3),
		projector: &engine.Variable{Name: "objective.projector", Spec: engine.F32(3, 3), Trainable: true},
		mean:      &engine.Variable{Name: "objective.mean", Spec: engine.F32()},
		decay:     make([]float32, 1),
	}
	o.teacher.w.Name, o.teacher.b.Name = "teacher.weight", "teacher.bias"
	fill(t, store, append(o.teacher.Variables(), o.projector, o.mean), seed)
	return o
}

func (o *taught) Views() []data.Transform    { return []data.Transform{{Size: 8}} }
func (o *taught) State() []*engine.Variable  { return []*engine.Variable{o.projector, o.mean} }
func (o *taught) Frozen() []*engine.Variable { return o.teacher.Variables() }

func (o *taught) Build(b *engine.Builder, in *Batch, out *engine.Outputs) []Term {
	in.Index()
	ce := b.One(engine.CrossEntropy{}, out.Logits, in.Target)
	decay := in.Bind("decay of the mean", engine.F32(), engine.Bytes(o.decay))
	b.Apply(engine.EMA{K: 1}, decay, ce, b.Variable(o.mean))
	projected := b.One(engine.Linear{}, out.Logits, b.Variable(o.projector))
	kl := b.One(engine.KLDiv{T: 2}, projected, o.teacher.Build(b, in.Views[1], false).Logits)
	return []Term{{Name: "cross_entropy", Weight: 0.25, Value: ce}, {Name: "teacher", Weight: 0.5, Value: kl}}
}

func (o *taught) Tell(m Moment, b *data.Batch) {
	o.decay[0] = 0.5 + 0.1*float32(m.Epoch)
	o.told = append(o.told, m)
	o.numbers = append(o.numbers, append([]uint32(nil), b.Numbers...))
}

// under is a configuration in which the objective shares the step with
// everything else.
func under(o Objective) Config {
	c := base()
	c.Objective, c.EMA, c.Accumulate, c.ClipNorm = o, 0.9, 2, 0.5
	return c
}

// trainUnder runs three epochs under a taught and returns the trainer, what was
// saved and the steps. A snapshot to resume from comes last.
func trainUnder(t *testing.T, ds *data.Dataset, seed uint64, ctx context.Context, h Hooks, from *Snapshot) (*taught, *Trainer, error) {
	t.Helper()
	net, store := newConvNet(0.3), newStore(t)
	fill(t, store, net.vars, seed)
	o := newTaught(t, store, seed)
	if from != nil {
		fill(t, store, o.teacher.Variables(), 1) // which is in no snapshot
	}
	tr := newTrainer(t, net, store, ds, under(o), h)
	if from != nil {
		if err := tr.Resume(from); err != nil {
			t.Fatal(err)
		}
	}
	_, err := tr.Run(ctx)
	return o, tr, err
}

func TestObjective(t *testing.T) {
	ds := noisyData(t)
	var r recorder
	var steps []StepInfo
	h := Hooks{Save: r.save, Step: func(i StepInfo) {
		i.Terms = append([]TermLoss(nil), i.Terms...)
		steps = append(steps, i)
	}}
	o, tr, err := trainUnder(t, ds, 1, context.Background(), h, nil)
	if err != nil {
		t.Fatal(err)
	}
	for _, s := range steps {
		if len(s.Terms) != 2 || s.Terms[0].Name != "cross_entropy" || s.Terms[1].Name != "teacher" {
			t.Fatalf("the terms of a step are %v", s.Terms)
		}
		if sum := 0.25*s.Terms[0].Value + 0.5*s.Terms[1].Value; math.Abs(sum-s.Loss) > 1e-6*s.Loss {
			t.Errorf("epoch %d, step %d: the loss is %v, its terms make %v", s.Epoch, s.Step, s.Loss, sum)
		}
	}
	for _, e := range tr.History() {
		if sum := 0.25*e.Terms["cross_entropy"] + 0.5*e.Terms["teacher"]; len(e.Terms) != 2 || math.Abs(sum-e.TrainLoss) > 1e-6*e.TrainLoss {
			t.Errorf("epoch %d: the loss is %v, its terms are %v", e.Epoch, e.TrainLoss, e.Terms)
		}
	}
	if n := 3 * 4; len(o.told) != n || o.told[n-1].Epoch != 2 || o.told[n-1].Batch != n-1 || o.told[n-1].Update != 5 {
		t.Errorf("the objective was told of %d batches, the last %+v", len(o.told), o.told[len(o.told)-1])
	}
	seen := make(map[uint32]bool)
	for _, b := range o.numbers[:4] {
		for _, i := range b {
			seen[i] = true
		}
	}
	if len(seen) != ds.Train.Len() {
		t.Errorf("an epoch had %d of %d images", len(seen), ds.Train.Len())
	}
	for kind, s := range map[string]*Snapshot{KindLast: r.final(), KindBest: r.best[0]} {
		var own, optimizer, average, teacher bool
		for _, x := range s.Tensors {
			own = own || x.Name == "objective.mean"
			optimizer = optimizer || x.Name == "optimizer.exp_avg.objective.projector"
			average = average || strings.HasPrefix(x.Name, "ema.objective")
			teacher = teacher || strings.Contains(x.Name, "teacher")
		}
		if last := kind == KindLast; own != last || optimizer != last || average || teacher {
			t.Errorf("a %s snapshot with the objective's state %v, the optimizer's for it %v, averages of it %v, the teacher %v", kind, own, optimizer, average, teacher)
		}
	}
	if p := floats(t, tr.store, o.projector); p[0] == floatsOfFill(t, o.projector)[0] {
		t.Error("the projector was not trained")
	}
	ce := tr.History()[2].Terms["cross_entropy"]
	if m := float64(floats(t, tr.store, o.mean)[0]); math.Abs(m-ce) > ce/2 {
		t.Errorf("the moving average is %v, the cross-entropy of the last epoch %v", m, ce)
	}
}

// floatsOfFill is what fill gives the first of newTaught's state.
func floatsOfFill(t *testing.T, v *engine.Variable) []float32 {
	store := newStore(t)
	o := newTaught(t, store, 1)
	if o.projector.Name != v.Name {
		t.Fatal(v.Name)
	}
	return floats(t, store, o.projector)
}

func TestObjectiveIsResumed(t *testing.T) {
	ds := noisyData(t)
	var whole recorder
	if _, _, err := trainUnder(t, ds, 1, context.Background(), Hooks{Save: whole.save}, nil); err != nil {
		t.Fatal(err)
	}
	for k := 1; k < 6; k++ {
		ctx, cancel := context.WithCancel(context.Background())
		defer cancel()
		var stopped, rest recorder
		h := Hooks{Save: stopped.save, Step: func(i StepInfo) {
			if i.Update == k {
				cancel()
			}
		}}
		if _, _, err := trainUnder(t, ds, 1, ctx, h, nil); err == nil {
			t.Fatal("it was not stopped")
		}
		if _, _, err := trainUnder(t, ds, 99, context.Background(), Hooks{Save: rest.save}, stopped.final()); err != nil {
			t.Fatal(err)
		}
		same(t, "resumed", rest.final(), whole.final())
	}
}

// noTerms is an objective that forgets its loss.
type noTerms struct{ Stateless }

func (noTerms) Build(*engine.Builder, *Batch, *engine.Outputs) []Term { return nil }

// sameNames is one whose state has the name of one of the net's tensors.
type sameNames struct {
	CrossEntropy
	v *engine.Variable
}

func (o sameNames) State() []*engine.Variable { return []*engine.Variable{o.v} }

// vector is one whose term is no scalar.
type vector struct{ Stateless }

func (vector) Build(_ *engine.Builder, _ *Batch, out *engine.Outputs) []Term {
	return []Term{{Name: "logits", Weight: 1, Value: out.Logits}}
}

func TestObjectivesThatCannotBe(t *testing.T) {
	ds := noisyData(t)
	clash := &engine.Variable{Name: "fc.bias", Spec: engine.F32(3)}
	for want, o := range map[string]Objective{
		"no terms":               noTerms{},
		`called "fc.bias"`:       sameNames{v: clash},
		"the loss logits is 6x3": vector{},
	} {
		net, store := newConvNet(0), newStore(t)
		fill(t, store, net.vars, 1)
		c := base()
		c.Objective = o
		tr, err := New(net, store, ds, c, Hooks{})
		if err == nil {
			_, err = tr.Run(context.Background())
			tr.Close()
		}
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%T: the error is %v, not %q", o, err, want)
		}
	}
}
