package study

import (
	"reflect"
	"slices"
	"strings"
	"testing"

	"github.com/potstill/potstill/engine/data"
)

// The settings of sampling, weights and augmentation reach the trainer.
func TestSettingsOfTheLoader(t *testing.T) {
	head := "study: a\ndata: {source: builtin:fashion, size: 28}\ndefaults: {class_weights: balanced, sampling: balanced}\nsteps:\n"
	r, err := Parse("a.yaml", []byte(head+`  a: {kind: train, arch: cnn-plain, cutmix: 1, mixup: 0.2, augment: {crop: true, rand_augment: {ops: 3}, erase: 0.25}}
  b: {kind: train, arch: cnn-plain, class_weights: [1, 0.5, 2], augment: {rand_augment: {magnitude: 5}}}
`))
	if err != nil {
		t.Fatal(err)
	}
	units, err := r.plan()
	if err != nil {
		t.Fatal(err)
	}
	a, b := units[0].train.Config, units[1].train.Config
	if a.CutMixAlpha != 1 || a.MixupAlpha != 0.2 || !a.BalancedWeights || !a.BalancedSampling || a.ClassWeights != nil {
		t.Errorf("a: %+v", a)
	}
	if want := data.RandomErasing(0.25); !reflect.DeepEqual(a.Train.Erase, want) || *a.Train.RandAugment != (data.RandAugment{Ops: 3, Magnitude: 9}) {
		t.Errorf("a: %+v", a.Train)
	}
	if !slices.Equal(b.ClassWeights, []float32{1, 0.5, 2}) || b.BalancedWeights || *b.Train.RandAugment != (data.RandAugment{Ops: 2, Magnitude: 5}) {
		t.Errorf("b: %+v", b)
	}
	for settings, want := range map[string]string{
		"class_weights: often":              "not \"often\"",
		"sampling: sometimes":               "not \"sometimes\"",
		"label_smoothing: 0.1":              "cannot be combined",
		"augment: {erase: 1.5}":             "erasing with probability 1.5",
		"augment: {rand_augment: {ops: 0}}": "1 to 8 operations",
	} {
		_, err := Parse("a.yaml", []byte(head+"  a: {kind: train, arch: cnn-plain, "+settings+"}\n"))
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: error %v", settings, err)
		}
	}
}

// A study may be of images that are not square, and have nets for gray ones.
func TestShapesInStudy(t *testing.T) {
	r := tiny(t, "size: 28", "size: 20\n  width: 24", "  pruned: {kind: prune, from: student, mult: 0.5, rows: [{table: Compression}]}\n", "",
		"  stale: {kind: prune, from: student, mult: 0.5, optimizer: stale, rows: [{table: Compression, notes: as published}]}\n", "",
		"  chart: {kind: prune, from: student, rate: 0.8, rounds: [1, 3], curve: falls}\n", "", "from: [student, int8, chart]", "from: [student]")
	res, _, _ := run(t, backend(t), r, Options{Dir: t.TempDir()})
	square, _, _ := run(t, backend(t), r, Options{Dir: t.TempDir(), Size: 20})
	if res.Data.Size != 20 || res.Data.Width != 24 || square.Data.Width != 0 || res.Rows[1].MACs <= square.Rows[1].MACs {
		t.Errorf("%+v, %d multiply-adds, and %+v, %d", res.Data, res.Rows[1].MACs, square.Data, square.Rows[1].MACs)
	}
}
