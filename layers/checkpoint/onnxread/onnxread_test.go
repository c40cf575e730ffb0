package onnxread

import (
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/potstill/potstill/layers/checkpoint/named"
	"github.com/potstill/potstill/layers/checkpoint/onnxread/onnxtest"
)

// TestDecode reads a small file whole.
func TestDecode(t *testing.T) {
	b := onnxtest.Small().Bytes()
	if !Sniff(b) || !Sniff(b[:40]) {
		t.Error("it is not known as an ONNX file")
	}
	m, err := Decode(b)
	if err != nil {
		t.Fatal(err)
	}
	if m.Opset != 17 || len(m.Nodes) != 5 || len(m.Constants) != 4 || m.Bytes != int64(len(b)) {
		t.Errorf("read %+v", m)
	}
	if in := m.Inputs[0]; in.Name != "x" || !slices.Equal(in.Dims, []int{-1, 1, 4, 4}) || in.Params[0] != "N" {
		t.Errorf("the input is %+v", in)
	}
	if n := m.Nodes[0]; n.Op != "Conv" || !slices.Equal(n.Ints("pads"), []int{1, 1, 1, 1}) || n.Int("group", 1) != 1 || n.Input(2) != "conv.bias" || n.Input(3) != "" {
		t.Errorf("the first node is %+v", n)
	}
	if w := m.Constants["fc.weight"]; !slices.Equal(w.Shape, []int{2, 2}) || !slices.Equal(w.Float, []float32{1, 2, 3, 4}) || w.Bytes() != 16 {
		t.Errorf("a weight is %+v", w)
	}
}

// TestTypes reads tensors of every type, from the fields that hold them.
func TestTypes(t *testing.T) {
	field := func(dtype int64, n int, m onnxtest.Message) onnxtest.Message {
		return append(onnxtest.Message{}.Int(1, int64(n)).Int(2, dtype).Text(8, "t"), m...)
	}
	for _, c := range []struct {
		name, dtype string
		tensor      onnxtest.Message
		floats      []float32
		ints        []int64
	}{
		{"float_data", "float32", field(1, 2, onnxtest.Message{}.Text(4, onnxtest.Floats(1, -2))), []float32{1, -2}, nil},
		{"float_data, one by one", "float32", field(1, 2, onnxtest.Message{}.Float(4, 1).Float(4, -2)), []float32{1, -2}, nil},
		{"float16 in int32_data", "float16", field(10, 2, onnxtest.Message{}.Int(5, 0x3c00).Int(5, 0xc000)), []float32{1, -2}, nil},
		{"bfloat16, raw", "bfloat16", onnxtest.Tensor("t", 16, []int64{2}, "\x80\x3f\x00\xc0"), []float32{1, -2}, nil},
		{"double_data", "float64", field(11, 1, onnxtest.Message{}.Text(10, "\x00\x00\x00\x00\x00\x00\xf0\x3f")), []float32{1}, nil},
		{"int32_data, packed", "int32", field(6, 2, onnxtest.Message{}.Text(5, "\x01\xfe\xff\xff\xff\xff\xff\xff\xff\xff\x01")), nil, []int64{1, -2}},
		{"int8 in int32_data", "int8", field(3, 2, onnxtest.Message{}.Int(5, 1).Int(5, -2)), nil, []int64{1, -2}},
		{"uint8, raw", "uint8", onnxtest.Tensor("t", 2, []int64{2}, "\x01\xfe"), nil, []int64{1, 254}},
		{"bool", "bool", field(9, 2, onnxtest.Message{}.Int(5, 1).Int(5, 0)), nil, []int64{1, 0}},
		{"int64_data", "int64", field(7, 2, onnxtest.Message{}.Int(7, 1).Int(7, -2)), nil, []int64{1, -2}},
		{"uint64_data", "uint64", field(13, 1, onnxtest.Message{}.Int(11, 7)), nil, []int64{7}},
		{"int16, raw", "int16", onnxtest.Tensor("t", 5, []int64{1}, "\xfe\xff"), nil, []int64{-2}},
	} {
		path := filepath.Join(t.TempDir(), "t.pb")
		if err := os.WriteFile(path, c.tensor, 0o666); err != nil {
			t.Fatal(err)
		}
		x, err := ReadTensor(path)
		if err != nil {
			t.Errorf("%s: %v", c.name, err)
			continue
		}
		if x.DType != c.dtype || !slices.Equal(x.Float, c.floats) || !slices.Equal(x.Int, c.ints) {
			t.Errorf("%s: read %+v", c.name, x)
		}
	}
}

