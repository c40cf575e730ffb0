package layers

import (
	"cmp"
	"fmt"
	"maps"
	"reflect"
	"slices"
)

// An Arch describes a model whole: two models of equal Arch have the same
// tensors.
type Arch struct {
	// Family is one of Families.
	Family  string `json:"family"`
	Classes int    `json:"classes"`
	// Base scales the net: each width is the family's own times Base over the
	// family's base, rounded as the family does. 0 means the family's, which is
	// the channels of its first layer for most. Where Widths are given, Base
	// has no effect.
	Base int `json:"base,omitempty"`
	// Widths are the output channels of each block, or of each stage; nil means
	// those that Base gives. A family whose net is not a short list of widths
	// takes none.
	Widths []int `json:"widths,omitempty"`
	// InChannels is the number of channels of an image; 0 means 3.
	InChannels int `json:"in_channels,omitempty"`
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
// everything filled in: InChannels always, Widths where the family takes them,
// Base where the widths are multiples of one. Of any other net it has Family
// (where the net comes from a family at all), Classes and InChannels.
func (n *Net) Arch() Arch {
	a := Arch{Family: n.Family, Classes: n.Classes(), InChannels: n.Input.Channels}
	f, ok := familyOf(n.Family)
	if !ok {
		return a
	}
	at := n.byName()
	channels := func(module string) int {
		if i, ok := at[module]; ok {
			return outputs(n.Modules[i].Kind)
		}
		return 0
	}
	full := a
	if f.widths != nil {
		if full.Widths = FamilyWidths(n.Family, channels); full.Widths == nil {
			return a
		}
	} else if full.Base = f.baseOf(channels); full.Base == 0 {
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
// channels of the convolutions and linear layers are known, by the modules'
// names: 0 for one that is not. It returns nil where they do not tell all widths,
// or the family takes none. Whether a net of these widths has all the channels
// that are known is the caller's to see.
func FamilyWidths(name string, channels func(module string) int) []int {
	f, ok := familyOf(name)
	if !ok || f.widths == nil {
		return nil
	}
	// A layer has as many channels as a width, or half or twice as many. No mark
	// is another one, nor half or twice another one.
	const marked = 64
	marks := make([]int, len(f.widths))
	for i := range marks {
		marks[i] = 2 * f.groups * (marked + i)
	}
	b := NewNetBuilder(f.name, Input{Channels: 1})
	f.build(b, Arch{Family: f.name, Classes: 1, InChannels: 1, Base: f.base, Widths: marks})
	widths := make([]int, len(marks))
	for i := range b.net.Modules {
		m := &b.net.Modules[i]
		out := outputs(m.Kind)
		for at, mark := range marks {
			if widths[at] != 0 {
				continue
			}
			switch out {
			case mark:
				widths[at] = channels(m.Name)
			case mark / 2:
				widths[at] = 2 * channels(m.Name)
			case 2 * mark:
				widths[at] = channels(m.Name) / 2
			}
		}
	}
	if slices.Contains(widths, 0) {
		return nil
	}
	return widths
}

// outputs returns the output channels of a convolution or of a linear layer, 0
// of other kinds.
func outputs(k Kind) int {
	switch k := k.(type) {
	case Conv2d:
		return k.OutChannels
	case Linear:
		return k.OutFeatures
	}
	return 0
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
	f, ok := familyOf(a.Family)
	if !ok {
		return a, family{}, unknownFamily(a.Family)
	}
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
	if len(a.Widths) > 0 && f.widths == nil {
		return a, f, fmt.Errorf("%s: widths are given, but its net is not a list of them; scale it by its base width, %d", f.name, f.base)
	}
	if len(a.Widths) == 0 {
		a.Base = cmp.Or(a.Base, f.base)
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
