package foreign

import (
	"encoding/binary"
	"encoding/hex"
	"encoding/json"
	"math"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/potstill/potstill/layers/checkpoint/named"
	"github.com/potstill/potstill/layers/checkpoint/safetensors"
)

const statesDir = "testdata/states"

// expected reads what scripts/golden_states.py says.
func expected(t *testing.T, name string, v any) {
	t.Helper()
	b, err := os.ReadFile(filepath.Join(statesDir, name))
	if err == nil {
		err = json.Unmarshal(b, v)
	}
	if err != nil {
		t.Fatal(err)
	}
}

func floatsOf(t *testing.T, text string) []float32 {
	t.Helper()
	b, err := hex.DecodeString(text)
	if err != nil {
		t.Fatal(err)
	}
	out := make([]float32, len(b)/4)
	for i := range out {
		out[i] = math.Float32frombits(binary.LittleEndian.Uint32(b[4*i:]))
	}
	return out
}

// TestStates wants what PyTorch computes from the tensors of a reparametrized
// module: masked ones to the bit, weight-normalized ones within rounding; and a
// state_dict beside the state of a MultiStepLR, which holds a Counter.
func TestStates(t *testing.T) {
	var want map[string]map[string]struct {
		Shape []int
		Hex   string
	}
	expected(t, "states.json", &want)
	notes := map[string]string{"pruned.pt": "4 tensors were multiplied by masks", "weight_norm.pt": "4 tensors were put together", "multistep.pt": ""}
	if len(want) != len(notes) {
		t.Fatalf("there are %d files", len(want))
	}
	for name, tensors := range want {
		f, err := Read(filepath.Join(statesDir, name))
		if err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		if len(f.Tensors) != len(tensors) || !strings.HasPrefix(strings.Join(f.Warnings, "\n"), notes[name]) || (notes[name] == "") != (f.Warnings == nil) {
			t.Errorf("%s has %d tensors and the warnings %q", name, len(f.Tensors), f.Warnings)
		}
		for i := range f.Tensors {
			x := &f.Tensors[i]
			w := tensors[x.Name]
			if !slices.Equal(x.Shape, w.Shape) {
				t.Errorf("%s: %s is %v, want %v", name, x.Name, x.Shape, w.Shape)
				continue
			}
			for j, v := range floatsOf(t, w.Hex) {
				far := math.Abs(float64(v) - float64(x.Float[j]))
				if math.Float32bits(v) != math.Float32bits(x.Float[j]) && (name != "weight_norm.pt" || far > 3e-7*math.Abs(float64(v))) {
					t.Errorf("%s: %s[%d] is %g, want %g", name, x.Name, j, x.Float[j], v)
				}
			}
		}
	}
}

// TestTypes reads the types of safetensors that PyTorch's classical storages do
// not have, and wants their values, and the floats of 8 bits back.
func TestTypes(t *testing.T) {
	var want struct {
		Floats   map[string]string
		Integers map[string]struct {
			Shape  []int
			Values []int64
		}
	}
	expected(t, "types.json", &want)
	f, err := Read(filepath.Join(statesDir, "types.safetensors"))
	if err != nil {
		t.Fatal(err)
	}
	if len(f.Tensors) != 3 || len(want.Integers) != 3 || len(want.Floats) != 5 {
		t.Fatalf("%d tensors, %d types", len(f.Tensors), len(want.Floats))
	}
	for i := range f.Tensors {
		x := &f.Tensors[i]
		if w := want.Integers[x.Name]; !slices.Equal(x.Int, w.Values) || !slices.Equal(x.Shape, w.Shape) {
			t.Errorf("%s is %v %v, want %+v", x.Name, x.Shape, x.Int, w)
		}
	}
	spelled := map[string]safetensors.DType{
		"float8_e4m3fn": safetensors.F8E4M3, "float8_e5m2": safetensors.F8E5M2, "float8_e4m3fnuz": safetensors.F8E4M3Z,
		"float8_e5m2fnuz": safetensors.F8E5M2Z, "float8_e8m0fnu": safetensors.F8E8M0,
	}
	codes := make([]byte, 256)
	for i := range codes {
		codes[i] = byte(i)
	}
	for name, text := range want.Floats {
		path := filepath.Join(t.TempDir(), "x.safetensors")
		if _, err := safetensors.WritePlain(path, &safetensors.File{Tensors: []safetensors.Tensor{{Name: "x", DType: spelled[name], Shape: []int{256}, Data: codes}}}); err != nil {
			t.Fatal(err)
		}
		f, err := Read(path)
		if err != nil {
			t.Fatal(err)
		}
		x := &f.Tensors[0]
		for i, v := range floatsOf(t, text) {
			if got := x.Float[i]; got != v && (got == got || v == v) || got == got && math.Signbit(float64(got)) != math.Signbit(float64(v)) {
				t.Errorf("%s: 0x%02x is %g, want %g", name, i, got, v)
			}
		}
		b, err := x.Encode()
		if err != nil || x.DType != name || !slices.Equal(b, codes) {
			t.Errorf("%s (%s) is encoded as %x (%v)", name, x.DType, b, err)
		}
	}
}

