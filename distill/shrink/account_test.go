package shrink

import (
	"bytes"
	"context"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/potstill/potstill/distill/budget"
	"github.com/potstill/potstill/distill/compress"
	"github.com/potstill/potstill/distill/eval"
	"github.com/potstill/potstill/distill/study/report"
	"github.com/potstill/potstill/engine/data"
	"github.com/potstill/potstill/engine/metrics"
	"github.com/potstill/potstill/layers"
	"github.com/potstill/potstill/layers/checkpoint"
	"github.com/potstill/potstill/layers/checkpoint/checkpointtest"
)

// found saves a net as what a search has come to.
func found(t *testing.T, env compress.Env, seed uint64, trials ...Trial) *Outcome {
	t.Helper()
	m, s := checkpointtest.Draw(t, layers.Arch{Family: "mlperf_resnet8", Classes: 10, Base: 2}, seed)
	path := filepath.Join(env.Dir, ResultFile)
	if _, err := checkpoint.Save(path, &checkpoint.Checkpoint{Net: m.Net(), State: s, Classes: env.Data.Classes, Preprocess: checkpoint.Preprocess{Size: 28}}); err != nil {
		t.Fatal(err)
	}
	c, err := checkpoint.Load(path)
	if err != nil {
		t.Fatal(err)
	}
	return &Outcome{Best: c, Path: path, Journal: &Journal{Trials: trials, Seconds: 5}}
}

// split returns which images of a split a net gets right, image by image.
func split(t *testing.T, env compress.Env, c *checkpoint.Checkpoint, s *data.Split) (right []bool, share float64) {
	t.Helper()
	for i := range s.Len() {
		p, err := eval.Predict(context.Background(), env.Backend, c, []data.Image{s.Image(i)})
		if err != nil {
			t.Fatal(err)
		}
		k, _ := metrics.Confidence(p[0])
		right = append(right, k == s.Label(i))
		if right[i] {
			share++
		}
	}
	return right, share / float64(s.Len())
}

// TestAccount: the report has the cost of the file, the time of the program, and
// accuracies of both parts; differences are those on the test images, and on the
// validation images where there are no others.
func TestAccount(t *testing.T) {
	env, c := environment(t), start(t)
	env.Data.Test = env.Data.Test.Subset(50)
	out := found(t, env, 2, Trial{Name: "start", Judged: true, Accepted: true, Cost: budget.Cost{Bytes: 9e6}},
		Trial{Round: 1, Name: "bits", Moves: []Move{{Kind: Bits, At: "conv1", Bits: 4}, {Kind: Bits, At: "fc", Bits: 4}, {Kind: Block, At: "block1.add"}}, Judged: true, Accuracy: 0.5, Cost: budget.Cost{Bytes: 2}},
		Trial{Round: 1, Name: "widths"})
	o := options(budget.Limits{Bytes: 1e6, MS: 1e-6, Batch: 2})
	a, err := NewAccount(context.Background(), env, c, []*checkpoint.Checkpoint{c}, o, out)
	if err != nil {
		t.Fatal(err)
	}
	page, err := a.Report("potstill shrink")
	if err != nil {
		t.Fatal(err)
	}
	final, startNet := page.Nets[0], page.Nets[1]
	info, err := os.Stat(out.Path)
	if err != nil || final.Bytes != info.Size() || final.MS <= 0 || startNet.Bytes <= final.Bytes || startNet.Params <= final.Params {
		t.Errorf("the nets cost %+v and %+v (%v)", final.ShrinkCost, startNet.ShrinkCost, err)
	}
	for i, net := range []*checkpoint.Checkpoint{out.Best, c} {
		_, val := split(t, env, net, env.Data.Val)
		_, test := split(t, env, net, env.Data.Test)
		if n := page.Nets[i]; *n.ValAccuracy != val || *n.TestAccuracy != test {
			t.Errorf("%s has the accuracies %v and %v, want %v and %v", n.Name, *n.ValAccuracy, *n.TestAccuracy, val, test)
		}
	}
	right, _ := split(t, env, c, env.Data.Test)
	finals, _ := split(t, env, out.Best, env.Data.Test)
	if want := metrics.Pair(right, finals); final.Beside != nil || *startNet.Beside != want || want.Won+want.Lost == 0 {
		t.Errorf("the final net less the start net is %+v, want %+v", startNet.Beside, want)
	}
	checks := page.Checks()
	if len(checks) != 2 || !checks[0].Pass || checks[1].Pass || page.Limits[1].Got != final.MS {
		t.Errorf("the budget is checked as %+v", checks)
	}
	if len(page.Candidates) != 2 || page.Candidates[0].Fits || !page.Candidates[0].Accepted || page.Candidates[1].Move != "bits: 2 layers to 4 bits, block before block1.add gone" {
		t.Errorf("the candidates are %+v", page.Candidates)
	}
	if _, err := report.WriteShrink(env.Dir, page); err != nil {
		t.Error(err)
	}

	env.Data.Test = nil
	if a, err = NewAccount(context.Background(), env, c, nil, o, out); err != nil {
		t.Fatal(err)
	}
	if page, err = a.Report(""); err != nil {
		t.Fatal(err)
	}
	right, _ = split(t, env, c, env.Data.Val)
	finals, _ = split(t, env, out.Best, env.Data.Val)
	if n := page.Nets[1]; n.TestAccuracy != nil || *n.Beside != metrics.Pair(right, finals) {
		t.Errorf("without test images, the start net is told as %+v", n)
	}
	other := *c
	other.Classes = strings.Split("abcdefghij", "")
	if err := a.Beside(context.Background(), "another", &other); err == nil {
		t.Error("a net of other classes is compared")
	}
}

