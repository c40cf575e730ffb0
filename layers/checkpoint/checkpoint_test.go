package checkpoint

import (
	"bytes"
	"encoding/json"
	"errors"
	"math"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/potstill/potstill/engine"
	"github.com/potstill/potstill/engine/half"
	"github.com/potstill/potstill/engine/ref"
	"github.com/potstill/potstill/layers"
	"github.com/potstill/potstill/layers/checkpoint/checkpointtest"
	"github.com/potstill/potstill/layers/checkpoint/safetensors"
)

func newStore(t *testing.T) *engine.Store {
	t.Helper()
	s := engine.NewStore(ref.New())
	t.Cleanup(func() { _ = s.Close() })
	return s
}

// sample returns a whole checkpoint of a model with drawn weights.
func sample(t *testing.T, a layers.Arch, quant string) (*Checkpoint, *layers.Model) {
	t.Helper()
	m, state := checkpointtest.Draw(t, a, 5)
	if quant != Float32 {
		var err error
		if state, err = Quantize(state, quant); err != nil {
			t.Fatal(err)
		}
	}
	c := &Checkpoint{
		Net:        m.Net(),
		Preprocess: Preprocess{Size: 256, Resize: 288, Mean: []float32{0.4, 0.5, 0.6}, Std: []float32{0.2, 0.3, 0.25}},
		History: []Event{
			{Kind: "train", Detail: "150 epochs", Data: "abc", Time: time.Date(2024, 5, 6, 7, 8, 9, 10, time.UTC)},
			{Kind: "prune", Parent: strings.Repeat("0f", 32)},
		},
		Metrics:  map[string]float64{"val_accuracy": 0.7871, "val_loss": 1e-300},
		State:    state,
		Extra:    []safetensors.Tensor{safetensors.FromFloat32("train/m/fc.0.bias", []int{2}, []float32{1, 2})},
		Progress: json.RawMessage(`{"epoch":3}`),
	}
	for i := range a.Classes {
		c.Classes = append(c.Classes, "class <"+string(rune('a'+i))+"> ü")
	}
	return c, m
}

func save(t *testing.T, c *Checkpoint) (path string, size int64) {
	t.Helper()
	path = filepath.Join(t.TempDir(), "model.safetensors")
	size, err := Save(path, c)
	if err != nil {
		t.Fatal(err)
	}
	return path, size
}

// quantized is what the study's rule makes of a tensor, written down apart
// from the package under test.
func quantized(e layers.Entry, quant string) []float32 {
	out := slices.Clone(e.Data)
	n, levels := len(out), 255.0
	switch {
	case quant == Float32 || len(e.Shape) == 0, (quant == Affine8PerChannel || quant == Affine4Block) && len(e.Shape) == 1:
		return out
	case quant == Affine4Block:
		n, levels = len(out)/e.Shape[0], 15
	case quant == Float16:
		for i, v := range out {
			out[i] = half.ToFloat16(v).Float32()
		}
		return out
	case quant == Affine8PerChannel && len(e.Shape) > 1:
		n = len(out) / e.Shape[0]
	}
	for row := range slices.Chunk(out, n) {
		each := n
		if quant == Affine4Block {
			each = 64
		}
		for part := range slices.Chunk(row, each) {
			lo, hi := float64(slices.Min(part)), float64(slices.Max(part))
			for i, v := range part {
				if hi > lo {
					q := math.RoundToEven((float64(v) - lo) / (hi - lo) * levels)
					part[i] = float32(q/levels*(hi-lo) + lo)
				}
			}
		}
	}
	return out
}

func TestRoundTrip(t *testing.T) {
	for name, a := range checkpointtest.Architectures() {
		for _, quant := range []string{Float32, Affine8, Affine8PerChannel, Affine4Block, Float16} {
			t.Run(name+"/"+quant, func(t *testing.T) {
				want, m := sample(t, a, quant)
				full := checkpointtest.State(t, m, 5)
				path, size := save(t, want)
				info, err := os.Stat(path)
				if err != nil || info.Size() != size {
					t.Errorf("%d bytes were reported, the file has %d (%v)", size, info.Size(), err)
				}
				got, err := Load(path)
				if err != nil {
					t.Fatal(err)
				}
				for i, e := range full {
					g := got.State[i]
					if g.Name != e.Name || !slices.Equal(g.Shape, e.Shape) || !slices.Equal(g.Int, e.Int) {
						t.Fatalf("entry %d is %s %v, want %s %v", i, g.Name, g.Shape, e.Name, e.Shape)
					}
					if !slices.Equal(g.Data, quantized(e, quant)) {
						t.Errorf("%s: values are not those of the rule", e.Name)
					}
				}
				if !reflect.DeepEqual(got.State, want.State) || got.Scheme() != quant {
					t.Errorf("the state in %q differs from that which was saved in %q", got.Scheme(), quant)
				}
				got.State, want.State = nil, nil
				want.Path, want.Bytes = path, size
				if !reflect.DeepEqual(got, want) {
					t.Errorf("came back as\n%+v\nwant\n%+v", got, want)
				}
			})
		}
	}
}

