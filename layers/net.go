package layers

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"unicode"
)

// A Net is a network as data: modules in the order of their execution. It is
// what a checkpoint stores, and it holds no values: these are a StateDict.
//
// Two equal nets compute the same from the same StateDict. A net is made by a
// family (Arch.Net), by a NetBuilder, from a short YAML file (ParseYAML), or
// from another net by a Rewrite. Nets are not changed once they are made.
type Net struct {
	// Version is NetVersion.
	Version int
	// Family names the preset that the net comes from, "" for none. It is
	// provenance alone: the modules say what is computed.
	Family string
	Input  Input
	// Modules are in the order of execution: a module reads the image and
	// modules that stand before it.
	Modules []Module
	// Output names the module whose output, [N, classes], are the logits.
	Output string
	// StateOrder lists the modules with tensors in the order of PyTorch's
	// state_dict. It is nil where that is the order of execution.
	StateOrder []string
}

// NetVersion is the newest form of a Net that is understood.
const NetVersion = 1

// Image is the name by which modules read the image.
const Image = "image"

// Input describes the images that a net takes.
type Input struct {
	Channels int
	// Height and Width are 0 where the net takes images of any size.
	Height, Width int
}

// A Module is one step of a net: a Kind applied to the outputs of other modules.
type Module struct {
	// Name is the module's path as in PyTorch, "layer1.0.conv1".
	Name string
	// In names the modules whose outputs are read, or Image.
	In []string
	// Tensors names the tensors of some roles. A role that is not listed has
	// the tensor Name + "." + role. Two modules that name one tensor share it.
	Tensors map[string]string
	// Fake has quantizers by what they round: Weight, a tensor of the kind, the
	// FakeInput or the FakeOutput. It is never changed once a net has it.
	Fake map[string]Fake
	// Kind is what is computed.
	Kind Kind
}

// Tensor returns the name of the tensor of a role.
func (m *Module) Tensor(role string) string {
	if name, ok := m.Tensors[role]; ok {
		return name
	}
	return m.Name + "." + role
}

// Limits on a net, which are checked before anything is allocated for it: what
// is beyond them is taken for a mistake or an attack.
const (
	maxModules  = 1 << 12 // modules
	maxIn       = 1 << 10 // inputs of a module
	maxEdges    = 1 << 16 // inputs of all modules
	maxName     = 1 << 8  // bytes of a name
	maxWidth    = 1 << 14 // channels, and height and width of an image
	maxFeatures = 1 << 22 // elements of a flat vector, and channels of all modules
	maxClasses  = 1 << 20
	maxKernel   = 1 << 8
	maxParams   = 1 << 30 // elements of all tensors: 4 GiB
	maxValue    = 1 << 36 // elements of one activation of one image
)

// Module returns the module of the given name, nil if there is none.
func (n *Net) Module(name string) *Module {
	if i := n.index(name); i >= 0 {
		return &n.Modules[i]
	}
	return nil
}

func (n *Net) index(name string) int {
	return slices.IndexFunc(n.Modules, func(m Module) bool { return m.Name == name })
}

// Head returns the last module with parameters that leads to the output: the
// layer that makes the logits. A net without parameters, for which it is nil,
// is not valid.
func (n *Net) Head() *Module {
	if i := n.head(); i >= 0 {
		return &n.Modules[i]
	}
	return nil
}

func (n *Net) head() int {
	for i := len(n.Modules) - 1; i >= 0; i-- {
		if len(n.Modules[i].Kind.Params()) > 0 {
			return i
		}
	}
	return -1
}

// Classes returns the number of logits.
func (n *Net) Classes() int {
	s, err := n.shapes()
	if err != nil {
		return 0
	}
	out := s[n.Output].Shape
	return out[len(out)-1]
}

// String returns a word for the net in messages: its family, or "net".
func (n *Net) String() string {
	if n.Family != "" {
		return n.Family
	}
	return "net"
}

