package layers

import (
	"fmt"
	"maps"
	"reflect"
	"slices"
	"strings"
)

// An Arch describes a model whole: two models of equal Arch have the same
// tensors.
type Arch struct {
	// Family is one of Families.
	Family  string `json:"family"`
	Classes int    `json:"classes"`
	// Base scales the net: each width is the family's own times Base over the
	// family's base (16, or 64 for resnet18), rounded. 0 means the family's.
	// Where Widths are given, Base has no effect.
	Base int `json:"base,omitempty"`
	// Widths are the output channels of each block, of each stage for
	// resnet18; nil means those that Base gives. A pruned net is the same
	// family with other widths.
	Widths []int `json:"widths,omitempty"`
	// InChannels is the number of channels of an image; 0 means 3.
	InChannels int `json:"in_channels,omitempty"`
}

// A family is a rule that makes a net from a list of widths.
type family struct {
	name string
	base int
	// widths are those at the family's base.
	widths []int
	// groups must divide every width but the last free ones.
	groups, free int
	build        func(b *NetBuilder, a Arch) (output string)
}

// times returns the multiples of a base.
func times(base int, multipliers ...int) []int {
	for i := range multipliers {
		multipliers[i] *= base
	}
	return multipliers
}

// scale returns the widths at another base: the nearest that the groups divide.
func (f family) scale(base int) []int {
	out := make([]int, len(f.widths))
	for i, w := range f.widths {
		out[i] = max(1, (2*w*base+f.base*f.groups)/(2*f.base*f.groups)) * f.groups
	}
	return out
}

// families in the order in which they are listed to users.
var families = []family{
	{name: "cnn-plain", base: 16, widths: times(16, 1, 2, 4, 8, 8), groups: 1, build: buildCNN(plainBlock)},
	{name: "cnn-dwpw", base: 16, widths: times(16, 1, 2, 4, 8, 8, 8, 16, 16, 16), groups: 1, build: buildCNN(depthwiseBlock)},
	{name: "cnn-group", base: 16, widths: times(16, 1, 2, 4, 8, 8, 8), groups: 2, free: 1, build: buildCNN(groupBlock)},
	{name: "cnn-group-printed", base: 16, widths: times(16, 1, 2, 4, 8, 8, 8), groups: 2, build: buildCNN(printedBlock)},
	{name: "hw7-student", base: 16, widths: times(16, 1, 2, 4, 8, 16, 16, 16, 16), groups: 1, build: buildCNN(depthwiseBlock)},
	{name: "resnet18", base: 64, widths: times(64, 1, 2, 4, 8), groups: 1, build: buildResNet18},
	{name: "shufflenet_v2_x0_5", base: 24, widths: []int{24, 48, 96, 192, 1024}, groups: 2, free: 1, build: buildShuffleNetV2},
}

// Families returns the names of the model families.
func Families() []string {
	names := make([]string, len(families))
	for i, f := range families {
		names[i] = f.name
	}
	return names
}

// Net returns the net that a describes. The error says in one line what in a
// cannot be.
func (a Arch) Net() (*Net, error) {
	a, f, err := a.resolve()
	if err != nil {
		return nil, err
	}
	b := NewNetBuilder(f.name, Input{Channels: a.InChannels})
	return b.Net(f.build(b, a))
}

// Arch returns the description of a net that is just what a family makes, with
// everything filled in: Widths and InChannels always, Base where the widths are
// multiples of one. Of any other net it has Family (where the net comes from a
// family at all), Classes and InChannels.
func (n *Net) Arch() Arch {
	a := Arch{Family: n.Family, Classes: n.Classes(), InChannels: n.Input.Channels}
	full := a
	full.Widths = FamilyWidths(n.Family, func(module string) int {
		if m := n.Module(module); m != nil {
			if conv, ok := m.Kind.(Conv2d); ok {
				return conv.OutChannels
			}
		}
		return 0
	})
	if full.Widths == nil {
		return a
	}
	full, _, err := full.resolve()
	if err != nil {
		return a
	}
	same, err := full.Net()
	if err != nil || !same.Equal(n) {
		return a
	}
	return full
}

