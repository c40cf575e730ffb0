package layers

import (
	"bytes"
	"cmp"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strconv"
	"strings"
	"unicode/utf8"

	"github.com/potstill/potstill/engine"
	"github.com/potstill/potstill/engine/yamldoc"
)

// Open returns the net that a names: that of a family, or, where a.Family is
// the path of a YAML file, the one written there, which must leave Base and
// Widths alone. The error of a YAML file is a *yamldoc.Error.
func Open(a Arch) (*Net, error) {
	if !IsYAML(a.Family) {
		return a.Net()
	}
	if a.Base != 0 || a.Widths != nil {
		return nil, fmt.Errorf("%s has its own widths; leave base and widths out", a.Family)
	}
	text, err := os.ReadFile(a.Family)
	if err != nil {
		return nil, fmt.Errorf("%w; name a YAML file of a net, or a family; %s", err, NearFamilies(a.Family))
	}
	return ParseYAML(a.Family, text, a.Classes)
}

// IsYAML reports whether a name is that of a YAML file.
func IsYAML(name string) bool {
	ext := strings.ToLower(filepath.Ext(name))
	return ext == ".yaml" || ext == ".yml"
}

// ParseYAML reads a net in the form in which people write it:
//
//	input: {channels: 3}
//	modules:
//	  conv1: {kind: Conv2d, out_channels: 16, kernel_size: 3, padding: 1, bias: false}
//	  bn1: BatchNorm2d
//	  relu1: ReLU
//	  conv2: {kind: Conv2d, out_channels: 16, kernel_size: 3, padding: 1}
//	  add: {kind: Add, from: [conv2, relu1]}
//	  pool: AdaptiveAvgPool2d
//	  fc: Linear
//
// A module is its name and its kind with the kind's settings, under the keys of
// files; a kind alone has its defaults. It reads the module before it, unless
// "from" names others, or the image. What a module takes (in_channels,
// in_features, num_features) follows from what it reads, and what the last
// convolution or linear layer makes is the number of classes. Other keys of the
// document are name, output (else the last module) and state_order; input may
// have a height and a width, and must where a Flatten is in the net.
//
// File is the document's name in errors, and without its ending the net's name
// unless the document has one. Errors are *yamldoc.Error, with line and column.
func ParseYAML(file string, text []byte, classes int) (*Net, error) {
	doc := netDoc{Name: nameOf(file)}
	d := yamldoc.Decoder{File: file, Document: "net", Empties: "it needs modules", Shared: "write every module out"}
	src, err := d.Decode(text, &doc)
	if err != nil {
		return nil, err
	}
	n := &Net{
		Version: NetVersion, Family: doc.Name, Input: Input(doc.Input), Modules: doc.Modules,
		Output: doc.Output, StateOrder: doc.StateOrder,
	}
	if err := checkName(n.Family); err != nil {
		return nil, src.Errorf("name", "%v", err)
	}
	if n.Input.Channels == 0 {
		n.Input.Channels = 3
	}
	if n.Output == "" && len(n.Modules) > 0 {
		n.Output = n.Modules[len(n.Modules)-1].Name
	}
	if err := n.checkInput(); err != nil {
		return nil, src.Errorf("input", "%v", err)
	}
	if name, err := n.complete(classes); err != nil {
		return nil, src.Errorf(yamldoc.Join("modules", name), "%v", err)
	}
	if err := n.validate(true); err != nil {
		at := "modules"
		for i := range n.Modules {
			if name := n.Modules[i].Name; strings.HasPrefix(err.Error(), name+": ") {
				at = yamldoc.Join(at, name)
			}
		}
		return nil, src.Errorf(at, "%v", err)
	}
	if got := n.Classes(); got != classes {
		head := n.Head()
		return nil, src.Errorf(yamldoc.Join("modules", head.Name), "%s: the net has %d classes, %d are needed; leave the number out, and it follows from the data", head.Name, got, classes)
	}
	return n, nil
}

// nameOf returns the name of a net whose file gives none: the file's, without
// its ending, with a hyphen for each character that a name cannot have.
func nameOf(file string) string {
	name := strings.Map(func(r rune) rune {
		if unnameable(r) {
			return '-'
		}
		return r
	}, strings.TrimSuffix(filepath.Base(file), filepath.Ext(file)))
	for len(name) > maxName {
		_, size := utf8.DecodeLastRuneInString(name)
		name = name[:len(name)-size]
	}
	return cmp.Or(name, "net")
}

// A netDoc is the document.
type netDoc struct {
	Name       string     `yaml:"name"`
	Input      inputDoc   `yaml:"input"`
	Modules    moduleDocs `yaml:"modules"`
	Output     string     `yaml:"output"`
	StateOrder []string   `yaml:"state_order"`
}

