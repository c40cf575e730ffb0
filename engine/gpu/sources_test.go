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
