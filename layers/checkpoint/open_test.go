package checkpoint

import (
	"math"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"

	"github.com/potstill/potstill/layers"
	"github.com/potstill/potstill/layers/checkpoint/checkpointtest"
	"github.com/potstill/potstill/layers/checkpoint/named"
	"github.com/potstill/potstill/layers/checkpoint/safetensors"
	"github.com/potstill/potstill/layers/checkpoint/study8"
	"github.com/potstill/potstill/layers/checkpoint/torch"
)

// tensorsOf returns a state as another program's tensors.
func tensorsOf(s layers.StateDict) []named.Tensor {
	var out []named.Tensor
	for _, e := range s {
		t := named.Tensor{Name: e.Name, Shape: e.Shape, DType: "float32", Float: e.Data}
		if e.Integer() {
			t.DType, t.Int = "int64", e.Int
		}
		out = append(out, t)
	}
	return out
}

func TestOpenImports(t *testing.T) {
	c, _ := sample(t, layers.Arch{Family: "hw7-student", Classes: 4, Base: 4}, Float32)
	path := filepath.Join(t.TempDir(), "weights.of.any.name")
	tensors := tensorsOf(c.State)
	for i := range tensors {
		tensors[i].Name = "net.convolution." + tensors[i].Name
	}
	if _, err := torch.Write(path, tensors); err != nil {
		t.Fatal(err)
	}
	got, err := Open(path, OpenOptions{})
	if err != nil {
		t.Fatal(err)
	}
	sum, err := Fingerprint(path)
	if err != nil {
		t.Fatal(err)
	}
	info, err := os.Stat(path)
	if err != nil {
		t.Fatal(err)
	}
	if got.Path != path || got.Bytes != info.Size() || got.Preprocess.Size != 256 || got.Classes != nil || got.Scheme() != Float32 {
		t.Errorf("came as %+v", got)
	}
	if len(got.History) != 1 || got.History[0].Kind != KindImport || got.History[0].Parent != sum || !strings.HasPrefix(got.History[0].Detail, "PyTorch zip; ") {
		t.Errorf("its history is %+v", got.History)
	}
	for i, e := range got.State {
		if e.Name != c.State[i].Name || !slices.Equal(e.Data, c.State[i].Data) {
			t.Fatalf("tensor %d is %s, want %s with its values", i, e.Name, c.State[i].Name)
		}
	}
	store := newStore(t)
	if _, err := got.Restore(store); err != nil {
		t.Error(err)
	}
	if _, err := Save(path+".safetensors", got); err != nil {
		t.Error(err)
	}
	if own, err := Open(path+".safetensors", OpenOptions{}); err != nil || len(own.History) != 1 || own.Net.Family != "hw7-student" {
		t.Errorf("our own file of it: %+v (%v)", own, err)
	}
}

// TestOpenCodes keeps the codes of a file and their ranges, whatever they are.
func TestOpenCodes(t *testing.T) {
	c, _ := sample(t, layers.Arch{Family: "cnn-plain", Classes: 3, Base: 2}, Float32)
	path := filepath.Join(t.TempDir(), "model.pkl")
	open := func(tensors []named.Tensor) *Info {
		t.Helper()
		if _, err := study8.Write8(path, tensors); err != nil {
			t.Fatal(err)
		}
		i, err := Inspect(path, OpenOptions{})
		if err != nil {
			t.Fatal(err)
		}
		return i
	}
	want, err := Quantize(c.State, Affine8)
	if err != nil {
		t.Fatal(err)
	}
	got := open(tensorsOf(c.State))
	if got.Scheme() != Affine8 || len(got.Notes) != 0 {
		t.Errorf("the study's codes come as %q, %q", got.Scheme(), got.Notes)
	}
	for i, e := range got.State {
		if !slices.Equal(e.Data, want[i].Data) {
			t.Fatalf("%s: other weights than those of the codes", e.Name)
		}
	}
	// Ranges that the weights do not fill, or that float32 does not hold.
	tensors := tensorsOf(c.State)
	const third = 1. / 3
	tensors[1].Coded, tensors[1].Min, tensors[1].Max = true, -third, third
	tensors[1].Codes = make([]uint8, tensors[1].Len())
	tensors[0].Coded, tensors[0].Min, tensors[0].Max = true, -1, 1
	tensors[0].Codes = make([]uint8, tensors[0].Len())
	tensors[0].Codes[0] = 200
	got = open(tensors)
	if got.Scheme() != Affine8 || len(got.Notes) != 0 || got.State[0].Codes.Bytes[0] != 200 {
		t.Errorf("other codes come as %q, %q", got.Scheme(), got.Notes)
	}
	if v := got.State[0].Data[0]; math.Abs(float64(v)-(200./255*2-1)) > 1e-7 || got.State[0].Data[1] != -1 {
		t.Errorf("code 200 of [-1,1] is %g", v)
	}
	own := filepath.Join(t.TempDir(), "own.safetensors")
	if _, err := Save(own, got.Checkpoint); err != nil {
		t.Fatal(err)
	}
	again, err := Load(own)
	if err != nil || !reflect.DeepEqual(again.State, got.State) || again.State[1].Codes.Ranges[1] != third {
		t.Errorf("the codes come back changed (%v)", err)
	}
}