type inputDoc struct {
	Channels int `yaml:"channels"`
	Height   int `yaml:"height"`
	Width    int `yaml:"width"`
}

type moduleDocs []Module

// DecodeNode implements yamldoc.NodeDecoder.
func (ms *moduleDocs) DecodeNode(n *yamldoc.Node) error {
	previous := Image
	return n.Each(func(name string, v *yamldoc.Node) error {
		if len(*ms) == maxModules {
			return v.Errorf("", "more than %d modules", maxModules)
		}
		if err := checkName(name); err != nil {
			return n.Errorf(name+"#", "%v", err)
		}
		m := Module{Name: name, In: []string{previous}}
		previous = name
		if err := m.decodeNode(v); err != nil {
			return err
		}
		*ms = append(*ms, m)
		return nil
	})
}

// decodeNode reads a module: the name of its kind, or keys and values.
func (m *Module) decodeNode(n *yamldoc.Node) error {
	var name string
	if n.Decode(&name) == nil {
		kind, err := kindOf(name)
		if err != nil {
			return n.Errorf("", "%s: %v", m.Name, err)
		}
		m.Kind = kind.Interface().(Kind)
		return nil
	}
	if ok, err := n.Key("kind", &name); err != nil {
		return err
	} else if !ok {
		return n.Errorf("", "%s has no kind; give one of docs/nets.md, as Conv2d", m.Name)
	}
	kind, err := kindOf(name)
	if err != nil {
		return n.Errorf("kind", "%s: %v", m.Name, err)
	}
	fields, known := make(map[string]reflect.Value), []string{"kind", "from", "tensors"}
	settings(kind, func(key string, f reflect.Value) { fields[key], known = f, append(known, key) })
	err = n.Each(func(key string, v *yamldoc.Node) error {
		switch f, ok := fields[key]; {
		case key == "kind":
			return nil
		case key == "from":
			m.In = nil
			return v.Decode(&m.In)
		case key == "tensors":
			m.Tensors = make(map[string]string)
			return v.Each(func(role string, t *yamldoc.Node) error {
				var tensor string
				err := t.Decode(&tensor)
				m.Tensors[role] = tensor
				return err
			})
		case key == "fake":
			m.Fake = make(map[string]Fake)
			return v.Each(func(role string, q *yamldoc.Node) error {
				var f Fake
				err := q.Decode(&f)
				m.Fake[role] = f
				return err
			})
		case ok:
			return v.Decode(f.Addr().Interface())
		}
		return n.Errorf(key+"#", "%s: unknown key %s of a %s; known are %s", m.Name, short(key), name, strings.Join(append(known, "fake"), ", "))
	})
	m.Kind = kind.Interface().(Kind)
	return err
}

// A sizer is a Kind whose sizes can follow from what it reads.
type sizer interface {
	Kind
	// sized returns the kind with the sizes that are 0 filled in: from the
	// specs of the inputs, and with out as the size of its output.
	sized(in []engine.Spec, out int) Kind
}

// complete fills in the sizes that the document leaves out, module by module,
// and checks each. An error comes with the module's name.
func (n *Net) complete(classes int) (at string, err error) {
	last := -1
	for i := range n.Modules {
		switch n.Modules[i].Kind.(type) {
		case Conv2d, Linear:
			last = i
		}
	}
	b := engine.NewBuilder(engine.NewGraph())
	values := map[string]*engine.Value{Image: b.Input(Image, n.Input.trial())}
	seen := make(map[string]bool)
	flat := make(map[string]bool)  // whose width depends on the size of the images
	fixed := make(map[string]bool) // whose height and width do not
	for i := range n.Modules {
		m := &n.Modules[i]
		var specs []engine.Spec
		c := Call{Builder: b, module: m, values: make(map[string]*engine.Variable)}
		for _, from := range m.In {
			v := values[from]
			if v == nil {
				return m.Name, fmt.Errorf("%s: its input %s is no module before it", m.Name, short(from))
			}
			c.In, specs = append(c.In, v), append(specs, v.Spec)
			flat[m.Name] = flat[m.Name] || flat[from]
			fixed[m.Name] = fixed[from] && (fixed[m.Name] || len(specs) == 1)
		}
		if k, ok := m.Kind.(sizer); ok {
			out := 0
			if i == last {
				out = classes
			}
			sized := k.sized(specs, out)
			if flat[m.Name] && n.Input.Height == 0 && sized != m.Kind {
				return m.Name, fmt.Errorf("%s: what it takes depends on the size of the images behind a Flatten; give the input a height and a width", m.Name)
			}
			m.Kind = sized
		}
		switch m.Kind.(type) {
		case Flatten:
			flat[m.Name] = flat[m.Name] || len(specs) > 0 && len(specs[0].Shape) == 4 && !fixed[m.Name]
		case AdaptiveAvgPool2d, AdaptiveMaxPool2d:
			fixed[m.Name] = true
		case Linear:
			flat[m.Name] = false
		}
		if err := m.check(seen); err != nil {
			return m.Name, err
		}
		seen[m.Name] = true
		for _, p := range m.Params() {
			if p.Spec.Len() > maxParams {
				return m.Name, fmt.Errorf("%s: the net has more than %d weights", m.Name, maxParams)
			}
			name := m.Tensor(p.Role)
			c.values[name] = &engine.Variable{Name: name, Spec: p.Spec}
		}
		restore := b.Scope(m.Name)
		values[m.Name] = c.build()
		restore()
		if err := b.Err(); err != nil {
			return m.Name, err
		}
	}
	return "", nil
}

