package distill

import (
	"context"
	"math"
	"testing"

	"github.com/potstill/potstill/engine"
	"github.com/potstill/potstill/engine/ref"
	"github.com/potstill/potstill/engine/train"
	"github.com/potstill/potstill/layers"
	"github.com/potstill/potstill/layers/checkpoint"
)

// lossOf runs a loss on given logits, with a teacher that turns an image into
// its own mean color: global average pooling and a linear layer that is the
// identity.
func lossOf(t *testing.T, s Settings, smoothing float32, teacherSees, studentSees checkpoint.Preprocess, images, logits, target []float32) float64 {
	t.Helper()
	store := engine.NewStore(ref.New())
	defer store.Close()
	nb := layers.NewNetBuilder("mean", layers.Input{Channels: 3})
	mean, err := nb.Net(nb.Add("fc", layers.Linear{InFeatures: 3, OutFeatures: 3, Bias: true}, nb.Add("pool", layers.AdaptiveAvgPool2d{}, layers.Image)))
	if err != nil {
		t.Fatal(err)
	}
	teacher, err := mean.Model()
	if err != nil {
		t.Fatal(err)
	}
	if err := store.Set(teacher.Variables()[0], engine.Bytes([]float32{1, 0, 0, 0, 1, 0, 0, 0, 1})); err != nil {
		t.Fatal(err)
	}
	loss, err := NewLoss(s, []*layers.Model{teacher}, Options{Smoothing: smoothing})
	if err != nil {
		t.Fatal(err)
	}
	if err := loss.Prepare(store, 0, studentSees, teacherSees); err != nil {
		t.Fatal(err)
	}
	n := len(logits) / 3
	b := engine.NewBuilder(engine.NewGraph())
	x, l, y := b.Input("images", engine.F32(n, 1, 1, 3)), b.Input("logits", engine.F32(n, 3)), b.Input("target", engine.F32(n, 3))
	terms := loss.Build(b, &train.Batch{Views: []*engine.Value{x}, Target: y}, &engine.Outputs{Logits: l})
	out := b.One(engine.Add{Weights: []float32{terms[0].Weight, terms[1].Weight}}, terms[0].Value, terms[1].Value)
	if err := b.Err(); err != nil {
		t.Fatal(err)
	}
	p, err := b.Graph().Compile(store.Backend(), engine.Options{Store: store, Outputs: []*engine.Value{out}})
	if err != nil {
		t.Fatal(err)
	}
	defer p.Close()
	in := engine.Bindings{x: engine.Bytes(images), l: engine.Bytes(logits), y: engine.Bytes(target)}
	if err := p.Run(context.Background(), in); err != nil {
		t.Fatal(err)
	}
	v := make([]float32, 1)
	if err := p.Read(out, engine.Bytes(v)); err != nil {
		t.Fatal(err)
	}
	return float64(v[0])
}

// Student logits (0, ln 2, ln 4) are the probabilities 1/7, 2/7, 4/7, and at
// T = 2 in proportion 1 : √2 : 2. Teacher logits (ln 9, 0, 0) are 9 : 1 : 1, and
// at T = 2 in proportion 3 : 1 : 1. The label is class 1. Hence
//
//	CE = ln(7/2)
//	KL = Σ p ln(p/q),  p = (3, 1, 1)/5,  q = (1, √2, 2)/(3+√2)
//
// A second row of equal logits on both sides adds nothing to KL, and ln 3 to CE.
func TestLossByHand(t *testing.T) {
	ln := func(x float64) float32 { return float32(math.Log(x)) }
	logits := []float32{0, ln(2), ln(4), 5, 5, 5}
	images := []float32{ln(9), 0, 0, 2, 2, 2}
	target := []float32{0, 1, 0, 0, 0, 1}
	ce := (math.Log(3.5) + math.Log(3)) / 2
	sum := 3 + math.Sqrt2
	kl := (3.0/5*math.Log(3.0/5*sum) + 1.0/5*math.Log(1.0/5*sum/math.Sqrt2) + 1.0/5*math.Log(1.0/5*sum/2)) / 2
	// Smoothing by 0.3 moves 0.1 to each class: CE = -Σ q·ln p.
	smooth := (0.1*math.Log(7) + 0.8*math.Log(3.5) + 0.1*math.Log(7.0/4) + math.Log(3)) / 2
	for _, c := range []struct {
		s         Settings
		smoothing float32
		want      float64
	}{
		{Settings{T: 2, Alpha: 0.25}, 0, 0.75*ce + 0.25*4*kl},
		{Settings{T: 2, Alpha: 1}, 0, 4 * kl},
		{Settings{T: 2, Alpha: 0}, 0, ce},
		{Settings{T: 2, Alpha: 0.25}, 0.3, 0.75*smooth + 0.25*4*kl},
	} {
		got := lossOf(t, c.s, c.smoothing, checkpoint.Preprocess{}, checkpoint.Preprocess{}, images, logits, target)
		if math.Abs(got-c.want) > 1e-6 {
			t.Errorf("%+v, smoothing %v: %v, want %v", c.s, c.smoothing, got, c.want)
		}
	}
}

// The same pixels, normalized for the student, must give the teacher what it
// was trained on.
func TestTeacherSeesItsOwnNormalization(t *testing.T) {
	student := checkpoint.Preprocess{Mean: []float32{0.5, 0.25, 0}, Std: []float32{0.5, 1, 2}}
	teacher := checkpoint.Preprocess{Mean: []float32{0.1, 0.2, 0.3}, Std: []float32{0.2, 0.3, 0.4}}
	pixels := []float32{0.9, 0.4, 0.1}
	normalized := func(p checkpoint.Preprocess) (out []float32) {
		for c, v := range pixels {
			out = append(out, (v-p.Mean[c])/p.Std[c])
		}
		return out
	}
	logits, target := []float32{1, 0, -1}, []float32{0, 1, 0}
	s := Settings{T: 3, Alpha: 1}
	want := lossOf(t, s, 0, teacher, teacher, normalized(teacher), logits, target)
	got := lossOf(t, s, 0, teacher, student, normalized(student), logits, target)
	if math.Abs(got-want) > 1e-6 {
		t.Errorf("%v, want %v", got, want)
	}
	plain := lossOf(t, s, 0, teacher, checkpoint.Preprocess{}, pixels, logits, target)
	if math.Abs(plain-want) > 1e-6 {
		t.Errorf("from plain pixels: %v, want %v", plain, want)
	}
	if other := lossOf(t, s, 0, student, student, normalized(student), logits, target); math.Abs(other-want) < 1e-3 {
		t.Error("the normalization makes no difference: the test cannot fail")
	}
}

func TestSettings(t *testing.T) {
	if (Settings{}).Normalized() != (Settings{T: 20, Alpha: 0.5}) || (Settings{}).Validate() != nil {
		t.Error("the default is not the study's")
	}
	nan := float32(math.NaN())
	for _, s := range []Settings{{T: nan}, {T: 1, Alpha: nan}, {T: 0, Alpha: 0.5}, {T: 1, Alpha: -0.1}, {T: float32(math.Inf(1))}} {
		if s.Validate() == nil {
			t.Errorf("%+v was accepted", s)
		}
	}
}