func TestSizes(t *testing.T) {
	sizes := make(map[string]int64)
	for _, quant := range []string{Float32, Affine8, Affine8PerChannel, Affine4Block, Float16} {
		c, _ := sample(t, layers.Arch{Family: "cnn-dwpw", Classes: 11}, quant)
		_, sizes[quant] = save(t, c)
	}
	full := float64(sizes[Float32])
	for quant, limit := range map[string]float64{Affine8: 0.27, Affine8PerChannel: 0.30, Affine4Block: 0.20, Float16: 0.52} {
		if share := float64(sizes[quant]) / full; share > limit {
			t.Errorf("%s: %d bytes are %.3f of %d, want %.2f at most", quant, sizes[quant], share, sizes[Float32], limit)
		}
	}
	if sizes[Float32] < 4*224_011 || sizes[Float32] > 4*224_011+30_000 {
		t.Errorf("32 bits take %d bytes", sizes[Float32])
	}
}

func TestEqualCheckpointsMakeEqualFiles(t *testing.T) {
	var files [][]byte
	for range 2 {
		c, _ := sample(t, layers.Arch{Family: "cnn-plain", Classes: 3, Base: 2}, Affine8)
		path, _ := save(t, c)
		b, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		files = append(files, b)
	}
	if !bytes.Equal(files[0], files[1]) {
		t.Error("two files differ")
	}
}

// TestFloat16KeepsWhatDoesNotFit stores a running variance beyond float16.
func TestFloat16KeepsWhatDoesNotFit(t *testing.T) {
	c, _ := sample(t, layers.Arch{Family: "cnn-plain", Classes: 3, Base: 2}, Float32)
	c.State.Find("cnn.0.1.running_var").Data[1] = 1e6 + 1
	var err error
	if c.State, err = Quantize(c.State, Float16); err != nil || c.Scheme() != Float16 {
		t.Fatal(c.Scheme(), err)
	}
	path, _ := save(t, c)
	got, err := Load(path)
	if err != nil {
		t.Fatal(err)
	}
	if v := got.State.Find("cnn.0.1.running_var").Data[1]; v != 1e6+1 {
		t.Errorf("running variance is %v", v)
	}
}

// oneLine fails the test unless err is one line with every one of the words.
func oneLine(t *testing.T, err error, words ...string) {
	t.Helper()
	if err == nil {
		t.Errorf("no error, want one with %q", words)
		return
	}
	for _, w := range words {
		if !strings.Contains(err.Error(), w) || strings.Contains(err.Error(), "\n") {
			t.Errorf("error %q, want one line with %q", err, w)
		}
	}
}

func TestDamagedFiles(t *testing.T) {
	c, _ := sample(t, layers.Arch{Family: "cnn-plain", Classes: 3, Base: 1}, Affine8)
	path, size := save(t, c)
	whole, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	try := func(what string, at int, b []byte, words ...string) {
		if err := os.WriteFile(path, b, 0o600); err != nil {
			t.Fatal(err)
		}
		_, err := Load(path)
		var format *safetensors.FormatError
		if !errors.As(err, &format) {
			t.Errorf("%s at %d: error %v, want a FormatError", what, at, err)
			return
		}
		oneLine(t, err, append(words, path+": ", "; ")...)
	}
	for at := 0; at < int(size); at += 7 {
		b := slices.Clone(whole)
		b[at] ^= 1 << (at % 8)
		try("a flipped bit", at, b)
	}
	for at := 0; at < int(size); at += 61 {
		try("a cut", at, whole[:at], "copy it again or resume from an earlier checkpoint")
	}
	_, err = Load(filepath.Join(filepath.Dir(path), "absent"))
	oneLine(t, err, "absent")
}