// YAML writes the net in the form that ParseYAML reads, sizes and all but the
// number of classes.
func (n *Net) YAML() ([]byte, error) {
	var w bytes.Buffer
	if n.Family != "" {
		fmt.Fprintf(&w, "name: %s\n", plain(n.Family))
	}
	fmt.Fprintf(&w, "input: {channels: %d", n.Input.Channels)
	if n.Input.Height > 0 {
		fmt.Fprintf(&w, ", height: %d, width: %d", n.Input.Height, n.Input.Width)
	}
	fmt.Fprintln(&w, "}\nmodules:")
	previous := Image
	head := n.head()
	for i := range n.Modules {
		m := &n.Modules[i]
		line, err := m.yaml(previous, i == head)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", m.Name, err)
		}
		fmt.Fprintf(&w, "  %s: %s\n", plain(m.Name), line)
		previous = m.Name
	}
	if n.Output != previous {
		fmt.Fprintf(&w, "output: %s\n", plain(n.Output))
	}
	if n.StateOrder != nil {
		fmt.Fprintf(&w, "state_order: [%s]\n", plainList(n.StateOrder))
	}
	return w.Bytes(), nil
}

// plain writes a name as YAML takes it for one, in quotes where it would be a
// number, a word of YAML's or punctuation.
func plain(name string) string {
	safe := func(r rune) bool {
		return r == '_' || r == '.' || r == '-' || r >= '0' && r <= '9' || r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z'
	}
	letter := name != "" && (name[0] == '_' || name[0] >= 'A')
	if letter && !slices.Contains(yamlWords, strings.ToLower(name)) && !strings.ContainsFunc(name, func(r rune) bool { return !safe(r) }) {
		return name
	}
	return strconv.Quote(name)
}

// yamlWords are names for true, false and nothing in some version of YAML.
var yamlWords = []string{"true", "false", "yes", "no", "on", "off", "y", "n", "null", "inf", "nan"}

func plainList(names []string) string {
	out := make([]string, len(names))
	for i, name := range names {
		out[i] = plain(name)
	}
	return strings.Join(out, ", ")
}

// yaml writes a module's kind and settings; of the head not how many classes it
// makes.
func (m *Module) yaml(previous string, head bool) (string, error) {
	name := KindName(m.Kind)
	base, err := kindOf(name)
	if err != nil {
		return "", err
	}
	parts := []string{"kind: " + name}
	var defaults []any
	settings(base, func(_ string, f reflect.Value) { defaults = append(defaults, f.Interface()) })
	i := 0
	settings(reflect.ValueOf(m.Kind), func(key string, f reflect.Value) {
		v := f.Interface()
		if !reflect.DeepEqual(v, defaults[i]) && !(head && (key == "out_channels" || key == "out_features")) {
			text, jsonErr := json.Marshal(v)
			if jsonErr != nil {
				err = jsonErr
			}
			parts = append(parts, key+": "+string(text))
		}
		i++
	})
	if !slices.Equal(m.In, []string{previous}) {
		parts = append(parts, "from: ["+plainList(m.In)+"]")
	}
	if len(m.Tensors) > 0 {
		var tensors []string
		for _, p := range m.Params() {
			if t, ok := m.Tensors[p.Role]; ok {
				tensors = append(tensors, plain(p.Role)+": "+plain(t))
			}
		}
		parts = append(parts, "tensors: {"+strings.Join(tensors, ", ")+"}")
	}
	if len(m.Fake) > 0 {
		text, jsonErr := json.Marshal(m.Fake) // which is YAML too
		if jsonErr != nil {
			err = jsonErr
		}
		parts = append(parts, "fake: "+string(text))
	}
	if len(parts) == 1 {
		return name, err
	}
	return "{" + strings.Join(parts, ", ") + "}", err
}
