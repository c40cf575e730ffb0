package main

import (
	"path/filepath"
	"reflect"
	"strings"
	"testing"

	"github.com/potstill/potstill/layers/checkpoint"
)

// A net for gray images that are not square is trained, evaluated, used and
// resumed as any other.
func TestGrayAndNotSquare(t *testing.T) {
	out := filepath.Join(t.TempDir(), "out")
	v := decode(t, succeeds(t, small("train", "--out", out, "--gray", "--size", "20x24", "--rotation", "5", "--cutmix", "1", "--rand-augment", "2,9",
		"--erase", "0.2", "--class-weights", "balanced", "--balanced-sampling", "--json")...).out)
	best := v["best"].(string)
	c, err := checkpoint.Load(best)
	if err != nil {
		t.Fatal(err)
	}
	if want := (checkpoint.Preprocess{Size: 20, Width: 24, Gray: true}); !reflect.DeepEqual(c.Preprocess, want) || c.Net.Input.Channels != 1 {
		t.Errorf("%+v, %+v", c.Preprocess, c.Net.Input)
	}
	e := decode(t, succeeds(t, "eval", "--data", "builtin:fashion", "--model", best, "--limit", "60", "--json").out)
	if e["top1"] != v["val_accuracy"] {
		t.Errorf("eval finds %v, training %v", e["top1"], v["val_accuracy"])
	}
	picture := filepath.Join(t.TempDir(), "a.jpg")
	writeJPEG(t, picture, 90)
	succeeds(t, "predict", "--model", best, picture)
	if r := succeeds(t, "summary", best); !strings.Contains(r.out, "1x20x24") || !strings.Contains(r.out, "20x24") {
		t.Errorf("summary says\n%s", r.out)
	}
	b := decode(t, succeeds(t, "bench", "model", best, "--runs", "3", "--time", "1ms", "--json").out)
	if b["height"] != 20.0 || b["width"] != 24.0 || b["batch"] != 1.0 || b["runs"].(float64) < 3 || !(b["p50_ms"].(float64) <= b["p99_ms"].(float64)) {
		t.Errorf("bench model: %v", b)
	}
	fails(t, []string{"square"}, "convert", best, filepath.Join(t.TempDir(), "a.onnx"))
	// A student of the gray net may see color, and the other way round.
	succeeds(t, small("distill", "--out", filepath.Join(t.TempDir(), "color"), "--teacher", best)...)
	succeeds(t, "train", "--resume", "--out", out, "--epochs", "2")
	for flag, bad := range map[string]string{"--size": "20x", "--class-weights": "often", "--rand-augment": "2,99", "--erase": "2"} {
		r := potstill(t, small("train", "--out", filepath.Join(t.TempDir(), "bad"), flag, bad)...)
		if r.code == 0 {
			t.Errorf("%s %s is taken", flag, bad)
		}
	}
}

func TestLRFind(t *testing.T) {
	v := decode(t, succeeds(t, "lr-find", "--data", "builtin:fashion", "--base", "4", "--limit", "60", "--batch", "20", "--steps", "20", "--json").out)
	has(t, v, "steepest", "lowest", "diverged", "points")
	if n := len(v["points"].([]any)); n < 10 || n > 20 {
		t.Errorf("%d points", n)
	}
	if r := potstill(t, "lr-find", "--data", "builtin:fashion", "--lr", "0.1"); r.code == 0 || !strings.Contains(r.err, "--lr has no effect") {
		t.Errorf("--lr: %d, %s", r.code, r.err)
	}
}
