package cpu

import (
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
)

// cacheSizes are the bytes of the caches that a core has for itself.
type cacheSizes struct{ first, second int }

// caches returns the sizes of this machine's first cache for data and of its
// second cache: what Linux says of processor 0, or sizes that few have less of.
var caches = sync.OnceValue(func() cacheSizes { return readCaches("/sys/devices/system/cpu/cpu0/cache") })

// readCaches reads a folder of Linux's that describes a processor's caches.
func readCaches(dir string) cacheSizes {
	c := cacheSizes{first: 32 << 10, second: 512 << 10}
	all, _ := filepath.Glob(filepath.Join(dir, "index*")) // the pattern is none that is refused
	for _, d := range all {
		read := func(name string) string {
			b, _ := os.ReadFile(filepath.Join(d, name)) // an empty text where there is none
			return strings.TrimSpace(string(b))
		}
		size := cacheBytes(read("size"))
		if size <= 0 || read("type") == "Instruction" {
			continue
		}
		switch read("level") {
		case "1":
			c.first = size
		case "2":
			c.second = size
		}
	}
	return c
}

// cacheBytes reads a size as Linux writes it, "48K" or "2M"; 0 if it is none.
func cacheBytes(text string) int {
	unit := 1
	if n, ok := strings.CutSuffix(text, "K"); ok {
		text, unit = n, 1<<10
	} else if n, ok := strings.CutSuffix(text, "M"); ok {
		text, unit = n, 1<<20
	}
	n, err := strconv.Atoi(text)
	if err != nil || n < 0 || n > 1<<12 && unit == 1<<20 || n > 1<<22 {
		return 0
	}
	return n * unit
}
