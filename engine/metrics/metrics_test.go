package metrics

import (
	"encoding/json"
	"math"
	"os"
	"testing"
)

// golden is what scripts/golden_metrics.py writes.
type golden struct {
	Cases []struct {
		Classes               int
		Labels                []int
		Logits                [][]float32
		Top1, Loss, ECE       float64
		MacroF1               float64 `json:"macro_f1"`
		Interval              [2]float64
		Top5                  *float64
		Precision, Recall, F1 []float64
		Support, Taken        []int
		Confusion             [][]int
	}
	Wilson [][4]float64
	T975   [][2]float64
	Spread []spreadCase

	Percentile []percentileCase
}

type percentileCase struct {
	x       []float64
	p, want float64
}

// UnmarshalJSON implements json.Unmarshaler.
func (c *percentileCase) UnmarshalJSON(text []byte) error {
	return json.Unmarshal(text, &[]any{&c.x, &c.p, &c.want})
}

type spreadCase struct {
	x        []float64
	mean, sd float64
}

// UnmarshalJSON implements json.Unmarshaler.
func (c *spreadCase) UnmarshalJSON(text []byte) error {
	return json.Unmarshal(text, &[]any{&c.x, &c.mean, &c.sd})
}

func load(t *testing.T) (g golden) {
	t.Helper()
	text, err := os.ReadFile("testdata/golden.json")
	if err == nil {
		err = json.Unmarshal(text, &g)
	}
	if err != nil || len(g.Cases) != 4 {
		t.Fatalf("the goldens: %v", err)
	}
	return g
}

// near compares at the rounding of float64 sums; scikit-learn's log_loss clips
// probabilities at 2^-52.
func near(t *testing.T, what string, got, want float64) {
	t.Helper()
	if !(math.Abs(got-want) <= 1e-12*max(1, math.Abs(want))) {
		t.Errorf("%s is %.17g, not %.17g", what, got, want)
	}
}

func TestScoresAreThoseOfScikitLearn(t *testing.T) {
	for k, c := range load(t).Cases {
		s := New(c.Classes)
		for i, row := range c.Logits {
			if err := s.Add(row, c.Labels[i]); err != nil {
				t.Fatal(err)
			}
		}
		f := s.Figures()
		near(t, "top-1", f.Top1, c.Top1)
		near(t, "the interval's lower end", f.Interval.Low, c.Interval[0])
		near(t, "the interval's upper end", f.Interval.High, c.Interval[1])
		near(t, "the loss", f.Loss, c.Loss)
		near(t, "macro F1", f.MacroF1, c.MacroF1)
		near(t, "the calibration error", f.ECE, c.ECE)
		if (f.Top5 == nil) != (c.Top5 == nil) {
			t.Fatalf("case %d: top-5 is %v, want %v", k, f.Top5, c.Top5)
		}
		if c.Top5 != nil {
			near(t, "top-5", *f.Top5, *c.Top5)
		}
		for i, class := range f.Classes {
			// Where scikit-learn has 0 for what is not defined, there is nil here.
			defined := []struct {
				what string
				got  *float64
				want float64
				is   bool
			}{
				{"precision", class.Precision, c.Precision[i], c.Taken[i] > 0},
				{"recall", class.Recall, c.Recall[i], c.Support[i] > 0},
				{"F1", class.F1, c.F1[i], c.Support[i]+c.Taken[i] > 0},
			}
			for _, d := range defined {
				if (d.got != nil) != d.is {
					t.Errorf("case %d: the %s of class %d is %v", k, d.what, i, d.got)
				} else if d.is {
					near(t, d.what, *d.got, d.want)
				}
			}
			if class.N != c.Support[i] {
				t.Errorf("case %d: class %d has %d images, not %d", k, i, class.N, c.Support[i])
			}
			for j, n := range f.Confusion[i] {
				if n != c.Confusion[i][j] {
					t.Errorf("case %d: confusion[%d][%d] is %d, not %d", k, i, j, n, c.Confusion[i][j])
				}
			}
		}
	}
}

