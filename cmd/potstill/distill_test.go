package main

import (
	"path/filepath"
	"strings"
	"testing"

	"github.com/potstill/potstill/layers"
	"github.com/potstill/potstill/layers/checkpoint"
)

// teacherOf writes a model for the ten built-in classes under the name that a document gives to a
// teacher's file, in the format of its extension, and returns its path. The name tells the family.
func teacherOf(t *testing.T, dir, name string) string {
	t.Helper()
	a := layers.Arch{Family: "cnn-plain", Classes: 10, Base: 4}
	switch {
	case strings.Contains(name, "mobile"):
		a.Family = "mobilenet_v2"
	case strings.Contains(name, "resnet18"):
		a.Family = "resnet18"
	}
	path := filepath.Join(dir, strings.ReplaceAll(name, "/", "-"))
	torch := path
	if ext := filepath.Ext(name); ext == ".onnx" || ext == ".safetensors" {
		torch = path + ".pth"
	}
	torchModel(t, torch, a, asNamed)
	if torch != path {
		succeeds(t, "convert", torch, path)
	}
	return path
}

// TestDistillCommandsOfDocuments runs the commands of distill that the documents show, each on a few
// pictures: under an imported ONNX file, under two teachers, under a mobilenet_v2, with other losses, and as pilots.
func TestDistillCommandsOfDocuments(t *testing.T) {
	met := make(map[string]bool)
	for _, doc := range []string{"README.md", "docs/distillation.md", "docs/nets.md"} {
		for _, line := range strings.Split(string(read(t, "../../"+doc)), "\n") {
			words, _, _ := strings.Cut(strings.TrimSpace(line), " #")
			args := strings.Fields(words)
			if len(args) < 2 || args[0] != "bin/potstill" || args[1] != "distill" || strings.Contains(line, "…") {
				continue
			}
			args = args[1:]
			dir := t.TempDir()
			for i := 1; i < len(args); i++ {
				switch args[i-1] {
				case "--data":
					args[i] = "builtin:fashion"
				case "--out":
					args[i] = filepath.Join(dir, "out")
				case "--teacher":
					met[args[i]] = true
					if !strings.HasPrefix(args[i], checkpoint.BuiltinPrefix) {
						args[i] = teacherOf(t, dir, args[i])
					}
				case "--arch":
					if layers.IsYAML(args[i]) {
						args[i] = "../../" + args[i]
					}
				}
			}
			args = append(args, "--limit", "20", "--epochs", "1", "--batch", "10", "--size", "64", "--resize", "64", "--threads", "2")
			if strings.Contains(line, "--compare") {
				met["--compare"] = true
				args = append(args, "--pilot-seeds", "1")
			}
			if r := succeeds(t, args...); !strings.Contains(r.out, "validation accuracy") {
				t.Errorf("%s: %s ends with %q", doc, words, r.out)
			}
		}
	}
	for _, want := range []string{"teacher.onnx", "a.onnx", "b.pth", "mobilenet_v2.pth", "resnet18.pth", "builtin:fashion-resnet18", "--compare"} {
		if !met[want] {
			t.Errorf("no command has %s", want)
		}
	}
}
