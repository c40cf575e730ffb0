package layers

import (
	"fmt"
	"math"
)

// A regNet is what tells RegNets apart (Radosavovic et al., arXiv:2003.13678):
// the widths and the numbers of blocks of their stages, and how many channels a
// group of their convolutions has.
type regNet struct {
	widths, repeats []int
	group           int
	// squeeze is the share of a block's input channels to which squeeze and
	// excitation goes; 0 for none.
	squeeze float64
}

var (
	regNetX400MF = regNet{[]int{32, 64, 160, 400}, []int{1, 2, 7, 12}, 16, 0}
	regNetY400MF = regNet{[]int{48, 104, 208, 440}, []int{1, 3, 6, 6}, 8, 0.25}
)

// buildRegNet returns the builder of torchvision's RegNets. The base is the
// width of the stem, 32; the groups' width is scaled as all others are.
func buildRegNet(r regNet) func(b *NetBuilder, a Arch) (output string) {
	return func(b *NetBuilder, a Arch) string {
		const own = 32
		p := resNetParts(b)
		x := p.activated("stem", 0, Image, p.conv(a.InChannels, a.Base, 3, 2, 1))
		in, group := a.Base, scaled(r.group, a.Base, own)
		for i, w := range r.widths {
			out := scaled(w, a.Base, own*group) * group
			for k := range r.repeats[i] {
				stride := 1
				if k == 0 {
					stride = 2
				}
				x = r.block(p, fmt.Sprintf("trunk_output.block%d.block%d-%d", i+1, i+1, k), x, in, out, out/group, stride)
				in = out
			}
		}
		x = b.Add("avgpool", AdaptiveAvgPool2d{}, x)
		return b.Add("fc", linear(in, a.Classes, NormalInit(0.01)), x)
	}
}

// block is a residual block: a pointwise convolution, a 3×3 one in groups with
// the stride, squeeze and excitation where the net has it, and a pointwise one, all
// of the output's width.
func (r regNet) block(p parts, name, x string, in, out, groups, stride int) string {
	side := x
	if in != out || stride != 1 {
		side = p.normalized(name+".proj", 0, x, p.conv(in, out, 1, stride, 1))
	}
	y := p.activated(name+".f.a", 0, x, p.conv(in, out, 1, 1, 1))
	y = p.activated(name+".f.b", 0, y, p.conv(out, out, 3, stride, groups))
	if r.squeeze > 0 {
		squeezed := max(1, int(math.RoundToEven(r.squeeze*float64(in))))
		y = p.excited(name+".f.se", y, out, squeezed, ReLU{}, Sigmoid{}, "")
	}
	y = p.normalized(name+".f.c", 0, y, p.conv(out, out, 1, 1, 1))
	y = p.Add(name+".add", Add{}, side, y)
	return p.Add(name+".activation", ReLU{}, y)
}