// clone returns a copy whose slices may be changed. Kinds are shared: they are
// never changed in place.
func (n *Net) clone() *Net {
	c := *n
	c.Modules = slices.Clone(n.Modules)
	c.StateOrder = slices.Clone(n.StateOrder)
	return &c
}

// ordered returns the modules in the order of the state_dict.
func (n *Net) ordered() []*Module {
	out := make([]*Module, 0, len(n.Modules))
	if n.StateOrder == nil {
		for i := range n.Modules {
			out = append(out, &n.Modules[i])
		}
		return out
	}
	byName := n.byName()
	for _, name := range n.StateOrder {
		out = append(out, &n.Modules[byName[name]])
	}
	return out
}

func (n *Net) byName() map[string]int {
	m := make(map[string]int, len(n.Modules))
	for i := range n.Modules {
		m[n.Modules[i].Name] = i
	}
	return m
}

// Validate reports the first thing that is wrong with the net, in one line that
// names the module. Nothing is allocated for it: the graph of one image is
// written down, without memory for its values.
func (n *Net) Validate() error {
	if n.Family != "" {
		if err := checkName(n.Family); err != nil {
			return fmt.Errorf("the net's name: %w", err)
		}
	}
	if err := n.validate(true); err != nil {
		return fmt.Errorf("%s: %w", n, err)
	}
	return nil
}

// validate is Validate. What is no classifier may have an output of any shape,
// modules that do not lead to it, and no weights.
func (n *Net) validate(classifier bool) error {
	if n.Version != NetVersion {
		return fmt.Errorf("the net is of version %d, not %d", n.Version, NetVersion)
	}
	if err := n.checkInput(); err != nil {
		return err
	}
	switch {
	case len(n.Modules) == 0:
		return errors.New("a net needs modules")
	case len(n.Modules) > maxModules:
		return fmt.Errorf("%d modules; a net has at most %d", len(n.Modules), maxModules)
	}
	seen := make(map[string]bool, len(n.Modules))
	edges := 0
	for i := range n.Modules {
		if err := n.Modules[i].check(seen); err != nil {
			return err
		}
		if edges += len(n.Modules[i].In); edges > maxEdges {
			return fmt.Errorf("%s: the modules up to here read more than %d others; a net reads at most as many", n.Modules[i].Name, maxEdges)
		}
		seen[n.Modules[i].Name] = true
	}
	if !seen[n.Output] {
		return fmt.Errorf("the output %s is no module of the net", short(n.Output))
	}
	if classifier {
		if err := n.checkReached(); err != nil {
			return err
		}
	}
	if err := n.checkStateOrder(); err != nil {
		return err
	}
	if _, err := n.params(); err != nil {
		return err
	}
	if err := n.checkShapes(classifier); err != nil {
		return err
	}
	if classifier && n.head() < 0 {
		return errors.New("no module has weights, so there is nothing to train; end the net with a Linear")
	}
	return nil
}

func (n *Net) checkInput() error {
	in := n.Input
	switch {
	case in.Channels < 1 || in.Channels > maxWidth:
		return fmt.Errorf("%d image channels; give a number from 1 to %d", in.Channels, maxWidth)
	case in.Height < 0 || in.Height > maxWidth || in.Width < 0 || in.Width > maxWidth || (in.Height == 0) != (in.Width == 0):
		return fmt.Errorf("images of %dx%d pixels; give a height and a width from 1 to %d, or neither", in.Height, in.Width, maxWidth)
	}
	return nil
}

