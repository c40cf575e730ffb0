package export

import (
	"bytes"
	"fmt"
	"math"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"

	"github.com/potstill/potstill/layers"
	"github.com/potstill/potstill/layers/checkpoint"
	"github.com/potstill/potstill/layers/checkpoint/checkpointtest"
	"github.com/potstill/potstill/layers/checkpoint/onnx"
	"github.com/potstill/potstill/layers/checkpoint/safetensors"
)

var quants = []string{checkpoint.Float32, checkpoint.Affine8, checkpoint.Affine8PerChannel, checkpoint.Affine4Block, checkpoint.Float16}

// sample returns a checkpoint whose state is what its quantization can hold.
func sample(t *testing.T, a layers.Arch, quant string) *checkpoint.Checkpoint {
	t.Helper()
	m, state := checkpointtest.Draw(t, a, 7)
	state = checkpointtest.Redraw(state, 8, checkpointtest.Trained)
	if quant != checkpoint.Float32 {
		var err error
		if state, err = checkpoint.Quantize(state, quant); err != nil {
			t.Fatal(err)
		}
	}
	c := &checkpoint.Checkpoint{
		Net: m.Net(), State: state, Preprocess: checkpoint.Preprocess{Size: 32},
		History: []checkpoint.Event{{Kind: "train"}},
	}
	for i := range a.Classes {
		c.Classes = append(c.Classes, fmt.Sprint("class ", i))
	}
	return c
}

// TestRoundTrips takes every net through every format that is read back.
func TestRoundTrips(t *testing.T) {
	for name, a := range checkpointtest.Architectures() {
		for _, quant := range quants {
			c := sample(t, a, quant)
			for _, format := range []string{Potstill, Safetensors, Torch, Study8, Study16} {
				t.Run(fmt.Sprintf("%s/%s/%s", name, quant, format), func(t *testing.T) { roundTrip(t, c, format) })
			}
		}
	}
}

func roundTrip(t *testing.T, c *checkpoint.Checkpoint, format string) {
	path := filepath.Join(t.TempDir(), "model")
	r, err := Write(path, format, c, Options{})
	if err != nil {
		t.Fatal(err)
	}
	i, err := checkpoint.Inspect(path, checkpoint.OpenOptions{})
	if err != nil {
		t.Fatal(err)
	}
	if info, err := os.Stat(path); err != nil || info.Size() != r.Bytes || i.Bytes != r.Bytes {
		t.Errorf("%d bytes reported, %d read, the file has %d (%v)", r.Bytes, i.Bytes, info.Size(), err)
	}
	checkParts(t, i)
	if !i.Net.Equal(c.Net) {
		t.Fatalf("came back as %+v, want %+v", i.Net.Arch(), c.Net.Arch())
	}
	want, quant := kept(t, c, format)
	if got := i.Scheme(); got != quant {
		t.Errorf("came back in %q, want %q", got, quant)
	}
	for k, e := range i.State {
		if w := want[k]; e.Name != w.Name || !slices.Equal(e.Shape, w.Shape) || !slices.Equal(e.Int, w.Int) || !sameBits(e.Data, w.Data) {
			t.Fatalf("tensor %d, %s %v, is not %s %v to the bit", k, e.Name, e.Shape, w.Name, w.Shape)
		}
	}
	again(t, path, format, i.Checkpoint)
}

// kept returns the state that a format keeps of c, and how it comes back: the
// study's pickles round to their own scheme, all others keep every bit.
func kept(t *testing.T, c *checkpoint.Checkpoint, format string) (layers.StateDict, string) {
	t.Helper()
	quant := c.Scheme()
	switch {
	case format == Study8:
		quant = checkpoint.Affine8
	case format == Study16:
		quant = checkpoint.Float16
	case format != Potstill && quant != checkpoint.Float16:
		return c.State, checkpoint.Float32
	}
	if quant == c.Scheme() {
		return c.State, quant
	}
	s, err := checkpoint.Quantize(c.State, quant)
	if err != nil {
		t.Fatal(err)
	}
	return s, quant
}

