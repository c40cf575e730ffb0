package shrink

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/potstill/potstill/layers/checkpoint"
)

// TestExamples: the networks that lie in examples/shrunk are read, and are within the
// budgets of their recipes.
func TestExamples(t *testing.T) {
	for _, name := range []string{"ic-98k", "ic-49k"} {
		path := filepath.Join("..", "..", "examples", "shrunk", name)
		r, err := ReadRecipe(path + ".yaml")
		if err != nil {
			t.Error(err)
			continue
		}
		c, err := checkpoint.Load(path + ".safetensors")
		if err != nil {
			t.Error(err)
			continue
		}
		info, err := os.Stat(path + ".safetensors")
		if err != nil || info.Size() > r.Options.Under.Bytes || info.Size() != c.Bytes {
			t.Errorf("%s has %d bytes, its recipe allows %d (%v)", name, info.Size(), r.Options.Under.Bytes, err)
		}
		if _, integers := c.Net.Quantized(); !integers || len(c.Classes) != 10 {
			t.Errorf("%s has the classes %q, in integers: %v", name, c.Classes, integers)
		}
		if last := c.History[len(c.History)-1]; last.Kind != "shrink" || last.Parent != r.Start.SHA256 || last.Teacher != r.Teachers[0].SHA256 || last.Data != r.Data {
			t.Errorf("%s came about by %+v, and its recipe is of %+v", name, last, r.Start)
		}
	}
}