func TestWilson(t *testing.T) {
	g := load(t)
	for _, w := range g.Wilson {
		i := Wilson(w[0]/w[1], int(w[1]))
		near(t, "the lower end", i.Low, w[2])
		near(t, "the upper end", i.High, w[3])
	}
	if len(g.Wilson) == 0 || Wilson(0, 0) != (Interval{0, 1}) {
		t.Error("nothing was compared")
	}
}

func TestSpread(t *testing.T) {
	g := load(t)
	for _, c := range g.Spread {
		s := Spread(c.x)
		near(t, "the mean", s.Mean, c.mean)
		near(t, "the deviation", s.SD, c.sd)
	}
	for _, c := range g.T975 {
		if got := t975(int(c[0])); math.Abs(got-c[1]) > 2e-5 {
			t.Errorf("t of %g degrees of freedom is %g, not %g", c[0], got, c[1])
		}
	}
	if len(g.Spread) == 0 || len(g.T975) < 34 {
		t.Error("nothing was compared")
	}
	if s := Spread([]float64{0.9}); s != (Summary{1, 0.9, 0, 0.9, 0.9}) {
		t.Errorf("one value: %+v", s)
	}
	if _, ok := Spread([]float64{0.9}).Interval(); ok {
		t.Error("one value has an interval")
	}
	i, ok := Spread([]float64{1, 2, 3}).Interval()
	if half := 4.302653 / math.Sqrt(3); !ok || math.Abs(i.Low-(2-half)) > 1e-6 || math.Abs(i.High-(2+half)) > 1e-6 {
		t.Errorf("%v", i)
	}
}

func TestPercentile(t *testing.T) {
	g := load(t)
	for _, c := range g.Percentile {
		near(t, "the percentile", Percentile(c.x, c.p), c.want)
	}
	if len(g.Percentile) != 18 || !math.IsNaN(Percentile(nil, 0.5)) {
		t.Error("nothing was compared")
	}
}

func TestTies(t *testing.T) {
	s := New(7)
	for _, label := range []int{0, 4, 5} {
		if err := s.Add(make([]float32, 7), label); err != nil {
			t.Fatal(err)
		}
	}
	f := s.Figures()
	near(t, "top-1 of ties", f.Top1, 1.0/3)
	near(t, "top-5 of ties", *f.Top5, 2.0/3)
}

func TestAddRefuses(t *testing.T) {
	s := New(3)
	for _, bad := range []struct {
		logits []float32
		label  int
	}{{make([]float32, 2), 0}, {make([]float32, 3), 3}, {make([]float32, 3), -1}} {
		if s.Add(bad.logits, bad.label) == nil {
			t.Errorf("%d logits and class %d were taken", len(bad.logits), bad.label)
		}
	}
}

func TestIntervalJSON(t *testing.T) {
	text, err := json.Marshal(Interval{0.25, 0.5})
	var back Interval
	if err != nil || string(text) != "[0.25,0.5]" || json.Unmarshal(text, &back) != nil || back != (Interval{0.25, 0.5}) {
		t.Errorf("%s, %v, %v", text, back, err)
	}
}

func TestMean(t *testing.T) {
	a, b := New(6), New(6)
	for i, label := range []int{0, 1, 1, 2} {
		row := make([]float32, 6)
		row[label] = 2
		if err := a.Add(row, label); err != nil {
			t.Fatal(err)
		}
		if i == 0 {
			row[5] = 3
		}
		if err := b.Add(row, label); err != nil {
			t.Fatal(err)
		}
	}
	m := Mean([]Figures{a.Figures(), b.Figures()})
	near(t, "the mean accuracy", m.Top1, 0.875)
	near(t, "the mean loss", m.Loss, (a.Figures().Loss+b.Figures().Loss)/2)
	near(t, "a recall", *m.Classes[0].Recall, 0.5)
	if m.Classes[0].Precision != nil || m.Classes[5].Precision != nil { // each is defined in one alone
		t.Error("a precision that one lacks has a mean")
	}
	if m.Interval != Wilson(0.875, 4) || m.N != 4 || m.Confusion[0][0] != 1 || m.Confusion[0][5] != 1 || m.Confusion[1][1] != 4 {
		t.Errorf("%+v", m)
	}
	if one := Mean([]Figures{a.Figures()}); one.Top1 != a.Figures().Top1 || one.ECE != a.Figures().ECE {
		t.Errorf("the mean of one is %+v", one)
	}
}
