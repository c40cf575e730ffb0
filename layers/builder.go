package layers

import "slices"

// A NetBuilder writes a net down module by module:
//
//	b := layers.NewNetBuilder("small", layers.Input{Channels: 3})
//	x := b.Add("conv1", layers.Conv(3, 16, 3), layers.Image)
//	x = b.Add("relu1", layers.ReLU{}, x)
//	x = b.Add("pool", layers.AdaptiveAvgPool2d{}, x)
//	net, err := b.Net(b.Add("fc", layers.Linear{InFeatures: 16, OutFeatures: 10, Bias: true}, x))
type NetBuilder struct {
	net Net
}

// NewNetBuilder returns a builder of a net for such images. The name is the
// net's Family.
func NewNetBuilder(name string, in Input) *NetBuilder {
	return &NetBuilder{Net{Version: NetVersion, Family: name, Input: in}}
}

// Add adds a module that reads the modules of the given names, or Image, and
// returns its own name.
func (b *NetBuilder) Add(name string, k Kind, in ...string) string {
	b.net.Modules = append(b.net.Modules, Module{Name: name, In: slices.Clone(in), Kind: k})
	return name
}

// Share makes the module last added use a tensor of another name for a role.
func (b *NetBuilder) Share(role, tensor string) {
	m := &b.net.Modules[len(b.net.Modules)-1]
	if m.Tensors == nil {
		m.Tensors = make(map[string]string)
	}
	m.Tensors[role] = tensor
}

// Fake gives the module last added a quantizer.
func (b *NetBuilder) Fake(role string, f Fake) {
	m := &b.net.Modules[len(b.net.Modules)-1]
	if m.Fake == nil {
		m.Fake = make(map[string]Fake)
	}
	m.Fake[role] = f
}

// Net returns the net whose logits are the output of the given module, or says
// in one line what is wrong with it.
func (b *NetBuilder) Net(output string) (*Net, error) {
	n := b.net.clone()
	n.Output = output
	if err := n.Validate(); err != nil {
		return nil, err
	}
	return n, nil
}

// Function returns the net as it is, for Net.Function to check.
func (b *NetBuilder) Function(output string) *Net {
	n := b.net.clone()
	n.Output = output
	return n
}