// again checks that what was read, written once more, gives the same file.
func again(t *testing.T, path, format string, c *checkpoint.Checkpoint) {
	t.Helper()
	second := path + "2"
	if _, err := Write(second, format, c, Options{}); err != nil {
		t.Fatal(err)
	}
	a, _ := os.ReadFile(path)
	b, err := os.ReadFile(second)
	if err != nil || !bytes.Equal(a, b) {
		t.Errorf("the second file differs from the first (%v)", err)
	}
}

// checkParts adds up the bytes of a file.
func checkParts(t *testing.T, i *checkpoint.Info) {
	t.Helper()
	var sum int64
	for _, p := range i.Parts {
		sum += p.Bytes
		if p.Bytes < 0 || p.Name == "" {
			t.Errorf("the part %+v", p)
		}
	}
	if sum != i.Bytes {
		t.Errorf("the parts %+v add up to %d bytes of %d", i.Parts, sum, i.Bytes)
	}
}

func sameBits(a, b []float32) bool {
	return slices.EqualFunc(a, b, func(x, y float32) bool { return math.Float32bits(x) == math.Float32bits(y) })
}

// TestChain takes a model from PyTorch's format to safetensors and back.
func TestChain(t *testing.T) {
	c := sample(t, layers.Arch{Family: "resnet18", Classes: 3, Base: 4}, checkpoint.Float32)
	dir := t.TempDir()
	paths := []string{filepath.Join(dir, "a.pth"), filepath.Join(dir, "b.safetensors"), filepath.Join(dir, "c.pth")}
	for i, format := range []string{Torch, Safetensors, Torch} {
		if _, err := Write(paths[i], format, c, Options{}); err != nil {
			t.Fatal(err)
		}
		var err error
		if c, err = checkpoint.Open(paths[i], checkpoint.OpenOptions{}); err != nil {
			t.Fatal(err)
		}
	}
	a, _ := os.ReadFile(paths[0])
	b, err := os.ReadFile(paths[2])
	if err != nil || !bytes.Equal(a, b) {
		t.Errorf("the files differ (%v)", err)
	}
}

// TestPlainIsForOthers: no seal, and what PyTorch's tools expect.
func TestPlainIsForOthers(t *testing.T) {
	path := filepath.Join(t.TempDir(), "model")
	if _, err := Write(path, Safetensors, sample(t, layers.Arch{Family: "cnn-plain", Classes: 2, Base: 2}, checkpoint.Affine8), Options{}); err != nil {
		t.Fatal(err)
	}
	f, err := safetensors.Read(path)
	if err != nil || f.Sealed || !reflect.DeepEqual(f.Metadata, map[string]string{"format": "pt"}) {
		t.Fatalf("sealed: %v, metadata %v (%v)", f.Sealed, f.Metadata, err)
	}
	if x, ok := f.Lookup("cnn.0.0.weight"); !ok || x.DType != safetensors.F32 {
		t.Errorf("the first weight is %+v", x)
	}
}

// TestONNX writes the three forms; package onnx checks what is in them.
func TestONNX(t *testing.T) {
	c := sample(t, layers.Arch{Family: "cnn-dwpw", Classes: 3, Base: 4}, checkpoint.Affine8PerChannel)
	dir := t.TempDir()
	sizes := make(map[string]int64)
	for _, format := range []string{ONNX, ONNXCodes} {
		r, err := Write(filepath.Join(dir, format), format, c, Options{ONNX: onnx.Options{Version: "x"}})
		if err != nil {
			t.Fatal(err)
		}
		sizes[format] = r.Bytes
	}
	if sizes[ONNXCodes] >= sizes[ONNX] {
		t.Errorf("codes take %d bytes, float32 %d", sizes[ONNXCodes], sizes[ONNX])
	}
	_, err := Write(filepath.Join(dir, "x"), ONNXInt8, c, Options{})
	if err == nil || !strings.Contains(err.Error(), "potstill quantize") {
		t.Errorf("without ranges: error %v, want one about calibration", err)
	}
}

