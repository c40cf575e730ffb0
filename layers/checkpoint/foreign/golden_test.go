package foreign

import (
	"bytes"
	"encoding/hex"
	"encoding/json"
	"errors"
	"math"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/potstill/potstill/layers/checkpoint/torch"
)

// golden is what scripts/golden_formats.py says that a file holds.
type golden struct {
	Format  string
	Notes   int
	Tensors []struct {
		Name, DType, Hex string
		Shape            []int
		Min, Max         *float64
		Decoded          string
	}
}

func goldens(t testing.TB) map[string]golden {
	t.Helper()
	b, err := os.ReadFile("testdata/expected.json")
	if err != nil {
		t.Fatal(err)
	}
	all := map[string]golden{}
	if err := json.Unmarshal(b, &all); err != nil {
		t.Fatal(err)
	}
	if len(all) < 30 {
		t.Fatalf("only %d goldens", len(all))
	}
	return all
}

// TestGoldens reads what PyTorch and NumPy wrote, and wants every bit.
func TestGoldens(t *testing.T) {
	for name, want := range goldens(t) {
		t.Run(name, func(t *testing.T) {
			path := filepath.Join("testdata", name)
			f, err := Read(path)
			if err != nil {
				t.Fatal(err)
			}
			if f.Path != path || f.Format != want.Format || len(f.Notes) != want.Notes || len(f.Tensors) != len(want.Tensors) {
				t.Fatalf("read %s as %s with %d tensors and the notes %q, want %s, %d and %d", f.Path, f.Format, len(f.Tensors), f.Notes, want.Format, len(want.Tensors), want.Notes)
			}
			for i, w := range want.Tensors {
				got := &f.Tensors[i]
				if got.Name != w.Name || got.DType != w.DType || !slices.Equal(got.Shape, w.Shape) {
					t.Errorf("tensor %d is %s, %s%v; want %s, %s%v", i, got.Name, got.DType, got.Shape, w.Name, w.DType, w.Shape)
					continue
				}
				data := bits(t, got)
				if w.Min != nil {
					data = got.Codes
					if !got.Coded || got.Min != *w.Min || got.Max != *w.Max || hex.EncodeToString(bits(t, got)) != w.Decoded {
						t.Errorf("%s: coded %t on %g to %g, decoded %v", w.Name, got.Coded, got.Min, got.Max, got.Float)
					}
				} else if got.Coded || got.Codes != nil {
					t.Errorf("%s is coded", w.Name)
				}
				if hex.EncodeToString(data) != w.Hex {
					t.Errorf("%s is %x, want %s", w.Name, data, w.Hex)
				}
			}
		})
	}
}

func bits(t *testing.T, x *Tensor) []byte {
	t.Helper()
	b, err := x.Encode()
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// TestRoundTrip writes what was read from each golden as PyTorch's zip file and
// wants it back, bit for bit.
func TestRoundTrip(t *testing.T) {
	for name := range goldens(t) {
		f, err := Read(filepath.Join("testdata", name))
		if err != nil {
			t.Fatal(err)
		}
		path := filepath.Join(t.TempDir(), "model.pt")
		n, err := torch.Write(path, f.Tensors)
		if err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		info, err := os.Stat(path)
		if err != nil || info.Size() != n {
			t.Errorf("%s: %d bytes were written, %v, %v", name, n, info, err)
		}
		again, err := Read(path)
		if err != nil || len(again.Tensors) != len(f.Tensors) || again.Format != torch.FormatZip || len(again.Notes) != 0 {
			t.Errorf("%s came back as %+v, %v", name, again, err)
			continue
		}
		for i := range f.Tensors {
			x, y := &f.Tensors[i], &again.Tensors[i]
			if x.Name != y.Name || y.DType != x.Stored() || !slices.Equal(x.Shape, y.Shape) || !bytes.Equal(bits(t, x), bits(t, y)) {
				t.Errorf("%s: %s, %s%v came back as %s, %s%v", name, x.Name, x.Stored(), x.Shape, y.Name, y.DType, y.Shape)
			}
		}
	}
}

// TestNotes wants what was done to the file told.
func TestNotes(t *testing.T) {
	f, err := Read("testdata/zip_checkpoint.pt")
	if err != nil {
		t.Fatal(err)
	}
	all := strings.Join(f.Notes, "\n")
	for _, want := range []string{`found under "state_dict"`, `"epoch", "optimizer", "best"`, "and 4 more", `the prefix "module."`} {
		if !strings.Contains(all, want) {
			t.Errorf("the notes %q do not tell %q", f.Notes, want)
		}
	}
}

// TestSignallingNaNs wants all 65536 patterns of the narrow types back.
func TestSignallingNaNs(t *testing.T) {
	for _, dtype := range []string{"float16", "bfloat16"} {
		x := Tensor{Name: "x", DType: dtype, Shape: []int{1 << 16}}
		for i := range 1 << 16 {
			v := math.Float32frombits(uint32(i) << 16)
			if dtype == "float16" {
				v = widened(uint16(i))
			}
			x.Float = append(x.Float, v)
		}
		b := bits(t, &x)
		for i := range 1 << 16 {
			if got := int(b[2*i]) | int(b[2*i+1])<<8; got != i {
				t.Fatalf("%s %#04x came back as %#04x", dtype, i, got)
			}
		}
	}
}

// widened is the float32 of a float16, by its definition.
func widened(h uint16) float32 {
	sign := uint32(h>>15) << 31
	exponent, fraction := uint32(h>>10&31), uint32(h&1023)
	switch exponent {
	case 0:
		v := math.Ldexp(float64(fraction), -24)
		return math.Float32frombits(sign | math.Float32bits(float32(v)))
	case 31:
		return math.Float32frombits(sign | 0xff<<23 | fraction<<13)
	}
	return math.Float32frombits(sign | (exponent+112)<<23 | fraction<<13)
}

func TestReadErrors(t *testing.T) {
	folder := t.TempDir()
	absent := filepath.Join(folder, "absent.pt")
	_, err := Read(absent)
	if !errors.Is(err, os.ErrNotExist) || !strings.HasPrefix(err.Error(), "read "+absent+": ") {
		t.Errorf("reading nothing: %v", err)
	}
	if _, err := Read(folder); err == nil || !strings.Contains(err.Error(), "not a regular file") {
		t.Errorf("reading a folder: %v", err)
	}
}

// TestReadSpendsNothingOnOtherFiles reads sparse terabytes, one of zeros and
// one that begins as a file of PyTorch.
func TestReadSpendsNothingOnOtherFiles(t *testing.T) {
	for begin, want := range map[string]string{"\x00\x00": "of no known format", "PK\x03\x04": "more than the 4294967296 allowed", "\x80\x02}": "more than the 4294967296 allowed"} {
		path := filepath.Join(t.TempDir(), "sparse")
		if err := os.WriteFile(path, []byte(begin), 0o644); err != nil {
			t.Fatal(err)
		}
		if err := os.Truncate(path, 1<<40); err != nil {
			t.Skip("no sparse files here: ", err)
		}
		_, err := Read(path)
		if err == nil || !strings.Contains(err.Error(), want) || !strings.HasPrefix(err.Error(), path+": ") {
			t.Errorf("a terabyte that begins with %q: %v", begin, err)
		}
	}
}
