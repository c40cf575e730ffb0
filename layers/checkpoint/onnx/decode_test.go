package onnx

import (
	"encoding/binary"
	"math"
	"testing"

	"google.golang.org/protobuf/encoding/protowire"
)

// fields are a protobuf message read back: for each field its values, bytes or
// numbers, in order.
type fields map[protowire.Number][]any

// parse reads a message; submessages stay bytes.
func parse(t *testing.T, b []byte) fields {
	t.Helper()
	f := make(fields)
	for len(b) > 0 {
		num, typ, n := protowire.ConsumeTag(b)
		if n < 0 {
			t.Fatal(protowire.ParseError(n))
		}
		b = b[n:]
		switch typ {
		case protowire.VarintType:
			v, k := protowire.ConsumeVarint(b)
			f[num], n = append(f[num], int64(v)), k
		case protowire.BytesType:
			v, k := protowire.ConsumeBytes(b)
			f[num], n = append(f[num], v), k
		case protowire.Fixed32Type:
			v, k := protowire.ConsumeFixed32(b)
			f[num], n = append(f[num], math.Float32frombits(v)), k
		default:
			t.Fatalf("field %d has wire type %d", num, typ)
		}
		if n < 0 {
			t.Fatal(protowire.ParseError(n))
		}
		b = b[n:]
	}
	return f
}

func (f fields) strings(n protowire.Number) (all []string) {
	for _, v := range f[n] {
		all = append(all, string(v.([]byte)))
	}
	return all
}

func (f fields) string(n protowire.Number) string {
	if s := f.strings(n); len(s) > 0 {
		return s[0]
	}
	return ""
}

func (f fields) int(n protowire.Number) int64 {
	if len(f[n]) == 0 {
		return 0
	}
	return f[n][0].(int64)
}

func (f fields) sub(t *testing.T, n protowire.Number) (all []fields) {
	t.Helper()
	for _, v := range f[n] {
		all = append(all, parse(t, v.([]byte)))
	}
	return all
}

// packed reads packed integers.
func packed(t *testing.T, f fields, n protowire.Number) (all []int) {
	t.Helper()
	for _, v := range f[n] {
		for b := v.([]byte); len(b) > 0; {
			x, k := protowire.ConsumeVarint(b)
			if k < 0 {
				t.Fatal(protowire.ParseError(k))
			}
			all, b = append(all, int(x)), b[k:]
		}
	}
	return all
}

// A readNode is a node read back.
type readNode struct {
	op, name string
	in, out  []string
	ints     map[string][]int
	floats   map[string]float32
	texts    map[string]string
}

// A readModel is a file read back.
type readModel struct {
	model, graph fields
	nodes        []readNode
	tensors      map[string]tensor
	metadata     map[string]string
}

func readBack(t *testing.T, file []byte) *readModel {
	t.Helper()
	m := &readModel{model: parse(t, file), tensors: make(map[string]tensor), metadata: make(map[string]string)}
	m.graph = m.model.sub(t, 7)[0]
	for _, n := range m.graph.sub(t, 1) {
		r := readNode{
			op: n.string(4), name: n.string(3), in: n.strings(1), out: n.strings(2),
			ints: make(map[string][]int), floats: make(map[string]float32),
		}
		for _, a := range n.sub(t, 5) {
			switch name := a.string(1); a.int(20) {
			case attrFloat:
				r.floats[name] = a[2][0].(float32)
			case attrInt:
				r.ints[name] = []int{int(a.int(3))}
			case attrInts:
				r.ints[name] = packed(t, a, 8)
			case attrString:
				r.texts = map[string]string{name: a.string(4)}
			default:
				t.Fatalf("attribute %s of %s has type %d", name, r.name, a.int(20))
			}
		}
		m.nodes = append(m.nodes, r)
	}
	for _, f := range m.graph.sub(t, 5) {
		x := tensor{name: f.string(8), dtype: f.int(2), shape: packed(t, f, 1), raw: f[9][0].([]byte)}
		if _, twice := m.tensors[x.name]; twice {
			t.Errorf("two initializers are named %s", x.name)
		}
		m.tensors[x.name] = x
	}
	for _, e := range m.model.sub(t, 14) {
		m.metadata[e.string(1)] = e.string(2)
	}
	return m
}

// floats returns the values of a float32 initializer.
func (m *readModel) floats(t *testing.T, name string) []float32 {
	t.Helper()
	x, ok := m.tensors[name]
	if !ok || x.dtype != typeFloat || len(x.raw) != 4*product(x.shape) {
		t.Fatalf("initializer %s is there: %v; type %d, shape %v, %d bytes", name, ok, x.dtype, x.shape, len(x.raw))
	}
	out := make([]float32, len(x.raw)/4)
	for i := range out {
		out[i] = math.Float32frombits(binary.LittleEndian.Uint32(x.raw[4*i:]))
	}
	return out
}

// wired fails the test unless every node reads what is there before it, no name
// is given twice, and nothing is left unread but the logits.
func (m *readModel) wired(t *testing.T) {
	t.Helper()
	have := map[string]bool{inputName: true}
	read := make(map[string]bool)
	for name := range m.tensors {
		have[name] = true
	}
	for _, n := range m.nodes {
		for _, in := range n.in {
			if in == "" { // an input that is left out
				continue
			}
			if !have[in] {
				t.Errorf("%s %s reads %q, which is not there", n.op, n.name, in)
			}
			read[in] = true
		}
		for _, out := range n.out {
			if have[out] {
				t.Errorf("%s %s makes %q once more", n.op, n.name, out)
			}
			have[out] = true
		}
	}
	for name := range have {
		if read[name] == (name == outputName) {
			t.Errorf("%q is read: %v", name, read[name])
		}
	}
}

// find returns the node that makes the tensor of the given name.
func (m *readModel) find(t *testing.T, out string) readNode {
	t.Helper()
	for _, n := range m.nodes {
		if n.out[0] == out {
			return n
		}
	}
	t.Fatalf("no node makes %q", out)
	return readNode{}
}