// TestWrongContent loads sealed files whose content does not fit together.
func TestWrongContent(t *testing.T) {
	quant := Affine8
	for _, c := range []struct {
		want   string
		change func(f *safetensors.File, text string) string
	}{
		{"not a potstill checkpoint", func(f *safetensors.File, _ string) string { f.Metadata = nil; return "" }},
		{"is not understood", func(_ *safetensors.File, s string) string { return s[1:] }},
		{`unknown kind "Conv9d"`, func(_ *safetensors.File, s string) string { return strings.Replace(s, "Conv2d", "Conv9d", 1) }},
		{`unknown key "strides"`, func(_ *safetensors.File, s string) string { return strings.Replace(s, "padding", "strides", 1) }},
		{"version 3", func(_ *safetensors.File, s string) string { return strings.Replace(s, `"version":2`, `"version":3`, 1) }},
		{"version 0", func(_ *safetensors.File, s string) string { return strings.Replace(s, `"version":2`, `"version":0`, 1) }},
		{"holds no net", func(_ *safetensors.File, _ string) string { return `{"version":2,"preprocess":{"size":1}}` }},
		{"holds no architecture", func(_ *safetensors.File, _ string) string { return `{"version":1,"preprocess":{"size":1}}` }},
		{`unknown model family "x"`, func(_ *safetensors.File, _ string) string { return `{"version":1,"arch":{"family":"x","classes":3}}` }},
		{`unknown quantization "affine9"`, func(_ *safetensors.File, _ string) string {
			return `{"version":1,"arch":{"family":"cnn-group","classes":3,"base":4},"quant":"affine9"}`
		}},
		{"the encoding", func(_ *safetensors.File, s string) string { return strings.Replace(s, `"bits":8`, `"bits":9`, 1) }},
		{"has no ranges", func(_ *safetensors.File, s string) string { return strings.Replace(s, rangeName, "x", 1) }},
		{"nothing says how its codes", func(_ *safetensors.File, s string) string {
			i := strings.Index(s, `"encodings"`)
			return s[:i] + s[i+strings.Index(s[i:], "],")+2:]
		}},
		{"3 class names for a model of 4 classes", func(_ *safetensors.File, s string) string {
			return strings.Replace(s, `"out_features":3`, `"out_features":4`, 1)
		}},
		{"deviation -", func(_ *safetensors.File, s string) string { return strings.Replace(s, `"std":[`, `"std":[-`, 1) }},
		{"cnn.0.0.weight [4 3 3 3] of cnn-group is missing", func(f *safetensors.File, s string) string { f.Tensors = f.Tensors[1:]; return s }},
		{"tensor new is not one of", func(f *safetensors.File, s string) string {
			f.Tensors = append(f.Tensors, safetensors.FromFloat32("new", nil, []float32{1}))
			return s
		}},
		{"no range", func(f *safetensors.File, s string) string {
			f.Tensors = slices.DeleteFunc(f.Tensors, func(t safetensors.Tensor) bool { return t.Name == rangeName })
			return s
		}},
		{"2 values too many", func(f *safetensors.File, s string) string {
			r, _ := f.Lookup(rangeName)
			r.Shape[0]++
			r.Data = append(slices.Clone(r.Data), make([]byte, 8)...)
			return s
		}},
		{"is [2], cnn-group needs [3]", func(f *safetensors.File, s string) string {
			b, _ := f.Lookup("fc.0.bias")
			*b = safetensors.FromUint8(b.Name, []int{2}, []uint8{1, 2})
			return s
		}},
	} {
		good, _ := sample(t, layers.Arch{Family: "cnn-group", Classes: 3, Base: 4}, quant)
		path, _ := save(t, good)
		f, err := safetensors.Read(path)
		if err != nil {
			t.Fatal(err)
		}
		if text := c.change(f, f.Metadata[metadataKey]); text != "" {
			f.Metadata[metadataKey] = text
		}
		if _, err := safetensors.Write(path, f); err != nil {
			t.Fatal(err)
		}
		_, err = Load(path)
		oneLine(t, err, path+": ", c.want, "; ")
	}
}

