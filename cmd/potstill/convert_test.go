package main

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/potstill/potstill/layers"
	"github.com/potstill/potstill/layers/checkpoint/named"
	"github.com/potstill/potstill/layers/checkpoint/torch"
)

// torchModel writes a net of constants as PyTorch's state_dict, its names
// behind a prefix and changed by rename.
func torchModel(t *testing.T, path string, a layers.Arch, rename func(name string) string) {
	t.Helper()
	m, err := layers.New(a)
	if err != nil {
		t.Fatal(err)
	}
	var out []named.Tensor
	for i, s := range m.Slots() {
		x := named.Tensor{Name: rename(s.Variable.Name), Shape: s.Shape(), DType: "float32"}
		if len(x.Shape) == 0 {
			x.DType, x.Int = "int64", []int64{3}
		}
		for k := range x.Len() {
			if x.DType == "float32" {
				x.Float = append(x.Float, float32((i*7+k*13)%11+1)/40)
			}
		}
		out = append(out, x)
	}
	if _, err := torch.Write(path, out); err != nil {
		t.Fatal(err)
	}
}

func asNamed(name string) string { return name }

// TestConvertRound takes a trained model through every format, and compares
// what it predicts.
func TestConvertRound(t *testing.T) {
	dir := t.TempDir()
	picture := filepath.Join(dir, "a.jpg")
	writeJPEG(t, picture, 70)
	logits := func(model string) string {
		v := decode(t, succeeds(t, "predict", "--model", model, "--size", "24", "--json", picture).out)
		return fmt.Sprint(v["logits"])
	}
	want, from := logits(model(t)), model(t)
	for _, to := range []string{"a.pth", "b.safetensors", "c.pt", "deep/er/d.bin"} {
		to = filepath.Join(dir, to)
		v := decode(t, succeeds(t, "convert", from, to, "--json").out)
		has(t, v, "from", "to", "arch", "params")
		has(t, v["from"], "file", "format", "bytes", "sha256")
		if got := v["to"].(map[string]any); got["bytes"] != float64(len(read(t, to))) || got["file"] != to {
			t.Errorf("convert reports %v", got)
		}
		if got := logits(to); got != want {
			t.Errorf("%s predicts %s, want %s", to, got, want)
		}
		from = to
	}
	plain := filepath.Join(dir, "plain.safetensors")
	succeeds(t, "convert", from, plain, "--to", "safetensors")
	if got := logits(plain); got != want || bytes.Contains(read(t, plain), []byte("potstill")) {
		t.Errorf("the plain file predicts %s", got)
	}
	eight, own := filepath.Join(dir, "e.pkl"), filepath.Join(dir, "e.safetensors")
	r := succeeds(t, "convert", model(t), eight)
	if !strings.Contains(r.out, "rounded to 8-bit codes") {
		t.Errorf("convert says nothing of the rounding:\n%s", r.out)
	}
	succeeds(t, "convert", eight, own)
	succeeds(t, "convert", own, filepath.Join(dir, "e2.pkl"))
	if !bytes.Equal(read(t, eight), read(t, filepath.Join(dir, "e2.pkl"))) {
		t.Error("the codes did not come through our own file")
	}
	if a, b := logits(eight), logits(own); a != b {
		t.Errorf("the pickle predicts %s, our file of its codes %s", a, b)
	}
}

func TestConvertONNX(t *testing.T) {
	dir := t.TempDir()
	for to, args := range map[string][]string{
		"a.onnx": nil, "b.onnx": {"--keep-batch-norm"}, "c.onnx": {"--to", "onnx-codes"},
	} {
		to = filepath.Join(dir, to)
		succeeds(t, with([]string{"convert", model(t), to}, args...)...)
		if text := read(t, to); !bytes.Contains(text, []byte("images")) || !bytes.Contains(text, []byte("Ankle boot")) {
			t.Errorf("%s lacks the input or the classes", to)
		}
	}
	fails(t, []string{"potstill quantize", "--calibrate"}, "convert", model(t), filepath.Join(dir, "e.onnx"), "--to", "onnx-int8")
}

func TestConvertSaysWhatTheFileDoesNot(t *testing.T) {
	dir := t.TempDir()
	in, out, names := filepath.Join(dir, "in"), filepath.Join(dir, "out.safetensors"), filepath.Join(dir, "names.txt")
	torchModel(t, in, layers.Arch{Family: "cnn-plain", Classes: 2, Base: 2}, func(s string) string { return "module." + s })
	write(t, names, []byte("red\n\n blue \n"))
	succeeds(t, "convert", in, out, "--classes", names, "--size", "48", "--resize", "50", "--normalize", "imagenet")
	v := decode(t, succeeds(t, "summary", out, "--json").out)
	p := v["preprocess"].(map[string]any)
	if fmt.Sprint(v["classes"]) != "[red blue]" || p["size"] != 48.0 || p["resize"] != 50.0 || len(p["mean"].([]any)) != 3 {
		t.Errorf("classes %v, images %v", v["classes"], p)
	}
	h := v["history"].([]any)[0].(map[string]any)
	if h["kind"] != "import" || h["parent"] != decode(t, succeeds(t, "summary", in, "--json").out)["sha256"] {
		t.Errorf("the history is %v", v["history"])
	}
	write(t, names, []byte("red\n"))
	fails(t, []string{names, "1 names", "2 classes"}, "convert", in, out, "--classes", names)
}

