package report

import (
	"encoding/json"
	"math"
	"os"
	"reflect"
	"strings"
	"testing"

	"gonum.org/v1/plot/plotter"

	"github.com/potstill/potstill/engine/metrics"
)

func shrinkSample() *Shrink {
	p := func(v float64) *float64 { return &v }
	s := &Shrink{
		Model: "start <b>.safetensors", Teacher: "ic02.onnx", Data: "cifar10", Budget: "98496B", Device: "cpu/avx2", Seed: 3, Seconds: 7300,
		Command: "potstill shrink --under 98496B", File: "out/shrunk.safetensors", ValImages: 5000, TestImages: 10000, Notes: []string{"one seed"},
		Limits: []ShrinkLimit{{"bytes", 98496, 98000}, {"ms of a batch of 1", 0.5, 0.6}},
	}
	for i := range 30 {
		c := ShrinkCandidate{Round: i / 3, Move: "conv1 32→24", Accuracy: 0.9 - 0.002*float64(i%7), Accepted: i%3 == 0, Fits: i > 24}
		c.Bytes = int64(300000 - 7000*i)
		s.Candidates = append(s.Candidates, c)
	}
	s.Nets = []ShrinkNet{
		{Name: "final net", ShrinkCost: ShrinkCost{Bytes: 98000, MS: 0.6}, ValAccuracy: p(0.88), TestAccuracy: p(0.8712)},
		{Name: "start net", ShrinkCost: ShrinkCost{Bytes: 300000}, TestAccuracy: p(0.91),
			Beside: &metrics.Paired{Images: 10000, Lost: 500, Won: 112, Difference: -0.0388, Interval: metrics.Interval{Low: -0.043, High: -0.034}, P: 1e-40}},
	}
	s.Layers = []ShrinkLayer{{Name: "conv1", Kind: "Conv2d", Before: 32, After: 24, Bits: 5, Bytes: 1234, MACs: 99000, MS: 0.1}, {Name: "conv9", Kind: "Conv2d", Before: 16}}
	return s
}

func TestWriteShrink(t *testing.T) {
	dir := t.TempDir()
	s := shrinkSample()
	p, err := WriteShrink(dir, s)
	if err != nil {
		t.Fatal(err)
	}
	page, err := os.ReadFile(p.HTML)
	if err != nil {
		t.Fatal(err)
	}
	html := string(page)
	for _, want := range []string{
		"start &lt;b&gt;.safetensors under 98496B", "98,496", "not met", "1 of 2 met", "The budget is not met", "87.12 %", "−3.88", "1e-40",
		"conv1 32→24", "5 bits", "gone", "2 h 1 min", "budget</text>", "final net</text>", "5,000 validation images", "potstill shrink --under 98496B", "one seed.",
	} {
		if !strings.Contains(html, want) {
			t.Errorf("report.html lacks %q", want)
		}
	}
	for _, never := range []string{"<script", "http://", "https://", "start <b>"} {
		if strings.Contains(html, never) {
			t.Errorf("report.html holds %q", never)
		}
	}
	text, err := os.ReadFile(p.JSON)
	if err != nil {
		t.Fatal(err)
	}
	var back Shrink
	if err := json.Unmarshal(text, &back); err != nil || !reflect.DeepEqual(&back, s) {
		t.Errorf("results.json does not come back: %v", err)
	}
	s.Candidates[3].Accuracy = math.NaN()
	if _, err := WriteShrink(dir, s); err == nil {
		t.Error("a NaN was rendered")
	}
	if _, err := WriteShrink(t.TempDir(), &Shrink{Model: "m", Budget: "1B"}); err != nil {
		t.Errorf("a search that has only begun: %v", err)
	}
}

func TestFrontOf(t *testing.T) {
	got := frontOf(plotter.XYs{{X: 3, Y: 5}, {X: 1, Y: 2}, {X: 2, Y: 1}, {X: 3, Y: 6}, {X: 1, Y: 3}, {X: 4, Y: 6}})
	if want := (plotter.XYs{{X: 1, Y: 3}, {X: 3, Y: 6}}); !reflect.DeepEqual(got, want) {
		t.Errorf("%v, want %v", got, want)
	}
}
