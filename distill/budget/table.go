package budget

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"math"
	"os"
	"path/filepath"
	"sync"

	"github.com/potstill/potstill/engine/atomicfile"
)

// A Table holds measured times of steps, in milliseconds by their keys. A time is
// measured once and kept: a search that looks at its table again comes to the same
// sums. The zero Table is empty and has no file. It may be used by several goroutines.
type Table struct {
	mu    sync.Mutex
	path  string
	ms    map[string]float64
	fresh bool // there are times that the file does not have
}

// tableFormat is the version of the file.
const tableFormat = 1

type tableFile struct {
	Format int                `json:"potstill_times"`
	MS     map[string]float64 `json:"ms"`
}

// OpenTable reads the table in a file, which need not exist. A file that is no table,
// because it was cut off or is of another version, counts as an empty one, and the
// next Save replaces it.
func OpenTable(path string) (*Table, error) {
	t := &Table{path: path}
	ms, err := readTable(path)
	t.ms = ms
	return t, err
}

// readTable returns the valid times in a file.
func readTable(path string) (map[string]float64, error) {
	text, err := os.ReadFile(path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("the table of times: %w", err)
	}
	var f tableFile
	if json.Unmarshal(text, &f) != nil || f.Format != tableFormat {
		return nil, nil
	}
	maps.DeleteFunc(f.MS, func(_ string, ms float64) bool { return !(ms >= 0) || math.IsInf(ms, 0) })
	return f.MS, nil
}

// Save writes the table to its file, if there is anything new in it. A reader finds the
// old file or the whole new one. Times that another process has added meanwhile are
// kept; of a key that both have measured, the file keeps the first.
func (t *Table) Save() error {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.path == "" || !t.fresh {
		return nil
	}
	all := maps.Clone(t.ms)
	theirs, err := readTable(t.path)
	if err != nil {
		return err
	}
	maps.Copy(all, theirs)
	text, err := json.MarshalIndent(tableFile{tableFormat, all}, "", " ")
	if err == nil {
		err = replace(t.path, text)
	}
	if err != nil {
		return fmt.Errorf("the table of times: %w", err)
	}
	t.fresh = false
	return nil
}

// replace writes a file as a whole, and its folder if need be.
func replace(path string, text []byte) error {
	if err := os.MkdirAll(filepath.Dir(path), 0o777); err != nil {
		return err
	}
	return atomicfile.Write(path, text, 0o666)
}

// Len returns the number of times.
func (t *Table) Len() int {
	t.mu.Lock()
	defer t.mu.Unlock()
	return len(t.ms)
}

// lacks returns how many of the keys have no time.
func (t *Table) lacks(keys []string) (n int) {
	t.mu.Lock()
	defer t.mu.Unlock()
	for _, k := range keys {
		if _, ok := t.ms[k]; !ok {
			n++
		}
	}
	return n
}

// add keeps the times of keys that have none, and returns how many. Of several steps
// with one key it keeps the mean.
func (t *Table) add(keys []string, ms []float64) int {
	t.mu.Lock()
	defer t.mu.Unlock()
	sum, count := make(map[string]float64), make(map[string]float64)
	for i, k := range keys {
		if _, ok := t.ms[k]; !ok {
			sum[k] += ms[i]
			count[k]++
		}
	}
	if t.ms == nil {
		t.ms = make(map[string]float64)
	}
	for k := range sum {
		t.ms[k] = sum[k] / count[k]
	}
	t.fresh = t.fresh || len(sum) > 0
	return len(sum)
}

// sum adds up the times of keys.
func (t *Table) sum(keys []string) (ms float64, err error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	for _, k := range keys {
		v, ok := t.ms[k]
		if !ok {
			return 0, fmt.Errorf("the table of times has none of %s", k)
		}
		ms += v
	}
	return ms, nil
}