// TestSaveRefuses keeps the old file where the new content is bad.
func TestSaveRefuses(t *testing.T) {
	arch := layers.Arch{Family: "cnn-plain", Classes: 3, Base: 2}
	c, _ := sample(t, arch, Affine8)
	path, _ := save(t, c)
	before, _ := os.ReadFile(path)
	for want, change := range map[string]func(c *Checkpoint){
		"there is no net":         func(c *Checkpoint) { c.Net = nil },
		"the net is of version 7": func(c *Checkpoint) { n := *c.Net; n.Version = 7; c.Net = &n },
		"2 class names":           func(c *Checkpoint) { c.Classes = c.Classes[:2] },
		"is not understood":       func(c *Checkpoint) { c.State[0].Codes.Encoding.Bits = 3 },
		"bytes of codes":          func(c *Checkpoint) { c.State[0].Codes.Bytes = c.State[0].Codes.Bytes[1:] },
		"ends of ranges":          func(c *Checkpoint) { c.State[0].Codes.Ranges = nil },
		"not a range of weights":  func(c *Checkpoint) { c.State[0].Codes.Ranges[0] = math.Inf(1) },
		"only finite figures":     func(c *Checkpoint) { c.Metrics["val_loss"] = math.NaN() },
		"does not begin with":     func(c *Checkpoint) { c.Extra[0].Name = "m" },
		"is missing":              func(c *Checkpoint) { c.State = c.State[1:] },
		"stand for other values":  func(c *Checkpoint) { c.State[0].Data[0]++ },
		"2 means and 3":           func(c *Checkpoint) { c.Preprocess.Mean = c.Preprocess.Mean[:2] },
		"size of -1":              func(c *Checkpoint) { c.Preprocess.Size = -1 },
		"describing the model":    func(c *Checkpoint) { c.Progress = json.RawMessage("{") },
		"two tensors are named":   func(c *Checkpoint) { c.Extra = append(c.Extra, c.Extra[0]) },
		"needs [2 3 3 3]":         func(c *Checkpoint) { c.State[0].Shape = []int{54} },
		"model of 4 classes": func(c *Checkpoint) {
			c.Net, _ = layers.Arch{Family: "cnn-plain", Classes: 4, Base: 2}.Net()
		},
	} {
		bad, _ := sample(t, arch, Affine8)
		change(bad)
		n, err := Save(path, bad)
		oneLine(t, err, path, want)
		if after, _ := os.ReadFile(path); n != 0 || !bytes.Equal(before, after) {
			t.Errorf("%s: %d bytes reported, file changed: %v", want, n, !bytes.Equal(before, after))
		}
	}
	_, err := Save(filepath.Join(filepath.Dir(path), "no", "such", "folder"), c)
	oneLine(t, err, "create the folder first")
	_, err = Save(filepath.Dir(path), c)
	oneLine(t, err, filepath.Dir(path))
	if entries, _ := os.ReadDir(filepath.Dir(path)); len(entries) != 1 {
		t.Errorf("left behind: %v", entries)
	}
}

func TestRestore(t *testing.T) {
	c, _ := sample(t, layers.Arch{Family: "cnn-dwpw", Classes: 4, Base: 4}, Float32)
	path, _ := save(t, c)
	got, err := Load(path)
	if err != nil {
		t.Fatal(err)
	}
	store := newStore(t)
	restored, err := got.Restore(store)
	if err != nil {
		t.Fatal(err)
	}
	if s, err := restored.State(store); err != nil || !reflect.DeepEqual(s, c.State) {
		t.Errorf("the restored state differs (%v)", err)
	}
}

func TestCheckClasses(t *testing.T) {
	c, _ := sample(t, layers.Arch{Family: "cnn-plain", Classes: 3, Base: 1}, Float32)
	path, _ := save(t, c)
	got, err := Load(path)
	if err != nil {
		t.Fatal(err)
	}
	if err := got.CheckClasses(c.Classes); err != nil {
		t.Error(err)
	}
	oneLine(t, got.CheckClasses(c.Classes[:2]), path+": ", "the model has 3 classes, the data 2; choose the data")
	oneLine(t, got.CheckClasses([]string{c.Classes[0], "other", c.Classes[2]}), path+": ", `class 1 of the model`, `"other"`)
}

func TestFingerprint(t *testing.T) {
	path := filepath.Join(t.TempDir(), "f")
	if err := os.WriteFile(path, []byte("abc"), 0o600); err != nil {
		t.Fatal(err)
	}
	got, err := Fingerprint(path)
	if want := "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"; err != nil || got != want {
		t.Errorf("%s (%v), want %s", got, err, want)
	}
	_, err = Fingerprint(path + "x")
	oneLine(t, err, path+"x")
}
