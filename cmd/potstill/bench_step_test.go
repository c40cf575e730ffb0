package main

import (
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/potstill/potstill/layers"
	"github.com/potstill/potstill/layers/checkpoint/safetensors"
)

// A case measured on its own weights and one measured on those of its file give
// the same first figures, and a file of another case is refused.
func TestBenchStep(t *testing.T) {
	file := filepath.Join(t.TempDir(), "case.safetensors")
	quick := []string{"--time", "1ms", "--threads", "2", "--json"}
	for name, weights := range map[string]string{"block_train_64": "float32", "int8_predict_1_256": "dequantized", "dwpw_int8_1_256": "int8"} {
		succeeds(t, "bench", "step", name, "--save", file)
		loaded := decode(t, succeeds(t, with([]string{"bench", "step", name, "--load", file}, quick...)...).out)
		has(t, loaded, "name", "device", "threads", "ms", "steps", "check", "weights", "peak_bytes")
		made := decode(t, succeeds(t, with([]string{"bench", "step", name}, quick...)...).out)
		if a, b := loaded["check"].([]any), made["check"].([]any); !slices.Equal(a, b) || len(a) < 3 {
			t.Errorf("%s: the file's weights give %v, its own %v", name, a, b)
		}
		if loaded["weights"] != weights {
			t.Errorf("%s computes with %v weights, not %s", name, loaded["weights"], weights)
		}
		if loaded["ms"].(float64) <= 0 || loaded["steps"].(float64) < 3 {
			t.Errorf("%s: %v ms, %v steps", name, loaded["ms"], loaded["steps"])
		}
	}
	succeeds(t, "bench", "step", "int8_predict_1_256", "--save", file)
	fails(t, []string{file, "int8_predict_1_256", "--save"}, "bench", "step", "block_train_64", "--load", file)
	fails(t, []string{"nothing", "dwpw_train_128"}, "bench", "step", "nothing")
	fails(t, []string{"no-such-file"}, "bench", "step", "block_train_64", "--load", "no-such-file")
	if r := succeeds(t, "bench", "step"); !strings.Contains(r.out, "distill_128\n") {
		t.Errorf("the list lacks a case:\n%s", r.out)
	}
	if r := succeeds(t, "bench", "step", "--help"); !strings.Contains(r.out, "    potstill bench step ") {
		t.Errorf("the help shows no example:\n%s", r.out)
	}
}

// The file holds what another tool needs, under its names.
func TestBenchStepFile(t *testing.T) {
	file := filepath.Join(t.TempDir(), "case.safetensors")
	succeeds(t, "bench", "step", "block_train_64", "--save", file)
	f, err := safetensors.Read(file)
	if err != nil {
		t.Fatal(err)
	}
	for name, shape := range map[string][]int{
		"image": {8, 3, 64, 64}, "target": {8}, "net.conv.weight": {16, 3, 3, 3}, "net.bn.running_var": {16},
	} {
		if x, ok := f.Lookup(name); !ok || !slices.Equal(x.Shape, shape) {
			t.Errorf("%s is %v in the file, want %v", name, x, shape)
		}
	}
}

// Every case has a net, and none draws random numbers in a step.
func TestStepCaseNets(t *testing.T) {
	for name, sc := range stepCases {
		if sc.arch.Classes == 0 {
			sc.arch.Classes = stepClasses
		}
		m, err := sc.model()
		if err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		for _, module := range m.Net().Modules {
			switch k := module.Kind.(type) {
			case layers.Dropout:
				if k.P != 0 {
					t.Errorf("%s: %s drops with probability %g", name, module.Name, k.P)
				}
			case layers.StochasticDepth:
				if k.P != 0 {
					t.Errorf("%s: %s drops with probability %g", name, module.Name, k.P)
				}
			}
		}
	}
}

// The net of operators has those that the study's nets lack, and each is right on
// the CPU.
func TestBenchOperators(t *testing.T) {
	v := decode(t, succeeds(t, "bench", "kernels", "--arch", "operators", "--base", "2", "--size", "16", "--batch", "3", "--time", "1ms", "--check", "--json").out)
	seen := make(map[string]bool)
	for _, x := range v["rows"].([]any) {
		row := x.(map[string]any)
		seen[row["op"].(string)] = true
		if e := row["error"].(float64); !(e < 1e-4) {
			t.Errorf("%v %v is off by %g", row["op"], row["in"], e)
		}
	}
	for _, op := range []string{"Concat", "Slice", "ChannelShuffle", "Mul", "MulBackward", "LayerNorm", "LayerNormBackward", "GroupNorm", "LocalResponseNorm",
		"LocalResponseNormBackward", "Pad2D", "Pad2DBackward", "ScaleShift", "PReLU", "StochasticDepth", "AvgPool2D", "MaxPool2DBackward", "AdaptiveAvgPool2D", "Flatten"} {
		if !seen[op] {
			t.Errorf("%s is not measured", op)
		}
	}
}
