// Package potstill_test holds the house to its plan: imports go downward only,
// and nothing but the command knows the terminal.
package potstill_test

import (
	"encoding/json"
	"errors"
	"io"
	"os/exec"
	"slices"
	"strings"
	"testing"
)

const module = "github.com/potstill/potstill/"

// floors lists the rooms from the ground up. A package may import packages of
// lower floors only; rooms on one floor do not know each other. The longest
// matching entry counts for a package.
var floors = [][]string{
	{"engine/atomicfile", "engine/random", "engine/half", "engine/backendtest/cstruct", "engine/metrics", "engine/wire", "engine/yamldoc", "engine/data/picture", "distill/quant/observe", "distill/claim", "distill/study/script", "launch"},
	{"cuda", "cuda/kernels", "cuda/fake", "engine", "engine/data", "layers/checkpoint/named", "distill/study/report"},
	{"engine/ref", "engine/cpu", "engine/gpu", "engine/train", "mpi", "rendezvous", "engine/backendtest/late", "layers", "layers/checkpoint/safetensors", "layers/checkpoint/affine", "layers/checkpoint/pickle", "layers/checkpoint/onnxread"},
	{"engine/backendtest", "layers/checkpoint/checkpointtest", "layers/checkpoint/torch", "layers/checkpoint/study8"},
	{"layers/checkpoint/foreign", "layers/checkpoint/onnxnet", "layers/identify"},
	{"layers/checkpoint"},
	{"layers/checkpoint/onnx", "distill", "distill/budget", "distill/compress", "distill/eval"},
	{"distill/fit", "distill/lowrank", "distill/prune", "distill/quant"},
	{"distill/shrink"},
	{"layers/checkpoint/export", "distill/study"},
	{"cmd"},
}

// terminal lists what only the command may import.
var terminal = []string{
	"github.com/alecthomas/kong", "github.com/schollz/progressbar/v3", "golang.org/x/term",
}

type goPackage struct {
	ImportPath string
	Imports    []string
}

// floor returns the number and the room of a package.
func floor(path string) (n int, room string) {
	n = -1
	for i, rooms := range floors {
		for _, r := range rooms {
			if (path == r || strings.HasPrefix(path, r+"/")) && len(r) > len(room) {
				n, room = i, r
			}
		}
	}
	return n, room
}

func TestImportsGoDownward(t *testing.T) {
	for _, p := range packages(t) {
		path, ours := strings.CutPrefix(p.ImportPath, module)
		if !ours || strings.HasPrefix(path, "scripts") {
			continue // this package, and the generators
		}
		n, room := floor(path)
		if n < 0 {
			t.Errorf("%s is in no room of the house: give it one in floors, and in docs/architecture.md", path)
			continue
		}
		for _, imp := range p.Imports {
			if dep, ours := strings.CutPrefix(imp, module); ours {
				if m, other := floor(dep); m >= n && other != room {
					t.Errorf("%s (floor %d) imports %s (floor %d): imports go downward only", path, n, dep, m)
				}
			}
			if room != "cmd" && slices.Contains(terminal, imp) {
				t.Errorf("%s imports %s: only cmd knows the terminal", path, imp)
			}
		}
	}
}

func packages(t *testing.T) []goPackage {
	cmd := exec.Command("go", "list", "-json=ImportPath,Imports", "./...")
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("go list: %v", err)
	}
	var all []goPackage
	for dec := json.NewDecoder(strings.NewReader(string(out))); ; {
		var p goPackage
		if err := dec.Decode(&p); errors.Is(err, io.EOF) {
			break
		} else if err != nil {
			t.Fatal(err)
		}
		all = append(all, p)
	}
	if len(all) < 10 {
		t.Fatalf("go list found %d packages", len(all))
	}
	return all
}
