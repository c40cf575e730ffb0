package onnx

import (
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"testing"

	"github.com/potstill/potstill/layers/checkpoint"
)

// codesOf returns the constants of whole numbers in a file, by type, shape and bits.
// Nodes may share zero points, and the columns of a matrix behind a flatten may lie in
// another order.
func codesOf(t *testing.T, file []byte) map[string]bool {
	t.Helper()
	found := make(map[string]bool)
	for _, x := range readBack(t, file).tensors {
		if x.dtype != typeInt8 && x.dtype != typeUint8 && x.dtype != typeInt32 {
			continue
		}
		if x.dtype == typeInt8 && len(x.shape) == 2 {
			for row := range slices.Chunk(x.raw, x.shape[1]) {
				slices.Sort(row)
			}
		}
		found[fmt.Sprintf("%d %v %x", x.dtype, x.shape, x.raw)] = true
	}
	return found
}

// TestIntegersAgain: a file in 8 bits comes in as weights in float32 with quantizers, and
// goes out with the very integers that it had: codes of weights, biases, zero points.
func TestIntegersAgain(t *testing.T) {
	for _, name := range []string{"cnn-plain", "cnn-dwpw", "resnet18", "gated", "joined"} {
		path := filepath.Join("testdata", name+"-qdq.onnx")
		before, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		c, err := checkpoint.Open(path, checkpoint.OpenOptions{})
		if err != nil {
			t.Errorf("%s: %v", path, err)
			continue
		}
		kept := filepath.Join(t.TempDir(), "kept.safetensors") // and through our own file
		if _, err := checkpoint.Save(kept, c); err != nil {
			t.Fatal(err)
		}
		if c, err = checkpoint.Load(kept); err != nil {
			t.Fatal(err)
		}
		want, got := codesOf(t, before), codesOf(t, encode(t, c, Options{Int8: QDQ}))
		if len(want) < 4 || !maps.Equal(got, want) {
			t.Errorf("%s: %d different constants of integers, and %d when it is written again", path, len(want), len(got))
			for k := range want {
				if !got[k] {
					t.Logf("lost: %.80s", k)
				}
			}
			for k := range got {
				if !want[k] {
					t.Logf("new: %.80s", k)
				}
			}
		}
	}
}