// FamilyWidths returns the widths of a net of a family of which only the output
// channels of the convolutions are known, by the modules' names: 0 for one that
// is not. It returns nil where they do not tell all widths. Whether a net of
// these widths has all the channels that are known is the caller's to see.
func FamilyWidths(name string, channels func(module string) int) []int {
	i := slices.IndexFunc(families, func(f family) bool { return f.name == name })
	if i < 0 {
		return nil
	}
	f := families[i]
	// A convolution has as many channels as a width, or half as many. No mark is
	// another one, nor half of another one.
	marks := make([]int, len(f.widths))
	for i := range marks {
		marks[i] = 4 * (64 + i)
	}
	b := NewNetBuilder(f.name, Input{Channels: 1})
	f.build(b, Arch{Family: f.name, Classes: 1, InChannels: 1, Widths: marks})
	widths := make([]int, len(marks))
	for i := range b.net.Modules {
		m := &b.net.Modules[i]
		conv, ok := m.Kind.(Conv2d)
		if !ok {
			continue
		}
		for part := 1; part <= 2; part++ {
			if at := slices.Index(marks, part*conv.OutChannels); at >= 0 && widths[at] == 0 {
				widths[at] = part * channels(m.Name)
			}
		}
	}
	if slices.Contains(widths, 0) {
		return nil
	}
	return widths
}

// Equal reports whether two nets are the same module by module.
func (n *Net) Equal(o *Net) bool {
	return n.Input == o.Input && n.Output == o.Output && slices.Equal(n.StateOrder, o.StateOrder) &&
		slices.EqualFunc(n.Modules, o.Modules, func(a, b Module) bool {
			return a.Name == b.Name && slices.Equal(a.In, b.In) && maps.Equal(a.Tensors, b.Tensors) && reflect.DeepEqual(a.Kind, b.Kind)
		})
}

// resolve checks a and fills in what it leaves open.
func (a Arch) resolve() (Arch, family, error) {
	i := slices.IndexFunc(families, func(f family) bool { return f.name == a.Family })
	if i < 0 {
		return a, family{}, fmt.Errorf("unknown model family %q; choose one of %s", a.Family, strings.Join(Families(), ", "))
	}
	f := families[i]
	if a.InChannels == 0 {
		a.InChannels = 3
	}
	switch {
	case a.Classes < 1 || a.Classes > maxClasses:
		return a, f, fmt.Errorf("%s: %d classes; give a number from 1 to %d", f.name, a.Classes, maxClasses)
	case a.InChannels < 1 || a.InChannels > maxWidth:
		return a, f, fmt.Errorf("%s: %d image channels; give a number from 1 to %d", f.name, a.InChannels, maxWidth)
	case a.Base < 0 || a.Base > maxWidth:
		return a, f, fmt.Errorf("%s: base width %d; give a number from 1 to %d, or 0 for the family's %d", f.name, a.Base, maxWidth, f.base)
	}
	if len(a.Widths) == 0 {
		if a.Base == 0 {
			a.Base = f.base
		}
		a.Widths = f.scale(a.Base)
	} else {
		a.Widths = slices.Clone(a.Widths)
		if a.Base = a.Widths[0] * f.base / f.widths[0]; !slices.Equal(a.Widths, f.scale(a.Base)) {
			a.Base = 0
		}
	}
	return a, f, f.checkWidths(a.Widths)
}

// checkWidths says what is wrong with a list of widths.
func (f family) checkWidths(widths []int) error {
	if len(widths) != len(f.widths) {
		return fmt.Errorf("%s: %d widths given, it has %d blocks and takes as many", f.name, len(widths), len(f.widths))
	}
	for i, w := range widths {
		switch {
		case w < 1 || w > maxWidth:
			return fmt.Errorf("%s: width %d of block %d; give a number from 1 to %d", f.name, w, i, maxWidth)
		case w%f.groups != 0 && i < len(widths)-f.free:
			return fmt.Errorf("%s: width %d of block %d does not divide into %d groups; give a multiple of %d", f.name, w, i, f.groups, f.groups)
		}
	}
	return nil
}
