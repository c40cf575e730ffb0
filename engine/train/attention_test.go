package train

import (
	"context"
	"math"
	"testing"

	"github.com/potstill/potstill/engine"
	"github.com/potstill/potstill/engine/data"
)

// An attention is attention transfer (Zagoruyko and Komodakis, arXiv:1612.03928)
// as the authors' code has it: beside the cross-entropy, the mean squared
// difference of the two nets' attention maps at a tap,
//
//	q = mean_c F²    loss = CE + β·warm/(N·H·W)·Σ (q_s/‖q_s‖ - q_t/‖q_t‖)²
//
// where warm rises from 0 to 1 over the first two epochs. It shows what an
// objective is written as: this file is all of it.
type attention struct {
	Stateless
	teacher *convNet
	tap     string
	beta    float32
	warm    []float32
	taps    [2]*engine.Value // student's and teacher's, of the graph built last
}

// Frozen implements Objective.
func (o *attention) Frozen() []*engine.Variable { return o.teacher.vars }

// Tell implements Objective.
func (o *attention) Tell(m Moment, _ *data.Batch) { o.warm[0] = min(float32(m.Epoch)/2, 1) }

// Build implements Objective.
func (o *attention) Build(b *engine.Builder, in *Batch, out *engine.Outputs) []Term {
	student, teacher := out.At(o.tap), o.teacher.Build(b, in.Views[0], false).At(o.tap)
	o.taps = [2]*engine.Value{student, teacher}
	_, h, w, _, _ := student.NHWC()
	mse := b.One(engine.MSE{}, attentionMap(b, student), attentionMap(b, teacher))
	warm := in.Bind("warm", engine.F32(), engine.Bytes(o.warm))
	return []Term{
		{Name: "cross_entropy", Weight: 1, Value: b.One(engine.CrossEntropy{}, out.Logits, in.Target)},
		{Name: "attention", Weight: o.beta / float32(h*w), Value: b.One(engine.Mul{}, mse, warm)},
	}
}

// attentionMap is √(H·W)·q/‖q‖ of the features F [N,H,W,C], shape [N,H,W,1].
func attentionMap(b *engine.Builder, f *engine.Value) *engine.Value {
	c := f.Shape[3]
	mean := b.One(engine.Fill{Value: 1 / float32(c), Shape: []int{1, 1, c, 1}})
	q := b.One(engine.Conv2D{}, b.One(engine.Mul{}, f, f), mean)
	square := b.One(engine.GlobalAvgPool{}, b.One(engine.Mul{}, q, q)) // ‖q‖²/(H·W)
	return b.One(engine.Mul{}, q, b.One(engine.Activation{F: engine.Pow(-0.5)}, square))
}

// attentionByHand is the mean squared difference of two normalized maps.
func attentionByHand(student, teacher []float32, n, pixels, c int) float64 {
	maps := func(f []float32) [][]float64 {
		all := make([][]float64, n)
		for i := range all {
			norm := 0.0
			for p := range pixels {
				q := 0.0
				for k := range c {
					v := float64(f[(i*pixels+p)*c+k])
					q += v * v / float64(c)
				}
				all[i] = append(all[i], q)
				norm += q * q
			}
			for p := range all[i] {
				all[i][p] /= math.Sqrt(norm)
			}
		}
		return all
	}
	s, t, sum := maps(student), maps(teacher), 0.0
	for i := range s {
		for p := range s[i] {
			sum += (s[i][p] - t[i][p]) * (s[i][p] - t[i][p])
		}
	}
	return sum / float64(n*pixels)
}

func TestAttentionTransfer(t *testing.T) {
	ds, store := noisyData(t), newStore(t)
	teacher, student := newConvNet(0), newConvNet(0)
	for _, v := range teacher.vars {
		v.Name = "teacher." + v.Name
	}
	fill(t, store, teacher.vars, 1)
	for _, v := range teacher.vars {
		if v.Name == "teacher.bn.weight" || v.Name == "teacher.bn.running_var" {
			if err := store.Set(v, engine.Bytes([]float32{1, 1.5, 0.5, 2})); err != nil {
				t.Fatal(err)
			}
		}
	}
	fill(t, store, student.vars, 2)
	o := &attention{teacher: teacher, tap: "act", beta: 1000, warm: []float32{1}}

	// One step's terms, beside the maps by hand.
	b := engine.NewBuilder(engine.NewGraph())
	x := b.Input("images", engine.F32(5, 6, 6, 3))
	c := Config{Objective: o, Optimizer: OptimizerConfig{Kind: SGD, LR: 1e-9}}
	step := NewStep(student, c)
	w, err := step.Build(b, []*engine.Value{x}, 3, 1)
	if err != nil {
		t.Fatal(err)
	}
	taps := o.taps[:]
	prog, err := b.Graph().Compile(store.Backend(), engine.Options{Store: store, Outputs: append(w.Outputs(), taps...)})
	if err != nil {
		t.Fatal(err)
	}
	defer prog.Close()
	images, target := make([]float32, x.Len()), make([]float32, 15)
	for i := range images {
		images[i] = float32(i*7919%256) / 255
	}
	for i := range 5 {
		target[i*3+i%3] = 1
	}
	step.Tell(Moment{Epoch: 2, First: true, LR: 1e-9}, &data.Batch{N: 5})
	w.In[x], w.In[w.Target] = engine.Bytes(images), engine.Bytes(target)
	if err := prog.Run(context.Background(), w.In); err != nil {
		t.Fatal(err)
	}
	read := func(v *engine.Value) []float32 {
		f := make([]float32, v.Len())
		if err := prog.Read(v, engine.Bytes(f)); err != nil {
			t.Fatal(err)
		}
		return f
	}
	want := attentionByHand(read(taps[0]), read(taps[1]), 5, 36, 4)
	if got := float64(read(w.Terms[1].Value)[0]) / 36; math.Abs(got-want) > 1e-5*want || want == 0 {
		t.Errorf("the attention loss is %v, by hand %v", got, want)
	}

	// A run: the maps come closer, and no step warms up before its time.
	var terms []float64
	tr := newTrainer(t, student, store, ds, Config{
		Epochs: 12, Batch: 5, Seed: 3, Objective: o, Optimizer: OptimizerConfig{LR: 0.02},
	}, Hooks{Step: func(i StepInfo) {
		if off := i.Terms[1].Value == 0; off != (i.Epoch == 1) {
			t.Errorf("epoch %d: the attention term is %v", i.Epoch, i.Terms[1].Value)
		}
		terms = append(terms, i.Terms[1].Value)
	}})
	r, err := tr.Run(context.Background())
	if err != nil {
		t.Fatal(err)
	}
	first, last := r.History[2].Terms["attention"], r.Last.Terms["attention"]
	if !(last < 0.7*first) {
		t.Errorf("the attention term falls from %v to %v", first, last)
	}
}
