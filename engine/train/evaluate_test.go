package train

import (
	"context"
	"errors"
	"math"
	"slices"
	"strings"
	"testing"

	"github.com/potstill/potstill/engine"
)

func TestEvaluatorByHand(t *testing.T) {
	ds := noisyData(t)
	net, store := newLinearNet(108, 3), newStore(t)
	fill(t, store, net.Variables(), 4)
	w, bias := floats(t, store, net.w), floats(t, store, net.b)
	wantLoss, right := 0.0, 0
	logits := make([][]float64, ds.Val.Len())
	for i := range logits {
		m := ds.Val.Image(i)
		x := make([]float64, 3)
		for k := range x {
			x[k] = float64(bias[k])
			for p := range 36 {
				for c := range 3 { // Flatten's order is NCHW
					x[k] += float64(m.Pix[p*3+c]) / 255 * float64(w[(c*36+p)*3+k])
				}
			}
		}
		logits[i] = x
		label := ds.Val.Label(i)
		wantLoss += math.Log(math.Exp(x[0])+math.Exp(x[1])+math.Exp(x[2])) - x[label]
		if x[label] == slices.Max(x) {
			right++
		}
	}
	n := float64(len(logits))
	for _, batch := range []int{1, 3, 7, 50} {
		e, err := NewEvaluator(net, store, 3, EvalOptions{Batch: batch})
		if err != nil {
			t.Fatal(err)
		}
		defer e.Close()
		seen := 0
		r, err := e.Run(context.Background(), ds.Val, func(i int, got []float32) error {
			seen |= 1 << i
			for k, x := range got {
				if math.Abs(float64(x)-logits[i][k]) > 1e-5 {
					t.Errorf("batch %d: logit %d of image %d is %v, by hand %v", batch, k, i, x, logits[i][k])
				}
			}
			return nil
		})
		if err != nil {
			t.Fatal(err)
		}
		if seen != 1<<7-1 || r.N != 7 || math.Abs(r.Loss-wantLoss/n) > 1e-5 || r.Top1 != float64(right)/n || r.ImagesPerSecond <= 0 {
			t.Errorf("batch %d: %+v, by hand loss %v, right %d; seen %b", batch, r, wantLoss/n, right, seen)
		}
	}
}

// With BatchNorm the answer must not depend on the batch, nor change the net.
func TestEvaluatorUsesRunningStatistics(t *testing.T) {
	ds := noisyData(t)
	net, store := newConvNet(0.5), newStore(t)
	fill(t, store, net.vars, 4)
	for _, i := range []int{4, 5} { // statistics unlike the data's
		if err := store.Set(net.vars[i], engine.Bytes([]float32{0.3, 0.2, 0.5, 0.4})); err != nil {
			t.Fatal(err)
		}
	}
	var losses []float64
	for _, batch := range []int{2, 5} {
		e, err := NewEvaluator(net, store, 3, EvalOptions{Batch: batch})
		if err != nil {
			t.Fatal(err)
		}
		defer e.Close()
		r, err := e.Run(context.Background(), ds.Val, nil)
		if err != nil {
			t.Fatal(err)
		}
		losses = append(losses, r.Loss)
		one := make([]float32, 0, 108)
		for _, p := range ds.Val.Image(2).Pix {
			one = append(one, float32(p)/255)
		}
		single, err := e.Logits(context.Background(), one, 1, 6, 6)
		if err != nil {
			t.Fatal(err)
		}
		three, err := e.Logits(context.Background(), slices.Repeat(one, 3), 3, 6, 6)
		if err != nil || len(three) != 9 {
			t.Fatal(len(three), err)
		}
		for k := range three {
			if math.Abs(float64(three[k]-single[k%3])) > 1e-6 {
				t.Errorf("logits %v alone, %v among others", single, three)
			}
		}
	}
	if math.Abs(losses[0]-losses[1]) > 1e-6 {
		t.Errorf("losses %v", losses)
	}
	if m := floats(t, store, net.vars[4]); m[0] != 0.3 {
		t.Errorf("the running mean moved: %v", m)
	}
}

func TestEvaluatorRefuses(t *testing.T) {
	ds := noisyData(t)
	net, store := newConvNet(0), newStore(t)
	if _, err := NewEvaluator(net, store, 3, EvalOptions{}); err == nil {
		t.Error("a batch of 0 was accepted")
	}
	e, err := NewEvaluator(net, store, 5, EvalOptions{Batch: 2})
	if err != nil {
		t.Fatal(err)
	}
	defer e.Close()
	if _, err := e.Run(context.Background(), ds.Val, nil); err == nil || !strings.Contains(err.Error(), "the data have 5 classes") {
		t.Errorf("other classes: %v", err)
	}
	if _, err := e.Run(context.Background(), nil, nil); err == nil {
		t.Error("no split: no error")
	}
	if _, err := e.Logits(context.Background(), make([]float32, 5), 1, 6, 6); !errors.Is(err, engine.ErrShape) {
		t.Errorf("too few values: %v", err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	if _, err := e.Run(ctx, ds.Val, nil); !errors.Is(err, context.Canceled) {
		t.Errorf("canceled: %v", err)
	}
}

func TestConfusion(t *testing.T) {
	m := NewConfusion(3)
	for _, p := range [][2]int{{0, 0}, {0, 0}, {0, 1}, {1, 1}} {
		m[p[0]][p[1]]++
	}
	if m.Accuracy() != 0.75 || m.Recall(0) != 2.0/3 || m.Precision(1) != 0.5 || !math.IsNaN(m.Recall(2)) || !math.IsNaN(m.Precision(2)) {
		t.Errorf("%v: %v %v %v", m, m.Accuracy(), m.Recall(0), m.Precision(1))
	}
}

func TestNLLIsStable(t *testing.T) {
	if got := nll([]float32{1000, 999, -1000}, 1); math.Abs(got-(1+math.Log1p(math.Exp(-1)))) > 1e-12 {
		t.Error(got)
	}
	if got := nll([]float32{1, float32(math.NaN()), 0}, 0); !math.IsNaN(got) {
		t.Error(got)
	}
}
