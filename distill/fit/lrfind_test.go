package fit

import (
	"math"
	"os"
	"testing"
)

func TestFindLR(t *testing.T) {
	ds, b := fashion(t), backend(t)
	dir := t.TempDir()
	j := small(ds, dir)
	r := LRRange{From: 1e-5, To: 10, Steps: 60}
	f, err := FindLR(t.Context(), b, j, r)
	if err != nil {
		t.Fatal(err)
	}
	n := len(f.Points)
	if n > 60 || n < minSteps || f.Points[0].LR != 1e-5 || !(f.Steepest > 1e-5 && f.Steepest <= f.Lowest && f.Lowest <= 10) {
		t.Errorf("%d points, %+v", n, f)
	}
	if n == 60 && math.Abs(f.Points[59].LR-10) > 1e-6 {
		t.Errorf("the last rate is %g", f.Points[59].LR)
	}
	if k := f.Points[9].LR / f.Points[8].LR; math.Abs(k-math.Pow(1e6, 1.0/59)) > 1e-9 {
		t.Errorf("the rates rise by %g", k)
	}
	again, err := FindLR(t.Context(), b, j, r)
	if err != nil || again.Points[5] != f.Points[5] || again.Steepest != f.Steepest {
		t.Errorf("another search gives %+v, %v", again, err)
	}
	if left, err := os.ReadDir(dir); err != nil || len(left) != 0 {
		t.Errorf("files were left: %v, %v", left, err)
	}
	for _, bad := range []LRRange{{}, {From: 1, To: 0.1, Steps: 50}, {From: 1e-3, To: 1, Steps: 3}, {From: 1e-3, To: math.Inf(1), Steps: 50}} {
		if _, err := FindLR(t.Context(), b, j, bad); err == nil {
			t.Errorf("%+v is taken", bad)
		}
	}
}

// The suggestion of a loss that is flat, falls, and rises again.
func TestSuggestion(t *testing.T) {
	f := &LRFinding{}
	for i := range 60 {
		x := float64(i)
		loss := 2.3 - 2/(1+math.Exp(-(x-30)/3)) // the steepest at 30
		if i > 45 {
			loss += (x - 45) * (x - 45) * 0.5
		}
		f.Points = append(f.Points, LRPoint{LR: math.Pow(10, -6+x/10), Loss: loss, Smooth: loss})
	}
	f.judge()
	if at := math.Round(10 * (math.Log10(f.Steepest) + 6)); at != 30 {
		t.Errorf("the steepest fall is at step %g", at)
	}
	if at := math.Round(10 * (math.Log10(f.Lowest) + 6)); at < 43 || at > 46 {
		t.Errorf("the lowest loss is at step %g", at)
	}
	g := &LRFinding{}
	for range 5 {
		g.add(1, 3)
	}
	if s := g.Points[4].Smooth; math.Abs(s-3) > 1e-12 {
		t.Errorf("the average of equal losses is %g", s)
	}
}