func TestNotes(t *testing.T) {
	a := layers.Arch{Family: "cnn-plain", Classes: 2, Base: 4}
	for _, c := range []struct {
		quant, format string
		want          []string
		exact         bool
	}{
		{checkpoint.Float32, Potstill, nil, true},
		{checkpoint.Float32, Torch, []string{"class names, preprocessing, history"}, true},
		{checkpoint.Affine8, Study8, []string{"class names"}, true},
		{checkpoint.Affine8, Torch, []string{"8-bit codes"}, true},
		{checkpoint.Float32, Study8, []string{"rounded to 8-bit codes", "largest change"}, false},
		{checkpoint.Affine8PerChannel, Study8, []string{"had been rounded before (affine8-channel)"}, false},
		{checkpoint.Float32, Study16, []string{"rounded to 16 bits"}, false},
	} {
		r, err := Write(filepath.Join(t.TempDir(), "m"), c.format, sample(t, a, c.quant), Options{})
		if err != nil {
			t.Fatal(err)
		}
		notes := strings.Join(r.Notes, "; ")
		for _, w := range c.want {
			if !strings.Contains(notes, w) {
				t.Errorf("%s to %s: the notes %q lack %q", c.quant, c.format, notes, w)
			}
		}
		if c.want == nil && notes != "" || (r.MaxError == 0) != c.exact {
			t.Errorf("%s to %s: notes %q, largest change %g", c.quant, c.format, notes, r.MaxError)
		}
	}
}

func TestFormatOf(t *testing.T) {
	for _, c := range []struct{ path, quant, want string }{
		{"a.safetensors", "", Potstill}, {"a.PTH", "", Torch}, {"a.pt", "", Torch}, {"x/a.bin", checkpoint.Affine8, Torch},
		{"a.pkl", "", Study8}, {"a.pkl", checkpoint.Float16, Study16}, {"a.pkl", checkpoint.Affine8, Study8},
		{"a.onnx", "", ONNX}, {"a.onnx", checkpoint.Affine8PerChannel, ONNXCodes}, {"a.onnx", checkpoint.Float16, ONNX},
	} {
		if got, err := FormatOf(c.path, c.quant); err != nil || got != c.want {
			t.Errorf("FormatOf(%q, %q) = %q (%v), want %q", c.path, c.quant, got, err, c.want)
		}
	}
	if _, err := FormatOf("a.h5", ""); err == nil || !strings.Contains(err.Error(), `".h5"`) || !strings.Contains(err.Error(), Study16) {
		t.Errorf("an unknown extension: %v", err)
	}
}

// TestRefusals leave no file.
func TestRefusals(t *testing.T) {
	dir := t.TempDir()
	c := sample(t, layers.Arch{Family: "cnn-plain", Classes: 2, Base: 2}, checkpoint.Float32)
	nan := sample(t, layers.Arch{Family: "cnn-plain", Classes: 2, Base: 2}, checkpoint.Float32)
	nan.State[0].Data[0] = float32(math.NaN())
	wrong := *c
	wrong.State = wrong.State[1:]
	for want, f := range map[string]func() (*Result, error){
		"unknown format": func() (*Result, error) { return Write(filepath.Join(dir, "a"), "h5", c, Options{}) },
		"finite":         func() (*Result, error) { return Write(filepath.Join(dir, "b"), Study8, nan, Options{}) },
		"is missing":     func() (*Result, error) { return Write(filepath.Join(dir, "c"), Torch, &wrong, Options{}) },
	} {
		if _, err := f(); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("error %v, want %q", err, want)
		}
	}
	if entries, err := os.ReadDir(dir); err != nil || len(entries) != 0 {
		t.Errorf("left behind: %v (%v)", entries, err)
	}
}
