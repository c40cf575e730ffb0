package onnxread

import (
	"os"
	"path/filepath"

	"google.golang.org/protobuf/encoding/protowire"

	"github.com/potstill/potstill/layers/checkpoint/named"
)

// Limits on what a file may hold: more is taken for damage or an attack.
const (
	maxNodes   = 1 << 16
	maxTensors = 1 << 16
	maxInfos   = 1 << 16
	maxAttrs   = 1 << 8  // of a node
	maxNames   = 1 << 12 // inputs or outputs of a node
	maxText    = 1 << 12 // bytes of a name
)

// fixONNX is what to do about a file that is no sound model.
const fixONNX = "check it with onnx.checker.check_model, or export it again"

// Sniff reports whether a file that begins with head is a ModelProto: it begins
// with the format's version, a small number, and goes on with fields of a
// ModelProto.
func Sniff(head []byte) bool {
	if len(head) < 4 || head[0] != 0x08 || head[1] == 0 || head[1] > 64 {
		return false
	}
	for b := head; len(b) > 0; {
		num, typ, n := protowire.ConsumeTag(b)
		if n < 0 {
			return false
		}
		want, ok := modelFields[num]
		if !ok || want != typ {
			return false
		}
		b = b[n:]
		if typ == protowire.VarintType {
			_, n = protowire.ConsumeVarint(b)
			if n < 0 {
				return false
			}
			b = b[n:]
			continue
		}
		size, n := protowire.ConsumeVarint(b)
		if n < 0 {
			return false
		}
		if num == 7 || size >= uint64(len(b)-n) {
			return true // the graph, or a field beyond the head
		}
		b = b[n+int(size):]
	}
	return true
}

// modelFields are the fields of a ModelProto with their types.
var modelFields = map[protowire.Number]protowire.Type{
	1: protowire.VarintType, 2: protowire.BytesType, 3: protowire.BytesType, 4: protowire.BytesType, 5: protowire.VarintType,
	6: protowire.BytesType, 7: protowire.BytesType, 8: protowire.BytesType, 14: protowire.BytesType, 20: protowire.BytesType,
	25: protowire.BytesType, 26: protowire.BytesType,
}

// Read reads the file at path, and the data beside it.
func Read(path string) (*Model, error) {
	b, err := named.Load(path, func(head []byte) error {
		if !Sniff(head) {
			return named.Refused("name an ONNX file", "it is no ONNX file")
		}
		return nil
	})
	if err != nil {
		return nil, err
	}
	root, err := os.OpenRoot(filepath.Dir(path))
	if err != nil {
		return nil, named.WithPath(path, err)
	}
	defer root.Close()
	m, err := decode(b, beside(root))
	if err != nil {
		return nil, named.WithPath(path, err)
	}
	m.Path = path
	return m, nil
}

// Decode decodes the bytes of a whole file. Data beside the file are refused.
func Decode(b []byte) (*Model, error) { return decode(b, nil) }

// ReadTensor reads a file that holds a single TensorProto, as ONNX's test cases
// have their inputs and outputs.
func ReadTensor(path string) (*Tensor, error) {
	b, err := named.Load(path, func([]byte) error { return nil })
	if err != nil {
		return nil, err
	}
	r := &reader{budget: named.NewBudget(len(b))}
	t, err := r.tensor(b)
	if err != nil {
		return nil, named.WithPath(path, err)
	}
	return t, nil
}

func decode(b []byte, open func(string, int64, int64) ([]byte, error)) (*Model, error) {
	r := &reader{budget: named.NewBudget(len(b)), open: open}
	m := &Model{Opset: -1, Constants: make(map[string]*Tensor)}
	var graph []byte
	graphs := 0
	err := fields("the file", b, func(f field) (err error) {
		switch f.num {
		case 1:
			m.IR = int64(f.n)
		case 2:
			m.Producer, err = r.text(f)
		case 7:
			graph = f.body
			graphs++
		case 8:
			err = r.opset(m, f.body)
		case 14:
			var e [2]string
			e[0], e[1], err = r.entry(f.body)
			m.Metadata = append(m.Metadata, e)
		case 25:
			err = named.Refused("inline its functions (onnx.inliner.inline_local_functions) and save it again", "it has functions of its own")
		}
		if err == nil && len(m.Metadata) > maxInfos {
			err = named.Damaged("it has more than %d entries of metadata", maxInfos)
		}
		return err
	})
	switch {
	case err != nil:
		return nil, err
	case graphs != 1:
		return nil, named.Refused(fixONNX, "it has %d graphs, not one", graphs)
	case m.Opset < 0:
		return nil, named.Refused(fixONNX, "it does not say which set of operators it uses")
	}
	if err := r.graph(m, graph); err != nil {
		return nil, err
	}
	m.Bytes = int64(len(b)) + r.extra
	return m, nil
}

// opset reads an OperatorSetIdProto. Other domains' operators are refused where
// a node has one.
func (r *reader) opset(m *Model, b []byte) error {
	var domain string
	var version int64
	err := fields("a set of operators", b, func(f field) (err error) {
		switch f.num {
		case 1:
			domain, err = r.text(f)
		case 2:
			version = int64(f.n)
		}
		return err
	})
	if err == nil && (domain == "" || domain == "ai.onnx") {
		m.Opset = version
	}
	return err
}

// graph reads a GraphProto.
func (r *reader) graph(m *Model, b []byte) error {
	var inputs []Info
	err := fields("the graph", b, func(f field) (err error) {
		switch f.num {
		case 1:
			err = r.addNode(m, f.body)
		case 2:
			m.Name, err = r.text(f)
		case 5:
			err = r.addConstant(m, f.body)
		case 11:
			inputs, err = r.addInfo(inputs, f.body)
		case 12:
			m.Outputs, err = r.addInfo(m.Outputs, f.body)
		case 15:
			err = named.Refused("store them dense and save it again", "it has sparse tensors")
		}
		return err
	})
	if err != nil {
		return err
	}
	for _, in := range inputs {
		if m.Constants[in.Name] == nil {
			m.Inputs = append(m.Inputs, in)
		}
	}
	return m.order()
}

func (r *reader) addNode(m *Model, b []byte) error {
	if len(m.Nodes) == maxNodes {
		return named.Damaged("it has more than %d nodes", maxNodes)
	}
	if err := r.budget.Take(1, 160); err != nil {
		return err
	}
	n, err := r.node(b)
	if err != nil {
		return err
	}
	m.Nodes = append(m.Nodes, n)
	return nil
}

func (r *reader) addConstant(m *Model, b []byte) error {
	if len(m.Constants) == maxTensors {
		return named.Damaged("it has more than %d tensors", maxTensors)
	}
	if err := r.budget.Take(1, 400); err != nil {
		return err
	}
	t, err := r.tensor(b)
	if err != nil {
		return err
	}
	if m.Constants[t.Name] != nil {
		return named.Refused(fixONNX, "two tensors are named %s", named.Quote(t.Name))
	}
	m.Constants[t.Name] = t
	return nil
}

func (r *reader) addInfo(to []Info, b []byte) ([]Info, error) {
	if len(to) == maxInfos {
		return nil, named.Damaged("it has more than %d inputs or outputs", maxInfos)
	}
	if err := r.budget.Take(1, 256); err != nil {
		return nil, err
	}
	i, err := r.info(b)
	return append(to, i), err
}
