package shrink

import (
	"context"
	"encoding/json"
	"path/filepath"
	"reflect"
	"strings"
	"testing"

	"github.com/potstill/potstill/distill/budget"
	"github.com/potstill/potstill/engine/data"
	"github.com/potstill/potstill/layers/checkpoint"
)

func TestUnits(t *testing.T) {
	for text, want := range map[string]Units{`"0-3,5,8-9"`: {0, 1, 2, 3, 5, 8, 9}, `"7"`: {7}, `""`: nil} {
		var u Units
		if err := json.Unmarshal([]byte(text), &u); err != nil || !reflect.DeepEqual(u, want) {
			t.Errorf("%s is read as %v (%v)", text, u, err)
		}
		if got, err := json.Marshal(want); err != nil || string(got) != text {
			t.Errorf("%v is written as %s (%v)", want, got, err)
		}
	}
	var u Units
	if err := json.Unmarshal([]byte("[4,1]"), &u); err != nil || !reflect.DeepEqual(u, Units{4, 1}) {
		t.Errorf("a list is read as %v (%v)", u, err)
	}
	for _, bad := range []string{`"3-1"`, `"a"`, `"0-999999999"`, `"-4"`, `"1,,2"`, `7`} {
		if err := json.Unmarshal([]byte(bad), &u); err == nil {
			t.Errorf("%s is read as %v", bad, u)
		}
	}
}

// TestStructure: the parts of a layer that was taken apart have its bits, and smaller
// images are prepared and trained with in proportion.
func TestStructure(t *testing.T) {
	c := start(t)
	x := candidate{c: c, bits: map[string]int{"conv1": 8}}
	names := weighted(c.Net)
	last := names[len(names)-3]
	x.bits[last] = 4
	y, err := x.apply([]Move{{Kind: Rank, At: last, Form: "channel", Ranks: []int{2}}, {Kind: Size, Size: 24}})
	if err != nil {
		t.Fatal(err)
	}
	if want := map[string]int{"conv1": 8, last + ".0": 4, last + ".1": 4}; !reflect.DeepEqual(y.bits, want) {
		t.Errorf("bits %v, want %v", y.bits, want)
	}
	if y.c.Preprocess.Size != 24 || c.Preprocess.Size != 28 {
		t.Errorf("images of %d, before of %d", y.c.Preprocess.Size, c.Preprocess.Size)
	}
	tr := resizedTransform(data.Transform{Size: 224, Resize: 256, Padding: 8}, 112)
	if want := (data.Transform{Size: 112, Resize: 128, Padding: 4}); !reflect.DeepEqual(tr, want) {
		t.Errorf("%+v", tr)
	}
	// Twice smaller, the preparation and the one that is trained with are still the same.
	env := environment(t)
	o := options(budget.Limits{MACs: 1})
	c.Preprocess.Resize = 33
	o.Train.Train.Resize, o.Train.Eval.Resize = 33, 33
	s, err := newSearch(env, c, []*checkpoint.Checkpoint{c}, o.withDefaults())
	if err != nil {
		t.Fatal(err)
	}
	z, err := candidate{c: c, bits: map[string]int{}}.apply([]Move{{Kind: Size, Size: 24}, {Kind: Size, Size: 20}})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := s.fit(context.Background(), s.tune, z.c, t.TempDir(), "small", o.Train); err != nil {
		t.Error(err)
	}
	for _, bad := range []Move{{Kind: Size, Size: 29}, {Kind: Size}, {Kind: Rank, At: last, Form: "channel", Ranks: []int{9999}}, {Kind: Rank, At: "nobody", Form: "svd", Ranks: []int{1}}, {Kind: Block, At: last}} {
		if _, err := x.apply([]Move{bad}); err == nil {
			t.Errorf("%+v is made", bad)
		}
	}
}

// TestProposals: each kind of move is found where it saves something.
func TestProposals(t *testing.T) {
	env, c := environment(t), start(t)
	o := options(budget.Limits{MACs: 100000})
	s, err := newSearch(env, c, []*checkpoint.Checkpoint{c}, o.withDefaults())
	if err != nil {
		t.Fatal(err)
	}
	ctx := context.Background()
	x := s.first()
	w, err := x.written()
	if err != nil {
		t.Fatal(err)
	}
	cost, err := s.meter.Cost(ctx, w)
	if err != nil {
		t.Fatal(err)
	}
	if moves, err := s.ranks(ctx, x, cost); err != nil || moves != nil {
		t.Errorf("without a price, the ranks are %v (%v)", moves, err)
	}
	// A price at which any loss is worth it.
	s.target = 1
	s.journal.Trials = []Trial{{Round: 1, Name: "together", Target: 1, Cost: budget.Cost{MACs: cost.MACs - 1}, Moves: []Move{{Kind: Width, Loss: 1}}}}
	ranks, err := s.ranks(ctx, x, cost)
	if err != nil || len(ranks) == 0 {
		t.Fatalf("the ranks are %v (%v)", ranks, err)
	}
	if m, err := s.smaller(ctx, x); err != nil || len(m) != 1 || m[0].Size != 24 {
		t.Errorf("smaller images: %v (%v)", m, err)
	}
	if m, err := s.cheapestBlock(ctx, x); err != nil || len(m) != 1 {
		t.Errorf("the cheapest block: %v (%v)", m, err)
	}
	y, err := x.apply(ranks)
	if err != nil {
		t.Fatal(err)
	}
	if w, err = y.written(); err != nil {
		t.Fatal(err)
	}
	if less, err := s.meter.Cost(ctx, w); err != nil || less.MACs >= cost.MACs {
		t.Errorf("taken apart, it costs %+v, before %+v (%v)", less, cost, err)
	}
}

// TestGrow: a start net of a family is about twice the budget, and a recipe that is no
// recipe is refused.
func TestGrow(t *testing.T) {
	env := environment(t)
	limits := budget.Limits{Bytes: 16000}
	c, err := Grow(context.Background(), env, "mlperf_resnet8", checkpoint.Preprocess{Size: 28}, nil, 1, options(limits))
	if err != nil {
		t.Fatal(err)
	}
	w, err := withMost(c, []int{8}, nil).written()
	if err != nil {
		t.Fatal(err)
	}
	if n, err := checkpoint.Size(w); err != nil || n > 2*limits.Bytes || n < limits.Bytes*3/2 {
		t.Errorf("the start net has %d bytes under %d (%v)", n, limits.Bytes, err)
	}
	if _, err := Grow(context.Background(), env, "mlperf_resnet8", checkpoint.Preprocess{Size: 28}, nil, 1, options(budget.Limits{Bytes: 100})); err == nil || !strings.Contains(err.Error(), "narrowest") {
		t.Errorf("100 bytes: %v", err)
	}
	if _, err := ReadRecipe(filepath.Join(env.Dir, "start", "best.safetensors")); err == nil {
		t.Error("a checkpoint is read as a recipe")
	}
	for _, bad := range []string{"", "potstill_shrink: 2", "potstill_shrink: 1\nsteps: {}", "- 1", "{"} {
		if _, err := parseRecipe([]byte(bad)); err == nil {
			t.Errorf("%q is read as a recipe", bad)
		}
	}
}
