package main

import (
	"path/filepath"
	"strings"
	"testing"

	"github.com/potstill/potstill/layers"
	"github.com/potstill/potstill/layers/checkpoint/foreign"
	"github.com/potstill/potstill/layers/checkpoint/torch"
)

// TestWeights chooses one of two nets in a file, in every command that reads
// one, and wants both named where none is chosen.
func TestWeights(t *testing.T) {
	dir := t.TempDir()
	two := filepath.Join(dir, "two.pth")
	var all []foreign.Tensor
	for _, prefix := range []string{"teacher.", "student."} {
		path := filepath.Join(dir, prefix+"pth")
		torchModel(t, path, layers.Arch{Family: "cnn-dwpw", Classes: 3, Base: 2}, func(name string) string { return prefix + name })
		f, err := foreign.Read(path)
		if err != nil {
			t.Fatal(err)
		}
		for i := range f.Tensors[0].Float {
			f.Tensors[0].Float[i] += float32(len(all))
		}
		all = append(all, f.Tensors...)
	}
	if _, err := torch.Write(two, all); err != nil {
		t.Fatal(err)
	}
	picture := pictureIn(t, "a.jpg")
	want := []string{two, `"teacher." and "student."`, "--weights teacher or --weights student"}
	for _, args := range [][]string{
		{"predict", "--model", two, picture}, {"predict", "--model", two, "--arch", "cnn-dwpw", picture}, {"summary", two},
		{"convert", two, filepath.Join(dir, "out.pth")}, {"train", "--data", "builtin:fashion", "--init", two, "--out", filepath.Join(dir, "run")},
	} {
		fails(t, want, args...)
	}
	var logits []string
	for _, w := range []string{"teacher", "student"} {
		r := succeeds(t, "predict", "--model", two, "--weights", w, "--json", picture)
		logits = append(logits, r.out)
		out := filepath.Join(dir, w+".safetensors")
		succeeds(t, "convert", two, out, "--weights", w, "--size", "256", "--resize", "256")
		if again := succeeds(t, "predict", "--model", out, "--json", picture); again.out != r.out || strings.Contains(again.err, "assumed") {
			t.Errorf("the %s that was taken out says %s (%s), want %s", w, again.out, again.err, r.out)
		}
	}
	data := pictureFolder(t, 12, "a", "b", "c")
	fails(t, []string{two, "--teacher-weights"}, "distill", "--data", data, "--teacher", two, "--out", filepath.Join(dir, "d"))
	succeeds(t, "distill", "--data", data, "--size", "28", "--epochs", "1", "--batch", "20", "--base", "2", "--teacher", two, "--teacher-weights", "teacher",
		"--out", filepath.Join(dir, "d"))
	succeeds(t, "train", "--data", data, "--epochs", "1", "--batch", "20", "--size", "28", "--init", two, "--weights", "student",
		"--out", filepath.Join(dir, "t"))
	fails(t, []string{"--init"}, "train", "--data", data, "--weights", "student", "--out", filepath.Join(dir, "u"))
	if logits[0] == logits[1] {
		t.Errorf("both nets say %s", logits[0])
	}
}

// TestAssumedPreprocessing wants what nobody has said of a model's images told,
// in predict, eval and summary, and no more once it was said.
func TestAssumedPreprocessing(t *testing.T) {
	dir := t.TempDir()
	in, out := filepath.Join(dir, "in.pth"), filepath.Join(dir, "out.safetensors")
	torchModel(t, in, layers.Arch{Family: "cnn-dwpw", Classes: 10, Base: 2}, asNamed)
	picture := pictureIn(t, "a.jpg")
	const line = "shorter side to 256, center crop to 256, divided by 255 (assumed: the file does not say)"
	for _, args := range [][]string{{"predict", "--model", in, picture}, {"eval", "--data", "builtin:fashion", "--model", in, "--limit", "4"}} {
		if r := succeeds(t, args...); strings.Count(r.err, line) != 1 || strings.Contains(r.err, "black frame") {
			t.Errorf("%s says %q", args[0], r.err)
		}
	}
	if r := succeeds(t, "predict", "--model", in, "--size", "24", picture); !strings.Contains(r.err, "shorter side to 24, center crop to 24") {
		t.Errorf("with a size, predict says %q", r.err)
	}
	if r := succeeds(t, "summary", in); !strings.Contains(r.out, line) {
		t.Errorf("summary says %s", r.out)
	}
	for _, c := range []struct {
		args []string
		want string
	}{
		{nil, line},
		{[]string{"--normalize", "imagenet"}, "(assumed: the file does not say)"},
		{[]string{"--size", "28"}, "images        center crop to 28, divided by 255\n"},
		{[]string{"--resize", "40"}, "images        shorter side to 40, center crop to 40, divided by 255\n"},
		{[]string{"--resize", "256", "--size", "224"}, "images        shorter side to 256, center crop to 224, divided by 255\n"},
	} {
		succeeds(t, append([]string{"convert", in, out}, c.args...)...)
		if r := succeeds(t, "summary", out); !strings.Contains(r.out, c.want) {
			t.Errorf("converted with %q, summary says %s", c.args, r.out)
		}
	}
}
