package main

import (
	"fmt"
	"math"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"
)

func TestHelpShowsAnExample(t *testing.T) {
	for _, cmd := range []string{
		"study run", "study list", "study show", "train", "distill", "convert", "prune", "factorize", "quantize", "eval", "predict",
		"summary", "explain", "bench train", "bench kernels", "cache show", "cache prune", "cache clear", "devices", "version",
		"completion", "man", "help",
	} {
		r := succeeds(t, with(strings.Fields(cmd), "--help")...)
		_, example, ok := strings.Cut(r.out, "Example")
		if !ok || !strings.Contains(example, "    potstill "+cmd) {
			t.Errorf("potstill %s --help shows no example:\n%s", cmd, r.out)
		}
	}
	if r := succeeds(t, "--help"); !strings.Contains(r.out, "Commands:") {
		t.Errorf("potstill --help lists no commands:\n%s", r.out)
	}
}

// The parameter counts of the study.
func TestSummaryOfFamilies(t *testing.T) {
	for family, params := range map[string]float64{
		"cnn-plain": 247179, "cnn-dwpw": 224011, "cnn-group": 218651,
		"cnn-group-printed": 199179, "hw7-student": 256779, "resnet18": 11182155,
	} {
		v := decode(t, succeeds(t, "summary", family, "--json", "--input", "3x64x64").out)
		has(t, v, "arch", "input", "params", "trainable", "macs", "bytes", "layers", "total_mb")
		if v["params"] != params {
			t.Errorf("%s has %v parameters, want %v", family, v["params"], params)
		}
		sum := 0.0
		for _, l := range v["layers"].([]any) {
			has(t, l, "name", "type", "output", "params", "macs", "bytes")
			sum += l.(map[string]any)["macs"].(float64)
		}
		if sum != v["macs"] {
			t.Errorf("%s: the layers' MACs sum to %v, the total is %v", family, sum, v["macs"])
		}
	}
	v := decode(t, succeeds(t, "summary", "cnn-dwpw", "--widths", "16,32,64,44,44,44,89,89,256", "--json").out)
	if v["params"] != 52902.0 {
		t.Errorf("the pruned cnn-dwpw has %v parameters, want 52902", v["params"])
	}
}

func TestSummaryOfFile(t *testing.T) {
	v := decode(t, succeeds(t, "summary", model(t), "--json").out)
	has(t, v, "params", "macs", "bytes", "layers", "file", "file_bytes", "classes", "preprocess", "history", "metrics")
	if n := len(read(t, model(t))); v["file_bytes"] != float64(n) {
		t.Errorf("file_bytes is %v, the file has %d", v["file_bytes"], n)
	}
	if r := succeeds(t, "summary", model(t)); !strings.Contains(r.out, "cnn.0.0") || !strings.Contains(r.out, "history") {
		t.Errorf("the table lacks layers or history:\n%s", r.out)
	}
}

func TestTrainAndEvalFigures(t *testing.T) {
	out := filepath.Join(t.TempDir(), "out")
	steps := filepath.Join(t.TempDir(), "steps.jsonl")
	v := decode(t, succeeds(t, small("train", "--out", out, "--json", "--log-steps", steps, "--optimizer", "sgd", "--momentum", "0.9",
		"--schedule", "cosine", "--clip-norm", "1", "--ema", "0.9", "--label-smoothing", "0.1", "--mixup", "0.2", "--jitter", "0.2,0.2,0.2,0.05",
		"--normalize", "imagenet", "--size", "20")...).out)
	has(t, v, "best", "last", "params", "bytes", "best_epoch", "val_accuracy", "val_loss", "history")
	lines := strings.Split(strings.TrimSpace(string(read(t, steps))), "\n")
	if len(lines) != 3 { // 60 images in batches of 20
		t.Fatalf("%d lines of steps, want 3", len(lines))
	}
	for _, line := range lines {
		has(t, decode(t, line), "epoch", "step", "update", "loss", "lr", "grad_norm")
	}
	e := decode(t, succeeds(t, "eval", "--data", "builtin:fashion", "--model", v["best"].(string), "--limit", "60", "--json").out)
	has(t, e, "top1", "top1_interval", "top5", "macro_f1", "ece", "loss", "n", "model", "data", "split", "images_per_second", "classes", "confusion", "skipped")
	if e["n"] != 60.0 || e["top1"] != v["val_accuracy"] || math.Abs(e["loss"].(float64)-v["val_loss"].(float64)) > 1e-6 {
		t.Errorf("eval finds n %v, top1 %v, loss %v; training reported %v, %v", e["n"], e["top1"], e["loss"], v["val_accuracy"], v["val_loss"])
	}
	text := succeeds(t, "eval", "--data", "builtin:fashion", "--model", v["best"].(string), "--limit", "60", "--confusion").out
	for _, want := range []string{"top-1", "(95 %: ", "top-5", "macro F1", "calibration error", "Ankle boot", "precision"} {
		if !strings.Contains(text, want) {
			t.Errorf("the table lacks %s:\n%s", want, text)
		}
	}
}

