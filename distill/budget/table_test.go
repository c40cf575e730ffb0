package budget

import (
	"os"
	"path/filepath"
	"reflect"
	"sync"
	"testing"
)

func TestTableKeepsTheFirst(t *testing.T) {
	path := filepath.Join(t.TempDir(), "deep", "times.json")
	a, err := OpenTable(path)
	if err != nil {
		t.Fatal(err)
	}
	b, _ := OpenTable(path)
	if n := a.add([]string{"x", "y", "y"}, []float64{1, 2, 4}); n != 2 {
		t.Errorf("%d added, want 2", n)
	}
	if n := a.add([]string{"x"}, []float64{9}); n != 0 {
		t.Error("a time was measured twice")
	}
	b.add([]string{"x", "z"}, []float64{7, 8})
	for _, x := range []*Table{a, b} {
		if err := x.Save(); err != nil {
			t.Fatal(err)
		}
	}
	c, err := OpenTable(path)
	if want := map[string]float64{"x": 1, "y": 3, "z": 8}; err != nil || !reflect.DeepEqual(c.ms, want) {
		t.Errorf("%v, %v, want %v", c.ms, err, want)
	}
	if ms, err := c.sum([]string{"x", "y", "y"}); err != nil || ms != 7 {
		t.Errorf("sum %g, %v, want 7", ms, err)
	}
	if _, err := c.sum([]string{"no"}); err == nil {
		t.Error("the sum of what was never measured")
	}
	if left, _ := filepath.Glob(filepath.Join(filepath.Dir(path), "*.tmp")); len(left) > 0 {
		t.Errorf("left behind: %v", left)
	}
}

func TestTableFromABrokenFile(t *testing.T) {
	path := filepath.Join(t.TempDir(), "times.json")
	for _, text := range []string{"", "{", `{"potstill_times":99,"ms":{"x":1}}`, `{"potstill_times":1,"ms":{"x":-1}}`, `{"potstill_times":1,"ms":{"x":"1"}}`} {
		if err := os.WriteFile(path, []byte(text), 0o666); err != nil {
			t.Fatal(err)
		}
		a, err := OpenTable(path)
		if err != nil || a.Len() != 0 {
			t.Errorf("%q: %d times, %v", text, a.Len(), err)
		}
		a.add([]string{"k"}, []float64{5})
		if err := a.Save(); err != nil {
			t.Fatal(err)
		}
		if b, err := OpenTable(path); err != nil || b.Len() != 1 {
			t.Errorf("after %q: %d times, %v", text, b.Len(), err)
		}
	}
}

func TestTableOfManyAtOnce(t *testing.T) {
	path := filepath.Join(t.TempDir(), "times.json")
	var wg sync.WaitGroup
	for i := range 8 {
		wg.Go(func() {
			a, err := OpenTable(path)
			if err != nil {
				t.Error(err)
				return
			}
			a.add([]string{string(rune('a' + i))}, []float64{float64(i)})
			if err := a.Save(); err != nil {
				t.Error(err)
			}
		})
	}
	wg.Wait()
	if a, err := OpenTable(path); err != nil || a.Len() == 0 {
		t.Errorf("%d times, %v: the file must be whole", a.Len(), err)
	}
}
