package onnxnet

import (
	"fmt"
	"slices"
	"strings"

	"github.com/potstill/potstill/layers/checkpoint/onnxread"
)

// pathOf returns the path of the PyTorch module that has a tensor of a role, ""
// where the tensor's name does not tell.
func pathOf(tensor, role string) string {
	path, ok := strings.CutSuffix(tensor, "."+role)
	if !ok || clean(path) != path {
		return ""
	}
	return path
}

// maxPath is the length of a module's name that a file may ask for.
const maxPath = 200

// clean makes a text a valid name of a module: letters, digits, "_", "-", and
// dots between them. It may be empty.
func clean(s string) string {
	var b strings.Builder
	for _, r := range s {
		switch {
		case r >= 'a' && r <= 'z', r >= 'A' && r <= 'Z', r >= '0' && r <= '9', r == '_', r == '-', r == '.':
			b.WriteRune(r)
		case r == '/':
			b.WriteByte('.')
		default:
			b.WriteByte('_')
		}
		if b.Len() >= maxPath {
			break
		}
	}
	parts := strings.Split(b.String(), ".")
	return strings.Join(slices.DeleteFunc(parts, func(p string) bool { return p == "" }), ".")
}

// scope returns the path that a node's name gives, and whether it is that of a
// PyTorch module, which may have several nodes.
func scope(n *onnxread.Node) (path string, pytorch bool) {
	if n.Scope != "" {
		return clean(n.Scope), true
	}
	name := n.Name
	if rest, ok := strings.CutPrefix(name, "/"); ok {
		// torch.jit's exporter: "/layer1/layer1.0/conv1/Conv" is of layer1.0.conv1.
		segments := strings.Split(rest, "/")
		var path []string
		for _, s := range segments[:len(segments)-1] {
			if k := len(path) - 1; k >= 0 && strings.HasPrefix(s, path[k]+".") {
				path[k] = s
			} else {
				path = append(path, s)
			}
		}
		return clean(strings.Join(path, ".")), true
	}
	if name == "" && len(n.Out) > 0 {
		name = n.Out[0]
	}
	return clean(strings.TrimPrefix(name, "node_")), false
}

// words are the names of modules that nothing names.
var words = map[string]string{
	"Conv2d": "conv", "BatchNorm2d": "bn", "Linear": "fc", "MaxPool2d": "maxpool", "AvgPool2d": "avgpool", "AdaptiveAvgPool2d": "avgpool",
	"AdaptiveMaxPool2d": "maxpool", "LayerNorm2d": "norm", "GroupNorm": "norm", "InstanceNorm2d": "norm", "LocalResponseNorm": "norm",
	"ScaleShift": "scale", "ConstantPad2d": "pad", "ReflectionPad2d": "pad", "ReplicationPad2d": "pad", "ChannelShuffle": "shuffle",
}

func (m *mod) word() string {
	if w := words[m.kind]; w != "" {
		return w
	}
	return strings.ToLower(m.kind)
}

// helps are the kinds that a node of another operator may need before it.
var helps = map[string]string{"Flatten": "Flatten", "ChannelShuffle": "", "Slice": ""}

// nameAll gives every module a name of its own: PyTorch's path where a tensor or
// a node tells it, else one made of the node's name.
func nameAll(mods []*mod) {
	type wish struct {
		path    string
		pytorch bool
	}
	wishes := make([]wish, len(mods))
	inside := make(map[string]bool) // paths that have something inside
	for i, m := range mods {
		w := wish{path: m.path, pytorch: true}
		if w.path == "" {
			w.path, w.pytorch = scope(m.node)
		}
		if own, helper := helps[m.kind]; helper && m.node.Op != own && m.node.Op != m.kind {
			parent, _, nested := cutLast(w.path)
			if !nested {
				parent = ""
			}
			w.path = strings.TrimPrefix(parent+"."+m.word(), ".")
		}
		wishes[i] = w
		for p, _, ok := cutLast(w.path); ok; p, _, ok = cutLast(p) {
			inside[p] = true
		}
	}
	taken := make(map[string]bool)
	last := make(map[string]int) // the last number that a name was given
	give := func(i int) {
		m, path := mods[i], wishes[i].path
		if path == "" || wishes[i].pytorch && inside[path] || path == "image" {
			path = strings.TrimPrefix(path+"."+m.word(), ".")
		}
		m.name = path
		for k := last[path] + 1; taken[m.name]; k++ {
			m.name, last[path] = fmt.Sprintf("%s_%d", path, k), k
		}
		taken[m.name] = true
	}
	// Those that tensors name come first, then those with tensors.
	for _, first := range []func(m *mod) bool{
		func(m *mod) bool { return m.path != "" },
		func(m *mod) bool { return m.path == "" && len(m.data) > 0 },
		func(m *mod) bool { return m.path == "" && len(m.data) == 0 },
	} {
		for i, m := range mods {
			if first(m) {
				give(i)
			}
		}
	}
}

// cutLast parts a path at its last dot.
func cutLast(path string) (before, after string, ok bool) {
	i := strings.LastIndexByte(path, '.')
	if i < 0 {
		return path, "", false
	}
	return path[:i], path[i+1:], true
}
