package cpu

import (
	"os"
	"path/filepath"
	"testing"
)

// TestReadCaches reads a folder as Linux has it, one with nonsense, and none.
func TestReadCaches(t *testing.T) {
	dir := t.TempDir()
	write := func(index, level, kind, size string) {
		d := filepath.Join(dir, index)
		if err := os.MkdirAll(d, 0o755); err != nil {
			t.Fatal(err)
		}
		for name, text := range map[string]string{"level": level, "type": kind, "size": size} {
			if err := os.WriteFile(filepath.Join(d, name), []byte(text+"\n"), 0o644); err != nil {
				t.Fatal(err)
			}
		}
	}
	unknown := readCaches(filepath.Join(dir, "missing"))
	if unknown.first <= 0 || unknown.second <= unknown.first {
		t.Errorf("where nothing is known the caches are %+v", unknown)
	}
	write("index0", "1", "Data", "48K")
	write("index1", "1", "Instruction", "32K")
	write("index2", "2", "Unified", "2M")
	if got, want := readCaches(dir), (cacheSizes{48 << 10, 2 << 20}); got != want {
		t.Errorf("caches are %+v, want %+v", got, want)
	}
	for _, size := range []string{"", "-4K", "many", "99999999999999999999K", "9999999M"} {
		write("index0", "1", "Data", size)
		if got := readCaches(dir).first; got != unknown.first {
			t.Errorf("a size of %q is read as %d", size, got)
		}
	}
}