func TestOpenOwn(t *testing.T) {
	c, _ := sample(t, layers.Arch{Family: "cnn-plain", Classes: 3, Base: 2}, Affine8)
	path, _ := save(t, c)
	i, err := Inspect(path, OpenOptions{Arch: layers.Arch{Family: "cnn-plain"}})
	if err != nil || i.Format != FormatOwn || !i.Sealed || len(i.History) != 2 {
		t.Fatalf("%+v (%v)", i, err)
	}
	var sum int64
	var names []string
	for _, p := range i.Parts {
		sum += p.Bytes
		names = append(names, p.Name)
	}
	if want := []string{"header", "metadata", "8-bit codes", "counters", "ranges of the codes", "state of a training run"}; sum != i.Bytes || !slices.Equal(names, want) {
		t.Errorf("the parts %q have %d bytes of %d", names, sum, i.Bytes)
	}
	_, err = Open(path, OpenOptions{Arch: layers.Arch{Family: "resnet18"}})
	oneLine(t, err, path+": ", "it is a cnn-plain, not a resnet18", "leave")
}

func TestOpenRefuses(t *testing.T) {
	dir := t.TempDir()
	c, _ := sample(t, layers.Arch{Family: "resnet18", Classes: 3, Base: 4}, Float32)
	other := tensorsOf(c.State)
	other[0] = named.Tensor{Name: "conv1.weight", Shape: []int{4, 3, 3, 3}, DType: "float32", Float: make([]float32, 4*27)}
	path := filepath.Join(dir, "other.pth")
	if _, err := torch.Write(path, other); err != nil {
		t.Fatal(err)
	}
	_, err := Open(path, OpenOptions{})
	oneLine(t, err, path+": ", "nearest to resnet18", `"conv1.weight" is [4 3 3 3], it needs [4 3 7 7]`, "--arch")
	_, err = Open(path, OpenOptions{Arch: layers.Arch{Family: "cnn-dwpw"}})
	oneLine(t, err, path+": ", "it is not a cnn-dwpw")

	text := filepath.Join(dir, "text")
	if err := os.WriteFile(text, []byte("weights"), 0o600); err != nil {
		t.Fatal(err)
	}
	_, err = Open(text, OpenOptions{})
	oneLine(t, err, text+": ", "no known format")
	_, err = Open(dir, OpenOptions{})
	oneLine(t, err, dir, "not a regular file")
	_, err = Open(filepath.Join(dir, "absent"), OpenOptions{})
	oneLine(t, err, "absent", "no such file")

	plain := filepath.Join(dir, "plain.safetensors")
	f := &safetensors.File{Tensors: []safetensors.Tensor{safetensors.FromFloat32("w", []int{2}, []float32{1, 2})}}
	if _, err := safetensors.Write(plain, f); err != nil {
		t.Fatal(err)
	}
	_, err = Open(plain, OpenOptions{})
	oneLine(t, err, plain+": ", `"w" [2]`, "no known family")
}

// TestOpenText wants a pickle of protocol 0, which is text, read as a pickle
// though its ninth byte is a brace, as in safetensors.
func TestOpenText(t *testing.T) {
	path := filepath.Join(t.TempDir(), "text.pkl")
	if err := os.WriteFile(path, []byte("(dp0\nVab{\np1\nI1\ns."), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := Open(path, OpenOptions{}); err == nil || !strings.Contains(err.Error(), `its 1 tensors, of which the first is "ab{"`) {
		t.Errorf("Open says %v", err)
	}
}

// TestOpenSize has the images of a net that takes one size come in that size.
func TestOpenSize(t *testing.T) {
	b := layers.NewNetBuilder("flat", layers.Input{Channels: 3, Height: 8, Width: 8})
	x := b.Add("flat", layers.Flatten{}, b.Add("conv", layers.Conv(3, 4, 1), layers.Image))
	n, err := b.Net(b.Add("fc", layers.Linear{InFeatures: 256, OutFeatures: 2, Bias: true}, x))
	if err != nil {
		t.Fatal(err)
	}
	m, err := n.Model()
	if err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(t.TempDir(), "flat.pth")
	state := checkpointtest.State(t, m, 1)
	if _, err := torch.Write(path, tensorsOf(state)); err != nil {
		t.Fatal(err)
	}
	c, err := Open(path, OpenOptions{Net: n})
	if err != nil || c.Preprocess.Size != 8 {
		t.Errorf("%+v, %v", c, err)
	}
	// Other sizes are refused wherever they come from.
	_, err = Save(path, &Checkpoint{Net: n, State: state, Preprocess: Preprocess{Size: 9}})
	oneLine(t, err, path, "preprocessing to 9x9 pixels for a net that takes 8x8")
	_, err = Save(path, &Checkpoint{Net: n, State: state, Preprocess: Preprocess{Size: 8, Resize: 1e9}})
	oneLine(t, err, path, "resized to 1000000000")
}