// TestOrder: nodes that stand in another order are put into one of execution.
func TestOrder(t *testing.T) {
	g := onnxtest.Small()
	slices.Reverse(g.Nodes)
	m, err := Decode(g.Bytes())
	if err != nil {
		t.Fatal(err)
	}
	var ops []string
	for _, n := range m.Nodes {
		ops = append(ops, n.Op)
	}
	if want := []string{"Conv", "Relu", "GlobalAveragePool", "Flatten", "Gemm"}; !slices.Equal(ops, want) {
		t.Errorf("the order is %v, want %v", ops, want)
	}
}

// TestExternal reads weights that lie beside the model, and nothing that lies
// outside its folder.
func TestExternal(t *testing.T) {
	outer := t.TempDir()
	dir := filepath.Join(outer, "model")
	write := func(name, content string) {
		t.Helper()
		if err := os.MkdirAll(filepath.Dir(name), 0o777); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(name, []byte(content), 0o666); err != nil {
			t.Fatal(err)
		}
	}
	secret := filepath.Join(outer, "secret")
	write(secret, onnxtest.Floats(9, 9, 9, 9))
	write(filepath.Join(dir, "weights.data"), "....."+onnxtest.Floats(1, 2, 3, 4))
	write(filepath.Join(dir, "sub", "w"), onnxtest.Floats(5, 6, 7, 8))
	linked := os.Symlink(secret, filepath.Join(dir, "link")) == nil
	read := func(tensor onnxtest.Message) (*Model, error) {
		g := onnxtest.Small()
		g.Tensors[2] = tensor
		path := filepath.Join(dir, "m.onnx")
		write(path, string(g.Bytes()))
		return Read(path)
	}
	at := func(location string, entries ...string) onnxtest.Message {
		m := onnxtest.External("fc.weight", location, 2, 2)
		for i := 0; i < len(entries); i += 2 {
			m = m.Msg(13, onnxtest.Message{}.Text(1, entries[i]).Text(2, entries[i+1]))
		}
		return m
	}
	for location, want := range map[string][]float32{"weights.data": {1, 2, 3, 4}, "sub/w": {5, 6, 7, 8}} {
		tensor := at(location)
		if location == "weights.data" {
			tensor = at(location, "offset", "5", "length", "16")
		}
		m, err := read(tensor)
		if err != nil {
			t.Fatal(err)
		}
		if x := m.Constants["fc.weight"]; !x.External || !slices.Equal(x.Float, want) {
			t.Errorf("%s: read %+v", location, x)
		}
	}
	bad := map[string]onnxtest.Message{
		"leads out of the model's folder":            at("../secret"),
		"which leads out of the model's":             at(secret),
		"cannot be read":                             at("nothing"),
		"do not hold 16 from byte 6 on":              at("weights.data", "offset", "6", "length", "16"),
		`impossible offset "-1"`:                     at("weights.data", "offset", "-1"),
		"has 8 bytes of data":                        at("weights.data", "length", "8"),
		"do not hold 9223372036854775807 from":       at("weights.data", "offset", "0", "length", "9223372036854775807"),
		"which is not a regular file":                at("sub"),
		"do not hold 1 from byte 922337203685477580": at("weights.data", "offset", "9223372036854775807", "length", "1"),
	}
	if linked {
		bad["cannot be read: path escapes"] = at("link")
	}
	for want, tensor := range bad {
		_, err := read(tensor)
		var format *named.FormatError
		if !errors.As(err, &format) || !strings.Contains(err.Error(), want) || strings.Contains(err.Error(), "\n") {
			t.Errorf("error %v, want one line with %q", err, want)
		}
	}
}

// TestSniff: other files are not taken for ONNX.
func TestSniff(t *testing.T) {
	for _, head := range []string{"", "\x08", "\x08\x08\x12", "PK\x03\x04", "\x80\x02}q\x00.", "\x08\x00\x12\x00", "\x08\x08\x0a\x02ab", "{}"} {
		if Sniff([]byte(head)) {
			t.Errorf("%q is taken for an ONNX file", head)
		}
	}
}