func TestConvertRefuses(t *testing.T) {
	dir := t.TempDir()
	in, out := filepath.Join(dir, "in.pth"), filepath.Join(dir, "out.safetensors")
	torchModel(t, in, layers.Arch{Family: "resnet18", Classes: 3, Base: 2}, asNamed)
	link := filepath.Join(dir, "link.pth")
	if err := os.Symlink(in, link); err != nil {
		t.Skipf("symbolic links: %v", err)
	}
	before := read(t, in)
	fails(t, []string{in, "another name"}, "convert", in, in)
	fails(t, []string{link, "another name"}, "convert", in, link)
	fails(t, []string{dir, "is a folder"}, "convert", in, dir)
	fails(t, []string{`".h5"`, "--to"}, "convert", in, filepath.Join(dir, "a.h5"))
	fails(t, []string{"nowhere.pth"}, "convert", filepath.Join(dir, "nowhere.pth"), out)
	fails(t, []string{in, "it is not a cnn-dwpw"}, "convert", in, out, "--arch", "cnn-dwpw")
	fails(t, []string{in, `unknown model family "vgg"`}, "convert", in, out, "--arch", "vgg")
	fails(t, []string{filepath.Join(in, "a.pth"), "choose another"}, "convert", in, filepath.Join(in, "a.pth"))
	if !bytes.Equal(read(t, in), before) {
		t.Error("the input was changed")
	}
	if ok, err := exists(out); ok || err != nil {
		t.Errorf("a refused conversion left %s (%v)", out, err)
	}
	// A net of another kind: said with the tensor, and with the family that comes nearest.
	other := filepath.Join(dir, "other.pth")
	if _, err := torch.Write(other, []named.Tensor{
		{Name: "conv1.weight", Shape: []int{4, 3, 7, 7}, DType: "float32", Float: make([]float32, 588)},
		{Name: "conv1.bias", Shape: []int{4}, DType: "float32", Float: make([]float32, 4)},
	}); err != nil {
		t.Fatal(err)
	}
	fails(t, []string{other, `"conv1.weight" [4 3 7 7]`, "no known family"}, "convert", other, out)
}

// TestArchOverrides takes a file with tensors that the family does not have.
func TestArchOverrides(t *testing.T) {
	dir := t.TempDir()
	in, out := filepath.Join(dir, "in.pth"), filepath.Join(dir, "out.safetensors")
	m, err := layers.New(layers.Arch{Family: "cnn-plain", Classes: 3, Base: 2})
	if err != nil {
		t.Fatal(err)
	}
	var file []named.Tensor
	for _, s := range m.Slots() {
		if len(s.Shape()) > 0 { // no counters
			x := named.Tensor{Name: s.Variable.Name, Shape: s.Shape(), DType: "float32"}
			x.Float = make([]float32, x.Len())
			file = append(file, x)
		}
	}
	file = append(file, named.Tensor{Name: "aux.weight", Shape: []int{2, 2}, DType: "float32", Float: make([]float32, 4)})
	if _, err := torch.Write(in, file); err != nil {
		t.Fatal(err)
	}
	fails(t, []string{in, `beside it tensor "aux.weight" [2 2]`, "leave it out with --arch cnn-plain"}, "convert", in, out)
	r := succeeds(t, "convert", in, out, "--arch", "cnn-plain")
	if !strings.Contains(r.out, "aux.weight") || !strings.Contains(r.out, "num_batches_tracked") {
		t.Errorf("convert says nothing of what it left out and filled in:\n%s", r.out)
	}
	succeeds(t, "summary", in, "--arch", "cnn-plain")
}

