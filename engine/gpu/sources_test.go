package gpu

import (
	"fmt"
	"hash/fnv"
	"os"
	"path/filepath"
	"testing"
)

// sourcesEnv names a folder into which tests write every source that they had
// compiled, with its macros: scripts/nvrtc.sh gives them to the real NVRTC.
const sourcesEnv = "POTSTILL_KERNEL_SOURCES"

// writeSources writes what b has compiled as SOURCE-HASH.cu, the macros in front.
func writeSources(t testing.TB, b *Backend) {
	dir := os.Getenv(sourcesEnv)
	if dir == "" {
		return
	}
	for key := range b.modules {
		text, err := b.source(key.source)
		if err != nil {
			t.Error(err)
			continue
		}
		h := fnv.New64a()
		fmt.Fprint(h, key.defines)
		name := fmt.Sprintf("%s-%016x.cu", key.source, h.Sum64())
		if err := os.WriteFile(filepath.Join(dir, name), []byte("// "+key.defines+"\n"+text), 0o666); err != nil {
			t.Error(err)
		}
	}
}

// TestOtherSources compiles what no operator runs: the check of weights, and the
// noise on which implementations are timed.
func TestOtherSources(t *testing.T) {
	b := openBackend(t, fakeOptions(t))
	for source, names := range map[string][]string{"check": {"all_finite"}, "noise": {"noise", "noise_bf16"}} {
		for _, name := range names {
			if _, err := b.function(source, name); err != nil {
				t.Error(err)
			}
		}
	}
	if _, err := b.function("check", "all_finite", "-DBF16"); err != nil {
		t.Error(err)
	}
}
