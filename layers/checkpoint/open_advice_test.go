package checkpoint

import (
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/potstill/potstill/layers"
	"github.com/potstill/potstill/layers/checkpoint/named"
	"github.com/potstill/potstill/layers/checkpoint/safetensors"
	"github.com/potstill/potstill/layers/checkpoint/torch"
)

// write stores tensors as PyTorch does.
func write(t *testing.T, tensors []named.Tensor) (path string) {
	t.Helper()
	path = filepath.Join(t.TempDir(), "model.pth")
	if _, err := torch.Write(path, tensors); err != nil {
		t.Fatal(err)
	}
	return path
}

func prefixed(prefix string, tensors []named.Tensor) []named.Tensor {
	out := slices.Clone(tensors)
	for i := range out {
		out[i].Name = prefix + out[i].Name
	}
	return out
}

func floats(name string, shape ...int) named.Tensor {
	t := named.Tensor{Name: name, Shape: shape, DType: "float32"}
	t.Float = make([]float32, t.Len())
	return t
}

// TestAdvice follows the advice of every refusal: a flag that it names must make
// the file readable, and where no flag does, none is named.
func TestAdvice(t *testing.T) {
	c, _ := sample(t, layers.Arch{Family: "cnn-dwpw", Classes: 3, Base: 2}, Float32)
	net := tensorsOf(c.State)
	first := net[0]
	without := slices.Clone(net[1:])
	half := func(suffix string) []named.Tensor {
		x := first
		x.Name += suffix
		return append([]named.Tensor{x}, without...)
	}
	for name, f := range map[string]struct {
		tensors []named.Tensor
		arch    string
		want    string // in the advice
		works   bool   // following it reads the file
	}{
		"a decoder beside":        {slices.Concat(prefixed("net.", net), []named.Tensor{floats("decoder.weight", 4, 4)}), "", "--arch cnn-dwpw", true},
		"a layer inside":          {append(slices.Clone(net), floats("cnn.0.9.weight", 4)), "", "--arch cnn-dwpw", true},
		"another family is named": {net, "resnet18", "leave --arch out", true},
		"another, with more":      {append(slices.Clone(net), floats("decoder.weight", 4, 4)), "resnet18", "--arch cnn-dwpw", true},
		"two nets":                {slices.Concat(prefixed("teacher.", net), prefixed("student.", net)), "", "--weights teacher", true},
		"two nets, a family":      {slices.Concat(prefixed("teacher.", net), prefixed("student.", net)), "cnn-dwpw", "--weights teacher", true},
		"an average beside":       {slices.Concat(prefixed("ema.", net), net), "cnn-dwpw", "--weights ema", true},
		"a mask of another shape": {append(half("_orig"), floats(first.Name+"_mask", 1)), "", "torch.nn.utils.prune.remove", false},
		"a spectral norm":         {append(half("_orig"), floats("cnn.0.0.weight_u", 1)), "cnn-dwpw", "torch.nn.utils.remove_spectral_norm", false},
		"a parametrization":       {append(slices.Clone(without), floats("cnn.0.0.parametrizations.weight.original", first.Shape...)), "", "remove_parametrizations", false},
		"a tensor is missing":     {without, "", "describe its net in a file", false},
		"missing, with a family":  {without, "cnn-dwpw", "describe its net in a file", false},
	} {
		path := write(t, f.tensors)
		_, err := Open(path, OpenOptions{Arch: layers.Arch{Family: f.arch}})
		oneLine(t, err, path+": ", f.want)
		if err == nil {
			t.Errorf("%s: it was read", name)
			continue
		}
		flags := OpenOptions{Arch: layers.Arch{Family: f.arch}}
		_, advice, _ := strings.Cut(err.Error(), "; ")
		if strings.Contains(advice, "leave --arch out") {
			flags.Arch.Family = ""
		}
		if m := regexp.MustCompile(`--(arch|weights) ([\w.-]+)`).FindStringSubmatch(advice); m != nil && m[1] == "arch" && m[2] != "out" {
			flags.Arch.Family = m[2]
		} else if m != nil && m[1] == "weights" {
			flags.Weights = m[2]
		}
		if f.works {
			got, err := Open(path, flags)
			if err != nil || got.Net.Family != "cnn-dwpw" || !slices.Equal(got.State[0].Data, first.Float) {
				t.Errorf("%s: the advice %q leads to %v", name, advice, err)
			}
		} else if strings.Contains(advice, "--weights") || strings.Contains(advice, "leave --arch out") || strings.Contains(advice, "--arch cnn") {
			t.Errorf("%s: the advice %q names a flag that does not help", name, advice)
		}
	}
}

// TestOpenTells wants what was left out in the warnings, and the preprocessing,
// of which another program's file says nothing, marked as assumed.
func TestOpenTells(t *testing.T) {
	c, _ := sample(t, layers.Arch{Family: "cnn-dwpw", Classes: 3, Base: 2}, Float32)
	averaged := append([]named.Tensor{{Name: "n_averaged", Shape: []int{}, DType: "int64", Int: []int64{3}}}, prefixed("module.", tensorsOf(c.State))...)
	path := write(t, averaged)
	for _, family := range []string{"", "cnn-dwpw"} {
		got, err := Open(path, OpenOptions{Arch: layers.Arch{Family: family}})
		if err != nil {
			t.Fatal(err)
		}
		if len(got.Warnings) != 1 || !strings.HasSuffix(got.Warnings[0], "left out: n_averaged") {
			t.Errorf("the warnings are %q", got.Warnings)
		}
		if p := got.Preprocess; p.Size != 256 || p.Resize != 256 || !p.Assumed {
			t.Errorf("assumed is %+v", p)
		}
		own := filepath.Join(t.TempDir(), "own.safetensors")
		if _, err := Save(own, got); err != nil {
			t.Fatal(err)
		}
		if again, err := Open(own, OpenOptions{}); err != nil || !again.Preprocess.Assumed || again.Warnings != nil {
			t.Errorf("our own file of it has %+v, %v", again, err)
		}
		_, err = Open(own, OpenOptions{Weights: "module"})
		oneLine(t, err, "it holds one net only", "leave --weights out")
	}
}

// TestOpenUnread wants a tensor of a type that is not read told where it may be
// what is missing.
func TestOpenUnread(t *testing.T) {
	c, _ := sample(t, layers.Arch{Family: "cnn-dwpw", Classes: 3, Base: 2}, Float32)
	f := &safetensors.File{Tensors: []safetensors.Tensor{{Name: c.State[0].Name, DType: safetensors.C64, Shape: []int{1}, Data: make([]byte, 8)}}}
	for _, e := range c.State[1:] {
		if e.Integer() {
			f.Tensors = append(f.Tensors, safetensors.FromInt64(e.Name, e.Shape, e.Int))
		} else {
			f.Tensors = append(f.Tensors, safetensors.FromFloat32(e.Name, e.Shape, e.Data))
		}
	}
	path := filepath.Join(t.TempDir(), "x.safetensors")
	if _, err := safetensors.WritePlain(path, f); err != nil {
		t.Fatal(err)
	}
	_, err := Open(path, OpenOptions{})
	if _, unknown := Open(path, OpenOptions{Arch: layers.Arch{Family: "cnn"}}); unknown == nil || strings.Count(unknown.Error(), "cnn-plain") != 1 {
		t.Errorf("an unknown family: %v", unknown)
	}
	oneLine(t, err, path+": ", `its tensor "`+c.State[0].Name+`" complex64[1] was not read`)
}