// TestPlain: the plain recipe meets the budget as well as its shares allow, comes to the
// same file after a stop, and is not made again.
func TestPlain(t *testing.T) {
	env, c := environment(t), start(t)
	env.Log = nil
	o := options(tight(t, env, c))
	whole, err := Plain(context.Background(), env, c, nil, o)
	if err != nil {
		t.Fatal(err)
	}
	cost, err := (&budget.Meter{Backend: env.Backend}).Cost(context.Background(), whole)
	if err != nil || !o.Under.Met(cost) || o.Under.Excess(cost) < 0.85 {
		t.Errorf("it costs %+v under %v (%v)", cost, o.Under, err)
	}
	groups, err := whole.Net.Groups()
	if err != nil {
		t.Fatal(err)
	}
	sizes := make(map[int]bool)
	for _, g := range groups {
		if g.Fixed == "" {
			sizes[g.Size] = true
		}
	}
	if len(sizes) != 3 { // of 4, 8 and 16 channels
		t.Errorf("groups have the sizes %v", sizes)
	}
	want, err := os.ReadFile(whole.Path)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat(filepath.Join(env.Dir, PlainDir, RecipeFile)); err == nil {
		t.Error("the plain recipe leaves a recipe that would repeat no search")
	}

	env.Dir = t.TempDir()
	ctx, cancel := context.WithCancel(context.Background())
	stopping := o
	stopping.Progress = func(stage string, done, of int, _ string) {
		if stage == "training with bits" {
			cancel()
		}
	}
	if _, err := Plain(ctx, env, c, nil, stopping); !errors.Is(err, context.Canceled) {
		t.Fatalf("stopped, it comes to %v", err)
	}
	again, err := Plain(context.Background(), env, c, nil, o)
	if err != nil {
		t.Fatal(err)
	}
	if got, err := os.ReadFile(again.Path); err != nil || !bytes.Equal(got, want) {
		t.Errorf("resumed, it comes to another file (%v)", err)
	}
	o.Progress = func(string, int, int, string) { t.Error("a plain recipe that is there is trained again") }
	if _, err := Plain(context.Background(), env, c, nil, o); err != nil {
		t.Error(err)
	}
	env.Dir, o.Progress = t.TempDir(), nil
	o.Under = budget.Limits{Bytes: 1000}
	if _, err := Plain(context.Background(), env, c, nil, o); !errors.Is(err, ErrNotPlain) {
		t.Errorf("a budget that cannot be met comes to %v", err)
	}
}
