package fit

import (
	"context"
	"fmt"
	"image"
	"image/color"
	"image/png"
	"os"
	"path/filepath"
	"testing"

	"github.com/potstill/potstill/engine/data"
	"github.com/potstill/potstill/layers"
)

// listedData is a dataset of two numbered classes, with their names in classes.txt.
func listedData(t *testing.T, classes string) *data.Dataset {
	t.Helper()
	dir := t.TempDir()
	for _, part := range []string{"train", "val"} {
		for i := range 6 {
			m := image.NewGray(image.Rect(0, 0, 8, 8))
			m.SetGray(i, i, color.Gray{Y: uint8(40 * i)})
			path := filepath.Join(dir, part, fmt.Sprintf("%d_%d.png", i%2, i))
			if err := os.MkdirAll(filepath.Dir(path), 0o777); err != nil {
				t.Fatal(err)
			}
			f, err := os.Create(path)
			if err != nil {
				t.Fatal(err)
			}
			if err := png.Encode(f, m); err != nil {
				t.Fatal(err)
			}
			if err := f.Close(); err != nil {
				t.Fatal(err)
			}
		}
	}
	if classes != "" {
		if err := os.WriteFile(filepath.Join(dir, "classes.txt"), []byte(classes), 0o666); err != nil {
			t.Fatal(err)
		}
	}
	ds, err := data.Open(context.Background(), dir, data.Options{CacheDir: t.TempDir()})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = ds.Close() })
	return ds
}

// TestNumberedClasses: a model that was made before classes.txt was read knows
// its classes by number, and is taken for the same data.
func TestNumberedClasses(t *testing.T) {
	c := drawn(t, layers.Arch{Family: "cnn-plain", Base: 4, Classes: 2}, 1)
	c.Classes = []string{"0", "1"}
	for list, ok := range map[string]bool{"daisy\nrose\n": true, "": true} {
		ds := listedData(t, list)
		if list != "" && ds.Classes[0] != "daisy" {
			t.Fatalf("classes %q", ds.Classes)
		}
		if err := c.CheckDataset(ds); (err == nil) != ok {
			t.Errorf("%q: %v", list, err)
		}
	}
	ds := listedData(t, "daisy\nrose\n")
	c.Classes = []string{"rose", "daisy"}
	oneLine(t, c.CheckDataset(ds), `class 0 of the model is "rose", of the data "daisy"`)
	c.Classes = []string{"0", "2"}
	oneLine(t, c.CheckDataset(ds), `class 0 of the model is "0", of the data "daisy"`)
	// Ü and U with a diaeresis behind it are one name.
	c.Classes = []string{"\u00dcbel", "rose"}
	if err := c.CheckDataset(listedData(t, "U\u0308bel\nrose\n")); err != nil {
		t.Error(err)
	}
	three := drawn(t, layers.Arch{Family: "cnn-plain", Base: 4, Classes: 3}, 1)
	three.Classes = []string{"0", "1", "2"}
	oneLine(t, three.CheckDataset(ds), "the model has 3 classes, the data 2")
}