// withMetadata is a state_dict of one tensor with metadata: n elements of the
// class on the storage "0".
func withMetadata(class string, n int, metadata string) string {
	storage := "(X\x07\x00\x00\x00storagectorch\n" + class + "\n" + text("0") + text("cpu") + number(n) + "tQ"
	return stateOf("ctorch._utils\n_rebuild_tensor_v2\n(" + storage + number(0) + tuple(n) + tuple(1) + "\x89}" + metadata + "tR")
}

const negative = "}" + "X\x03\x00\x00\x00neg" + "\x88s"

// TestNegativeViews wants the values of a view with the negative bit times -1,
// as torch.load gives them, in every kind of type.
func TestNegativeViews(t *testing.T) {
	data := "\x00\x00\x80\x3f" + "\x00\x00\x00\x80" + "\xff\x00\x01\x80" + "\x00\x00\xc0\x7f"
	for class, want := range map[string]string{
		"FloatStorage":  "000080bf" + "00000000" + "ff000100" + "0000c0ff",
		"DoubleStorage": "0000803f00000000" + "ff0001800000c0ff",
		"IntStorage":    "000080c0" + "00000080" + "01fffe7f" + "00004080",
		"ByteStorage":   "000080c1" + "00000080" + "0100ff80" + "00004081",
	} {
		size := map[string]int{"FloatStorage": 4, "DoubleStorage": 8, "IntStorage": 4, "ByteStorage": 1}[class]
		file := func(metadata string) []byte {
			return zipOf(t, entry{name: "m/data.pkl", content: withMetadata(class, 16/size, metadata)}, entry{name: "m/data/0", content: data})
		}
		for metadata, want := range map[string]string{negative: want, "N": hex.EncodeToString([]byte(data)), "}": hex.EncodeToString([]byte(data))} {
			f, err := Decode(file(metadata))
			if err != nil {
				t.Errorf("%s: %v", class, err)
				continue
			}
			if got := hex.EncodeToString(bits(t, &f.Tensors[0])); got != want {
				t.Errorf("%s with the metadata %q is %s, want %s", class, metadata, got, want)
			}
		}
		for _, metadata := range []string{"}X\x04\x00\x00\x00conj\x88s", "}X\x03\x00\x00\x00odd\x88s", "}X\x03\x00\x00\x00negK\x01s", "K\x01"} {
			if f, err := Decode(file(metadata)); err == nil {
				t.Errorf("%s with the metadata %q was read as %+v", class, metadata, f.Tensors)
			}
		}
	}
}

// TestTensorsWithAttributes reads a tensor as PyTorch 2 pickles one with
// attributes of its own, and refuses what only looks like one.
func TestTensorsWithAttributes(t *testing.T) {
	args := "(" + storageOf("0", 4) + number(0) + tuple(2, 2) + tuple(2, 1) + "\x89}t"
	with := func(function, args string) []byte {
		return model(t, stateOf("ctorch._tensor\n_rebuild_from_type_v2\n("+function+"ctorch\nTensor\n"+args+"}"+text("mine")+"K\x01stR"))
	}
	f, err := Decode(with("ctorch._utils\n_rebuild_tensor_v2\n", args))
	if err != nil {
		t.Fatal(err)
	}
	if want, err := Decode(model(t, plain())); err != nil || !slices.Equal(f.Tensors[0].Float, want.Tensors[0].Float) || !slices.Equal(f.Tensors[0].Shape, []int{2, 2}) {
		t.Errorf("read %+v, want %+v (%v)", f.Tensors, want, err)
	}
	for _, function := range []string{"ctorch._tensor\n_rebuild_from_type_v2\n", "ctorch\nTensor\n", "ccollections\nOrderedDict\n", "K\x01"} {
		if f, err := Decode(with(function, args)); err == nil {
			t.Errorf("%q made %+v", function, f.Tensors)
		}
	}
	if f, err := Decode(with("ctorch._utils\n_rebuild_tensor_v2\n", ")")); err == nil {
		t.Errorf("no arguments made %+v", f.Tensors)
	}
}