// TestSummaryOfEveryFormat adds up the bytes of files of every format.
func TestSummaryOfEveryFormat(t *testing.T) {
	dir := t.TempDir()
	for _, c := range []struct{ file, to, format string }{
		{"a.safetensors", "potstill", "potstill"}, {"b.safetensors", "safetensors", "safetensors"}, {"c.pth", "torch", "PyTorch zip"},
		{"d.pkl", "study8", "8-bit pickle"}, {"e.pkl", "study16", "16-bit pickle"},
	} {
		path := filepath.Join(dir, c.file)
		succeeds(t, "convert", model(t), path, "--to", c.to)
		v := decode(t, succeeds(t, "summary", path, "--json").out)
		has(t, v, "format", "sha256", "parts", "history", "arch", "preprocess")
		sum := 0.0
		for _, p := range v["parts"].([]any) {
			has(t, p, "part", "bytes")
			sum += p.(map[string]any)["bytes"].(float64)
		}
		if n := float64(len(read(t, path))); v["format"] != c.format || v["file_bytes"] != n || sum != n {
			t.Errorf("%s: format %v, %v bytes, parts of %g, the file has %g", path, v["format"], v["file_bytes"], sum, n)
		}
		if sealed := v["sealed"] == true; sealed != (c.to == "potstill") {
			t.Errorf("%s: sealed %v", path, sealed)
		}
		text := succeeds(t, "summary", path).out
		for _, w := range []string{"format        " + c.format, "SHA-256", "history", "part of the file", "cnn-dwpw [4 8 16"} {
			if !strings.Contains(text, w) {
				t.Errorf("%s: the summary lacks %q:\n%s", path, w, text)
			}
		}
	}
}

// TestImportedModelsTrain: ImageNet's ResNet-18, its last layer replaced, and a
// teacher of PyTorch's.
func TestImportedModelsTrain(t *testing.T) {
	dir := t.TempDir()
	imagenet := filepath.Join(dir, "resnet18.pth")
	torchModel(t, imagenet, layers.Arch{Family: "resnet18", Classes: 1000, Base: 4}, asNamed)
	out := filepath.Join(dir, "tuned")
	r := succeeds(t, fromFile("train", imagenet, "--out", out, "--json")...)
	has(t, decode(t, r.out), "best", "val_accuracy")
	if want := "its last layer, for 1000 classes, is replaced by a new one for the 10 of"; strings.Count(r.err, want) != 1 {
		t.Errorf("the log does not say %q once:\n%s", want, r.err)
	}
	v := decode(t, succeeds(t, "summary", filepath.Join(out, "best.safetensors"), "--json").out)
	if a := v["arch"].(map[string]any); a["family"] != "resnet18" || a["classes"] != 10.0 || len(v["history"].([]any)) != 2 {
		t.Errorf("trained %v, history %v", a, v["history"])
	}
	succeeds(t, fromFile("train", model(t), "--new-head", "--out", filepath.Join(dir, "head"))...)
	fails(t, []string{"--init"}, small("train", "--new-head", "--out", filepath.Join(dir, "no"))...)

	teacher := filepath.Join(dir, "teacher.bin")
	torchModel(t, teacher, layers.Arch{Family: "resnet18", Classes: 10, Base: 4}, func(s string) string { return "net." + s })
	student := filepath.Join(dir, "student")
	succeeds(t, small("distill", "--teacher", teacher, "--out", student)...)
	v = decode(t, succeeds(t, "summary", filepath.Join(student, "best.safetensors"), "--json").out)
	if h := v["history"].([]any)[0].(map[string]any); h["teacher"] != decode(t, succeeds(t, "summary", teacher, "--json").out)["sha256"] {
		t.Errorf("the history is %v", h)
	}
	fails(t, []string{imagenet, "1000 classes", "teacher"}, small("distill", "--teacher", imagenet, "--out", filepath.Join(dir, "x"))...)
	for _, args := range [][]string{
		{"eval", "--data", "builtin:fashion", "--model", teacher, "--limit", "20", "--size", "28"}, {"explain", teacher},
		{"quantize", "--model", teacher, "--out", filepath.Join(dir, "q.safetensors")}, {"eval", "--data", "builtin:fashion", "--model", teacher, "--arch", "resnet18", "--limit", "20", "--size", "28"},
	} {
		succeeds(t, args...)
	}
}

// TestDamagedForeignFiles are refused in one line by whatever takes a model.
func TestDamagedForeignFiles(t *testing.T) {
	dir := t.TempDir()
	whole := filepath.Join(dir, "whole.pth")
	torchModel(t, whole, layers.Arch{Family: "cnn-plain", Classes: 10, Base: 2}, asNamed)
	text := read(t, whole)
	cut, odd, empty := filepath.Join(dir, "cut.pth"), filepath.Join(dir, "odd.pth"), filepath.Join(dir, "empty.pth")
	write(t, cut, text[:len(text)/2])
	write(t, odd, append([]byte{0, 0, 0, 0, 0, 1, 0, 0}, text...))
	write(t, empty, nil)
	for _, path := range []string{cut, odd, empty} {
		fails(t, []string{path}, "convert", path, filepath.Join(dir, "out.safetensors"))
		fails(t, []string{path}, "eval", "--model", path)
		fails(t, []string{path}, "summary", path)
		fails(t, []string{path}, "train", "--data", "builtin:fashion", "--init", path, "--out", filepath.Join(dir, "out"))
		fails(t, []string{path}, "distill", "--data", "builtin:fashion", "--teacher", path, "--out", filepath.Join(dir, "out"))
	}
}
