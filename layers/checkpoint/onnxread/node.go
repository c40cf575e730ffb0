package onnxread

import (
	"math"
	"strings"

	"github.com/potstill/potstill/layers/checkpoint/named"
)

// node reads a NodeProto.
func (r *reader) node(b []byte) (*Node, error) {
	n := &Node{Attrs: make(map[string]*Attr)}
	domain := ""
	err := fields("a node", b, func(f field) (err error) {
		switch f.num {
		case 1:
			n.In, err = r.name(n.In, f)
		case 2:
			n.Out, err = r.name(n.Out, f)
		case 3:
			n.Name, err = r.text(f)
		case 4:
			n.Op, err = r.text(f)
		case 5:
			err = r.addAttr(n, f.body)
		case 7:
			domain, err = r.text(f)
		case 9:
			err = r.scope(n, f.body)
		}
		return err
	})
	if err != nil {
		return nil, err
	}
	if n.Op == "" || len(n.Op) > maxText || len(n.Name) > maxText {
		return nil, named.Refused(fixONNX, "a node has no operator, or a name of more than %d bytes", maxText)
	}
	if domain != "" && domain != "ai.onnx" {
		return nil, named.Refused("export the model with standard operators only",
			"node %s (%s): the operator is not ONNX's own but of the domain %s", named.Quote(n.Name), named.Plain(n.Op), named.Plain(domain))
	}
	return n, nil
}

// Label names the node in a message.
func (n *Node) Label() string {
	name := n.Name
	if name == "" && len(n.Out) > 0 {
		name = n.Out[0]
	}
	return "node " + named.Quote(name) + " (" + named.Plain(n.Op) + ")"
}

func (r *reader) name(to []string, f field) ([]string, error) {
	if len(to) == maxNames || len(f.body) > maxText {
		return nil, named.Damaged("a node has more than %d inputs or outputs, or one with a name of more than %d bytes", maxNames, maxText)
	}
	if err := r.budget.Take(1, 32); err != nil {
		return nil, err
	}
	s, err := r.text(f)
	return append(to, s), err
}

// scope takes the path of the PyTorch module out of a node's metadata: torch.onnx
// writes "[”, 'layer1', 'layer1.0', 'layer1.0.conv1', 'conv2d']".
func (r *reader) scope(n *Node, b []byte) error {
	key, value, err := r.entry(b)
	if err != nil || key != "pkg.torch.onnx.name_scopes" {
		return err
	}
	parts := strings.Split(strings.Trim(value, "[]"), ",")
	if len(parts) >= 2 {
		n.Scope = strings.Trim(parts[len(parts)-2], " '\"")
	}
	return nil
}

func (r *reader) addAttr(n *Node, b []byte) error {
	if len(n.Attrs) == maxAttrs {
		return named.Damaged("a node has more than %d attributes", maxAttrs)
	}
	if err := r.budget.Take(1, 256); err != nil {
		return err
	}
	name, a, err := r.attr(b)
	if err != nil {
		return err
	}
	if n.Attrs[name] != nil {
		return named.Refused(fixONNX, "%s: it has the attribute %s twice", n.Label(), named.Quote(name))
	}
	n.Attrs[name] = a
	return nil
}

// attr reads an AttributeProto.
func (r *reader) attr(b []byte) (name string, a *Attr, err error) {
	a = &Attr{}
	var floats []byte
	err = fields("an attribute", b, func(f field) (err error) {
		switch f.num {
		case 1:
			name, err = r.text(f)
		case 2:
			a.Float = math.Float32frombits(uint32(f.n))
		case 3:
			a.Int = int64(f.n)
		case 4:
			a.Text, err = r.text(f)
		case 5:
			a.Tensor, err = r.tensor(f.body)
		case 6, 11:
			a.Graph = true
		case 7:
			floats, err = r.fixed(floats, "an attribute", f, 4)
		case 8:
			a.Ints, err = r.ints(a.Ints, "an attribute", f)
		case 9:
			var s string
			if err = r.budget.Take(1, 32); err == nil {
				s, err = r.text(f)
				a.Texts = append(a.Texts, s)
			}
		}
		return err
	})
	if err != nil {
		return "", nil, err
	}
	if err := r.budget.Take(len(floats), 1); err != nil {
		return "", nil, err
	}
	for ; len(floats) >= 4; floats = floats[4:] {
		a.Floats = append(a.Floats, math.Float32frombits(uint32(floats[0])|uint32(floats[1])<<8|uint32(floats[2])<<16|uint32(floats[3])<<24))
	}
	return name, a, nil
}

// info reads a ValueInfoProto of a tensor.
func (r *reader) info(b []byte) (i Info, err error) {
	err = fields("an input or output", b, func(f field) (err error) {
		switch f.num {
		case 1:
			i.Name, err = r.text(f)
		case 2:
			err = r.infoType(&i, f.body)
		}
		return err
	})
	return i, err
}

// infoType reads a TypeProto; what is no tensor has no type.
func (r *reader) infoType(i *Info, b []byte) error {
	return fields("a type", b, func(f field) error {
		if f.num != 1 {
			return nil
		}
		return fields("a type", f.body, func(f field) error {
			switch f.num {
			case 1:
				i.DType = typeName(int64(f.n))
			case 2:
				i.HasShape = true
				return r.infoShape(i, f.body)
			}
			return nil
		})
	})
}

// infoShape reads a TensorShapeProto.
func (r *reader) infoShape(i *Info, b []byte) error {
	return fields("a shape", b, func(f field) error {
		if f.num != 1 {
			return nil
		}
		if len(i.Dims) == maxRank {
			return named.Damaged("an input or output has more than %d dimensions", maxRank)
		}
		if err := r.budget.Take(1, 48); err != nil {
			return err
		}
		size, param := int64(-1), ""
		err := fields("a dimension", f.body, func(f field) (err error) {
			switch f.num {
			case 1:
				size = int64(f.n)
			case 2:
				param, err = r.text(f)
			}
			return err
		})
		if err != nil {
			return err
		}
		if size > MaxElements {
			return named.Damaged("input or output %s has a dimension of %d", named.Quote(i.Name), size)
		}
		i.Dims, i.Params = append(i.Dims, int(max(size, -1))), append(i.Params, param)
		if size == 0 {
			i.Dims[len(i.Dims)-1] = -1 // an old way to leave it open
		}
		return nil
	})
}