// TestUnreadTensors wants tensors of types that are not read left out where
// there are others, and told.
func TestUnreadTensors(t *testing.T) {
	path := filepath.Join(t.TempDir(), "x.safetensors")
	big := binary.LittleEndian.AppendUint64(nil, 1<<63)
	_, err := safetensors.WritePlain(path, &safetensors.File{Tensors: []safetensors.Tensor{
		{Name: "c", DType: safetensors.C64, Shape: []int{1}, Data: big}, {Name: "u", DType: safetensors.U64, Shape: []int{1}, Data: big},
		safetensors.FromFloat32("w", []int{1}, []float32{2}),
	}})
	if err != nil {
		t.Fatal(err)
	}
	f, err := Read(path)
	if err != nil {
		t.Fatal(err)
	}
	if len(f.Tensors) != 1 || f.Tensors[0].Name != "w" || len(f.Warnings) != 1 || f.Warnings[0] != `left out, since their types are not read: "c" complex64[1], "u" uint64[1]` {
		t.Errorf("%+v with the warnings %q", f.Tensors, f.Warnings)
	}
}

// TestReadWeights chooses one of several state_dicts, by key, by prefix and by
// both, and wants the choices named where none is made.
func TestReadWeights(t *testing.T) {
	w := tensorOf(storageOf("0", 4), 0, tuple(4), tuple(1))
	dict := func(pairs ...string) string {
		s := "}"
		for i := 0; i < len(pairs); i += 2 {
			s += text(pairs[i]) + pairs[i+1] + "s"
		}
		return s
	}
	two := dict("model", dict("module.a", w, "n", w), "model_ema", dict("module.b", w, "other", w), "loss", dict("c", w))
	nested := dict("state_dict", dict("teacher.d", w, "student.d", w, "student.e", w), "epoch", "K\x01")
	for _, c := range []struct{ pickle, weights, names, err string }{
		{two, "", "", `under "model" and "model_ema"; choose one with --weights model or --weights model_ema`},
		{two, "model", "module.a n", ""},
		{two, "model_ema", "module.b other", ""},
		{two, "model_ema.module", "b", ""},
		{two, "loss", "c", ""},
		{nested, "", "teacher.d student.d student.e", ""},
		{nested, "teacher", "d", ""},
		{nested, "state_dict.student.", "d e", ""},
		{nested, "stud", "", `no tensors under "stud"`},
		{dict("state_dict", dict("a", w, "b", w, "c", w), "criterion", dict("weight", w)), "", "a b c", ""},
		{dict("state_dict", dict("a", w), "optimizer", dict("weight", w)), "", "a", ""},
		{dict("a", w, "ema", dict("b", w)), "", "", `under "." and "ema"`},
		{dict("a", w, "ema", dict("b", w)), ".", "a", ""},
		{dict("a", w, "ema", dict("b", w)), "ema", "b", ""},
	} {
		f, err := DecodeWeights(model(t, header+c.pickle+"."), c.weights)
		if err != nil || c.err != "" {
			if c.err == "" || err == nil || !strings.Contains(err.Error(), c.err) {
				t.Errorf("--weights %q gives %v, want %q", c.weights, err, c.err)
			}
			continue
		}
		var names []string
		for i := range f.Tensors {
			names = append(names, f.Tensors[i].Name)
		}
		if got := strings.Join(names, " "); got != c.names {
			t.Errorf("--weights %q reads %q, want %q", c.weights, got, c.names)
		}
	}
}

// TestCombineLeaves wants pairs that do not fit each other, or whose whole is
// there already, left as they are.
func TestCombineLeaves(t *testing.T) {
	x := func(name string, shape ...int) Tensor {
		v := Tensor{Name: name, Shape: shape, DType: "float32"}
		v.Float = make([]float32, v.Len())
		return v
	}
	f := &named.File{Tensors: []Tensor{
		x("a_orig", 2), x("a_mask", 3), x("b_orig", 2), x("b", 2), x("b_mask", 2), x("c_orig", 2),
		x("d_g", 2, 1), x("d_v", 3, 4), x("e_g", 2), x("e_v", 2, 3), x("xparametrizations.w.original0", 2, 1), x("xparametrizations.w.original1", 2, 3),
	}}
	if err := f.Combine(named.NewBudget(0)); err != nil || len(f.Tensors) != 12 || len(f.Notes) != 0 {
		t.Errorf("%d tensors were left, %q (%v)", len(f.Tensors), f.Notes, err)
	}
}
