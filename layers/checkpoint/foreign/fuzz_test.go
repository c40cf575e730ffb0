package foreign

import (
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/potstill/potstill/layers/checkpoint/named"
)

// inputs are the goldens, and the files of TestStates and TestTypes.
func inputs(t testing.TB) map[string][]byte {
	t.Helper()
	paths, err := filepath.Glob(filepath.Join(statesDir, "*"))
	if err != nil {
		t.Fatal(err)
	}
	for name := range goldens(t) {
		paths = append(paths, filepath.Join("testdata", name))
	}
	all := map[string][]byte{}
	for _, path := range paths {
		if strings.HasSuffix(path, ".json") {
			continue
		}
		if all[path], err = os.ReadFile(path); err != nil {
			t.Fatal(err)
		}
	}
	if len(all) < 30+4 {
		t.Fatalf("only %d files", len(all))
	}
	return all
}

// TestEveryCut reads every golden cut short at every byte: none is taken for
// the whole file, and none ends in anything but one line.
func TestEveryCut(t *testing.T) {
	for name, b := range inputs(t) {
		for n := range b {
			f, err := Decode(b[:n])
			var format *FormatError
			if !errors.As(err, &format) || strings.Contains(err.Error(), "\n") {
				t.Fatalf("%s: the first %d of %d bytes gave %+v, %v", name, n, len(b), f, err)
			}
		}
	}
}

// TestEveryByte puts another value in the place of every byte of every golden,
// and wants no panic and no error but a line.
func TestEveryByte(t *testing.T) {
	for _, b := range inputs(t) {
		for i, right := range b {
			b[i] = right ^ [...]byte{1, 0x80, 0xff}[i%3]
			sound(t, b)
			b[i] = right
		}
	}
}

// sound decodes b and wants one line or consistent tensors.
func sound(t *testing.T, b []byte) {
	t.Helper()
	f, err := Decode(b)
	if err != nil {
		var format *FormatError
		if !errors.As(err, &format) || strings.ContainsAny(err.Error(), "\n\r") || len(err.Error()) > 1000 {
			t.Fatalf("error %q", err)
		}
		return
	}
	total := 0
	for i := range f.Tensors {
		x := &f.Tensors[i]
		n, ok := named.Volume(x.Shape)
		if !ok || max(len(x.Float), len(x.Int)) != n || x.Coded && len(x.Codes) != n || x.Double != nil && len(x.Double) != n {
			t.Fatalf("tensor %q of shape %v has %d floats, %d ints, %d codes", x.Name, x.Shape, len(x.Float), len(x.Int), len(x.Codes))
		}
		total += 4*len(x.Float) + 8*len(x.Int) + 8*len(x.Double) + len(x.Codes)
		if _, err := x.Encode(); err != nil {
			t.Fatal(err)
		}
	}
	if total > Expansion*len(b)+named.Allowance {
		t.Fatalf("%d bytes unfolded to %d", len(b), total)
	}
	names := make([]string, 0, len(f.Tensors))
	for i := range f.Tensors {
		names = append(names, f.Tensors[i].Name)
	}
	slices.Sort(names)
	if len(slices.Compact(names)) != len(f.Tensors) {
		t.Fatalf("a name occurs twice among %q", names)
	}
}

// FuzzDecode looks for panics, for tensors that do not fit their shape and for
// memory beyond what is stated, beginning with the goldens and the hostile files.
func FuzzDecode(f *testing.F) {
	for _, b := range inputs(f) {
		f.Add(b)
	}
	f.Add(model(f, withMetadata("FloatStorage", 4, negative)))
	for _, c := range chapters(f) {
		for _, h := range c.files {
			if len(h.data) < 4096 {
				f.Add(h.data)
			}
		}
	}
	f.Fuzz(sound)
}