func TestStepLogOnStandardOutput(t *testing.T) {
	r := succeeds(t, small("train", "--out", t.TempDir(), "--log-steps", "-", "--no-augment", "--no-shuffle", "--json")...)
	lines := strings.SplitN(r.out, "\n", 4)
	for _, line := range lines[:3] {
		has(t, decode(t, line), "epoch", "step", "loss")
	}
	has(t, decode(t, lines[3]), "best", "history")
	if strings.Count(r.out, "\n") != 4 { // each is one line
		t.Errorf("standard output is\n%s", r.out)
	}
}

func TestPredict(t *testing.T) {
	dir := t.TempDir()
	one, two := filepath.Join(dir, "one.jpg"), filepath.Join(dir, "two.jpg")
	writeJPEG(t, one, 10)
	writeJPEG(t, two, 200)
	lines := strings.Split(strings.TrimSpace(succeeds(t, "predict", "--json", "--model", model(t), one, two).out), "\n")
	if len(lines) != 2 {
		t.Fatalf("%d lines for two images", len(lines))
	}
	for i, file := range []string{one, two} {
		v := decode(t, lines[i])
		has(t, v, "file", "logits", "top")
		if v["file"] != file || len(v["logits"].([]any)) != 10 {
			t.Errorf("line %d: file %v, logits %v", i, v["file"], v["logits"])
		}
		has(t, v["top"].([]any)[0], "class", "prob", "index")
	}
	if got := succeeds(t, "predict", "--json", "--model", model(t), dir).out; got != strings.Join(lines, "\n")+"\n" {
		t.Errorf("the folder gives\n%sits files\n%s", got, strings.Join(lines, "\n"))
	}
	for i := range 7 { // files that cannot be read do not keep the others from being predicted
		write(t, filepath.Join(dir, fmt.Sprintf("bad%d.jpg", i)), []byte("no picture"))
	}
	r := potstill(t, "predict", "--json", "--model", model(t), dir)
	if r.code != 1 || r.out != strings.Join(lines, "\n")+"\n" || !strings.Contains(r.err, "bad4.jpg") || !strings.Contains(r.err, "and 2 more of 9 files, which --all-bad names") {
		t.Errorf("with bad files: exit status %d\n%s%s", r.code, r.out, r.err)
	}
	r = potstill(t, "predict", "--json", "--all-bad", "--model", model(t), dir)
	if r.code != 1 || strings.Count(r.err, "warning: ") != 7 || !strings.Contains(r.err, "bad6.jpg") || lastLine(r.err) != "potstill: 7 of 9 files could not be read" {
		t.Errorf("with --all-bad: exit status %d\n%s%s", r.code, r.out, r.err)
	}
	text := succeeds(t, "predict", "--logits", "--top", "1", "--model", model(t), one).out
	if !strings.Contains(text, one) || !strings.Contains(text, "[") || strings.Count(text, "%") != 1 {
		t.Errorf("predict --logits --top 1 prints %q", text)
	}
}

