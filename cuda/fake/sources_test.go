package fake_test

import (
	"testing"

	"github.com/potstill/potstill/cuda/kernels"
)

// TestSourcesCompile shows that the host's compiler takes every source, in both storage types.
func TestSourcesCompile(t *testing.T) {
	r := newRig(t)
	for _, name := range kernels.Names() {
		for _, options := range [][]string{nil, {"-DBF16"}} {
			source, err := kernels.Source(name)
			if err != nil {
				t.Fatal(err)
			}
			m, err := r.Compile(name, source, options...)
			if err != nil {
				t.Errorf("%s %v: %v", name, options, err)
				continue
			}
			if err := m.Close(); err != nil {
				t.Error(err)
			}
		}
	}
}
