package main

import (
	"bytes"
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// verifyLines runs verify on the committed cases and returns its lines by case.
func verifyLines(t *testing.T, r result) map[string]verified {
	t.Helper()
	out := make(map[string]verified)
	d := json.NewDecoder(bytes.NewReader([]byte(r.out)))
	for d.More() {
		var v verified
		if err := d.Decode(&v); err != nil {
			t.Fatal(err)
		}
		out[filepath.Base(v.Case)] = v
	}
	return out
}

// TestVerify holds some of ONNX's own cases to what they expect, on the CPU and
// through the stand-ins for CUDA. Some are what no classifier holds: a product of two
// matrices for each image, ranges found for each batch, several scales of one value.
func TestVerify(t *testing.T) {
	refused := map[string]string{"test_matmul_3d": "MatMul", "test_dynamicquantizelinear": "range of each batch", "test_quantizelinear_axis": "3 scales"}
	check := func(t *testing.T, device string) {
		r := potstill(t, "verify", "testdata/verify", "--device", device, "--json")
		if r.code != 1 || !strings.Contains(r.err, "3 of ") {
			t.Fatalf("exit status %d: %s%s", r.code, r.out, r.err)
		}
		lines := verifyLines(t, r)
		if len(lines) < 20 {
			t.Errorf("only %d cases", len(lines))
		}
		for name, v := range lines {
			if reason, held := refused[name]; v.OK == held || v.OK != (v.Error == "") || !strings.Contains(v.Error, reason) {
				t.Errorf("%s: %+v", name, v)
			}
		}
	}
	t.Run("cpu", func(t *testing.T) { check(t, "cpu") })
	t.Run("cuda", func(t *testing.T) {
		onFake(t)
		check(t, "cuda:0")
	})
}

// TestVerifyFails: an output that is off is told, and so is a folder without cases.
func TestVerifyFails(t *testing.T) {
	dir := t.TempDir()
	if err := os.CopyFS(dir, os.DirFS("testdata/verify/test_relu")); err != nil {
		t.Fatal(err)
	}
	succeeds(t, "verify", dir)
	name := filepath.Join(dir, "test_data_set_0", "output_0.pb")
	b := read(t, name)
	b[len(b)-1] ^= 0x40 // the exponent of the last element
	write(t, name, b)
	if r := potstill(t, "verify", dir); r.code != 1 || !strings.Contains(r.err, "1 of 1 cases failed") || !strings.Contains(r.out, "element 59 is") {
		t.Errorf("it says %s%s", r.out, r.err)
	}
	succeeds(t, "verify", dir, "--atol", "1e30")
	fails(t, []string{"no model.onnx in it"}, "verify", t.TempDir())
	fails(t, []string{"--rtol"}, "verify", dir, "--rtol", "-1")
	if err := os.RemoveAll(filepath.Join(dir, "test_data_set_0")); err != nil {
		t.Fatal(err)
	}
	if r := potstill(t, "verify", dir); r.code != 1 || !strings.Contains(r.out, "no test_data_set_0") {
		t.Errorf("it says %s%s", r.out, r.err)
	}
}

// TestONNXComesIn takes an ONNX file wherever a model's file is taken.
func TestONNXComesIn(t *testing.T) {
	dir := t.TempDir()
	file := "../../layers/checkpoint/onnx/testdata/cnn-plain.onnx"
	own := filepath.Join(dir, "own.safetensors")
	r := succeeds(t, "convert", file, own)
	if !strings.Contains(r.out, "ONNX") || !strings.Contains(r.out, "nodes became") {
		t.Errorf("convert says\n%s", r.out)
	}
	const advice = "convert --insert-batchnorm puts batch norms back"
	if !strings.Contains(r.out, "has no batch norms") || !strings.Contains(r.out, advice) {
		t.Errorf("no advice on batch norms in\n%s", r.out)
	}
	r = succeeds(t, "convert", file, filepath.Join(dir, "normed.safetensors"), "--insert-batchnorm", "--calibrate", "builtin:fashion", "--images", "16", "--size", "24")
	if !strings.Contains(r.out, "batch norms were put in") || strings.Contains(r.out, advice) {
		t.Errorf("with batch norms put in, convert says\n%s", r.out)
	}
	same := func(args ...string) {
		t.Helper()
		a := succeeds(t, append([]string{args[0], "--model", file}, args[1:]...)...)
		b := succeeds(t, append([]string{args[0], "--model", own}, args[1:]...)...)
		if a.out == "" || a.out != b.out {
			t.Errorf("%v says\n%s\nof the ONNX file, and\n%s\nof the converted one", args, a.out, b.out)
		}
	}
	picture := filepath.Join(dir, "p.jpg")
	writeJPEG(t, picture, 90)
	same("predict", picture, "--logits", "--json")
	succeeds(t, "quantize", "--model", file, "--out", filepath.Join(dir, "q.safetensors"))
	succeeds(t, "convert", file, filepath.Join(dir, "again.onnx"))
	v := decode(t, succeeds(t, "summary", file, "--json").out)
	if v["format"] != "ONNX" {
		t.Errorf("the format is %v", v["format"])
	}
	args := []string{"--data", "builtin:fashion", "--limit", "16", "--batch", "8", "--epochs", "1", "--size", "24"}
	succeeds(t, with([]string{"train", "--init", file, "--new-head", "--out", filepath.Join(dir, "train")}, args...)...)
	fails(t, []string{"leave the architecture out"}, "summary", file, "--arch", "cnn-plain")
}