// check looks at one module, whose predecessors have been seen.
func (m *Module) check(seen map[string]bool) error {
	if err := checkName(m.Name); err != nil {
		return err
	}
	switch {
	case m.Name == Image:
		return fmt.Errorf("a module is named %q, which stands for the input", Image)
	case seen[m.Name]:
		return fmt.Errorf("two modules are named %s; give each a name of its own", m.Name)
	case m.Kind == nil:
		return fmt.Errorf("%s: it has no kind", m.Name)
	case len(m.In) > maxIn:
		return fmt.Errorf("%s: %d inputs; a module reads at most %d", m.Name, len(m.In), maxIn)
	}
	for _, from := range m.In {
		if from != Image && !seen[from] {
			return fmt.Errorf("%s: its input %s is no module before it", m.Name, short(from))
		}
	}
	if err := m.Kind.Check(len(m.In)); err != nil {
		return fmt.Errorf("%s: %w", m.Name, err)
	}
	if err := m.checkFakes(); err != nil {
		return fmt.Errorf("%s: %w", m.Name, err)
	}
	roles := m.Params()
	for role, tensor := range m.Tensors {
		if err := checkName(tensor); err != nil {
			return fmt.Errorf("%s: %w", m.Name, err)
		}
		if !slices.ContainsFunc(roles, func(p Param) bool { return p.Role == role }) {
			return fmt.Errorf("%s: a %s has no tensor %s", m.Name, KindName(m.Kind), short(role))
		}
	}
	return nil
}

// checkName reports whether a name can be one of a module or a tensor.
func checkName(name string) error {
	switch {
	case name == "":
		return errors.New("there is no name")
	case len(name) > maxName:
		return fmt.Errorf("a name of %d bytes; at most %d are taken", len(name), maxName)
	case strings.ContainsFunc(name, unnameable):
		return fmt.Errorf("the name %q has spaces or control characters in it", name)
	}
	return nil
}

// unnameable reports whether a character cannot be part of a name: white space,
// what is not printed, and what stands for bytes that are no UTF-8.
func unnameable(r rune) bool { return r == ' ' || r == 0xfffd || !unicode.IsPrint(r) }

// checkReached reports a module that the output does not depend on.
func (n *Net) checkReached() error {
	needed := map[string]bool{n.Output: true}
	image := false
	for i := len(n.Modules) - 1; i >= 0; i-- {
		m := &n.Modules[i]
		if !needed[m.Name] {
			return fmt.Errorf("%s: nothing that leads to the output %s reads it; remove it", m.Name, n.Output)
		}
		for _, from := range m.In {
			needed[from] = true
			image = image || from == Image
		}
	}
	if !image {
		return fmt.Errorf("no module reads %q", Image)
	}
	return nil
}

// checkStateOrder makes sure that StateOrder lists every module with tensors once.
func (n *Net) checkStateOrder() error {
	if n.StateOrder == nil {
		return nil
	}
	at := n.byName()
	seen := make(map[string]bool, len(n.StateOrder))
	for _, name := range n.StateOrder {
		if _, ok := at[name]; !ok || seen[name] {
			return fmt.Errorf("the order of the state_dict lists %s, which is no module, or twice", short(name))
		}
		seen[name] = true
	}
	for i := range n.Modules {
		if m := &n.Modules[i]; !seen[m.Name] && len(m.Params()) > 0 {
			return fmt.Errorf("the order of the state_dict lacks %s", m.Name)
		}
	}
	return nil
}

// A tensor is one tensor of a net: the module and the role that it was first
// met in.
type tensor struct {
	Param
	name string
}

// params returns the tensors of the net in the order of the state_dict, each
// once, without asking for memory.
func (n *Net) params() ([]tensor, error) {
	var out []tensor
	at := make(map[string]int)
	total := 0
	for _, m := range n.ordered() {
		for _, p := range m.Params() {
			name := m.Tensor(p.Role)
			if i, ok := at[name]; ok {
				if _, named := m.Tensors[p.Role]; !named {
					return nil, fmt.Errorf("%s: two tensors are named %s; give each layer a name of its own", m.Name, name)
				}
				if !out[i].Spec.Equal(p.Spec) || out[i].Layout != p.Layout || out[i].Buffer != p.Buffer {
					return nil, fmt.Errorf("%s: it shares %s, which is %v elsewhere and %v here", m.Name, name, out[i].Spec, p.Spec)
				}
				continue
			}
			total += p.Spec.Len()
			if total > maxParams {
				return nil, fmt.Errorf("%s: the net has more than %d weights", m.Name, maxParams)
			}
			at[name] = len(out)
			out = append(out, tensor{p, name})
		}
	}
	return out, nil
}