func TestDistillPruneQuantize(t *testing.T) {
	dir := t.TempDir()
	v := decode(t, succeeds(t, small("distill", "--teacher-base", "4", "--out", dir, "--json")...).out)
	has(t, v, "best", "val_accuracy", "teacher")
	has(t, v["teacher"], "file", "val_accuracy")
	student := v["best"].(string)

	cut := filepath.Join(dir, "pruned.safetensors")
	p := decode(t, succeeds(t, "prune", "--model", student, "--mult", "0.5", "--out", dir, "--json").out)
	has(t, p, "before", "after", "params_before", "params_after", "kept", "file", "bytes")
	if p["file"] != cut || p["bytes"] != float64(len(read(t, cut))) {
		t.Errorf("prune reports %v, %v bytes", p["file"], p["bytes"])
	}
	succeeds(t, fromFile("train", cut, "--out", filepath.Join(dir, "tuned"))...)

	half := filepath.Join(dir, "half.safetensors")
	dry := decode(t, succeeds(t, "prune", "--model", student, "--macs", "0.5", "--rank", "global", "--out", half, "--dry-run", "--json").out)
	has(t, dry, "costs", "layers", "protected", "ratio", "kept")
	if _, err := os.Stat(half); err == nil {
		t.Error("--dry-run wrote a file")
	}
	h := decode(t, succeeds(t, "prune", "--model", student, "--macs", "0.5", "--rank", "global", "--out", half, "--json").out)
	if !reflect.DeepEqual(h["costs"], dry["costs"]) || h["bytes"] != h["costs"].(map[string]any)["after"].(map[string]any)["bytes"] {
		t.Errorf("told before: %v; after: %v, %v bytes", dry["costs"], h["costs"], h["bytes"])
	}
	table := succeeds(t, "prune", "--model", student, "--ratio", "0.5", "--protect", "cnn.3", "--dry-run").out
	if !strings.Contains(table, "stays: protected by cnn.3") || !strings.Contains(table, "multiply-adds") {
		t.Errorf("the table is %q", table)
	}

	low := filepath.Join(dir, "low.safetensors")
	f := decode(t, succeeds(t, "factorize", "--model", student, "--macs", "0.9", "--untimed", "--out", low, "--json").out)
	has(t, f, "file", "bytes", "macs_before", "macs_after", "params_before", "params_after", "layers")
	if f["macs_after"].(float64) > 0.9*f["macs_before"].(float64) || f["bytes"] != float64(len(read(t, low))) {
		t.Errorf("factorize reports %v of %v multiply-adds, %v bytes", f["macs_after"], f["macs_before"], f["bytes"])
	}

	coded := filepath.Join(dir, "8bit.safetensors")
	q := decode(t, succeeds(t, "quantize", "--model", student, "--out", coded, "--json").out)
	has(t, q, "scheme", "max_error", "tensors", "file", "bytes", "parent_bytes")
	if q["bytes"] != float64(len(read(t, coded))) || q["bytes"].(float64) > q["parent_bytes"].(float64)/2 {
		t.Errorf("quantize reports %v bytes of %v", q["bytes"], q["parent_bytes"])
	}
	has(t, decode(t, succeeds(t, "eval", "--data", "builtin:fashion", "--model", coded, "--limit", "20", "--json").out), "top1", "loss", "n")
}

func TestExplainBenchDevicesVersion(t *testing.T) {
	v := decode(t, succeeds(t, "explain", "cnn-dwpw", "--base", "4", "--input", "3x28x28", "--batch", "2", "--train", "--teacher", "resnet18", "--json").out)
	has(t, v, "backend", "steps", "arena_bytes", "peak_bytes", "flops")
	if r := succeeds(t, "explain", model(t), "--batch", "1"); !strings.Contains(r.out, "FoldBatchNorm") {
		t.Errorf("the plan of inference shows no folding:\n%s", r.out)
	}
	quick := []string{"--arch", "cnn-dwpw,resnet18", "--base", "4", "--size", "16", "--batch", "2", "--time", "1ms", "--json"}
	v = decode(t, succeeds(t, with([]string{"bench", "train"}, quick...)...).out)
	has(t, v, "device", "threads", "rows")
	rows := v["rows"].([]any)
	if len(rows) != 5 {
		t.Errorf("%d rows, want training and inference of two nets, and distillation", len(rows))
	}
	has(t, rows[0], "arch", "mode", "ms", "images_per_second", "gflops")
	v = decode(t, succeeds(t, with([]string{"bench", "train", "--data", "builtin:fashion"}, quick...)...).out)
	rows = v["rows"].([]any)
	var modes []string
	for _, r := range rows[5:] {
		if modes = append(modes, r.(map[string]any)["mode"].(string)); r.(map[string]any)["images_per_second"].(float64) <= 0 {
			t.Errorf("the pipeline's row %v has no speed", r)
		}
	}
	if got := strings.Join(modes, " "); got != "load fed fed" {
		t.Errorf("with --data the rows behind are %q, want the pipeline alone and feeding two nets", got)
	}
	v = decode(t, succeeds(t, with([]string{"bench", "kernels", "--filter", "conv2d"}, quick...)...).out)
	has(t, v, "limits", "rows")
	has(t, v["limits"], "matrix_gflops", "copy_gbs")
	has(t, v["rows"].([]any)[0], "op", "in", "out", "us", "gflops", "gbs", "percent", "bound")
	v = decode(t, succeeds(t, "devices", "--json").out)
	has(t, v, "devices", "cuda")
	has(t, v["devices"].([]any)[0], "name", "backend", "cores", "threads", "variants")
	has(t, decode(t, succeeds(t, "version", "--json").out), "version", "go", "platform")
}
