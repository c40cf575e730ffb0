package layers

import (
	"fmt"
	"slices"
	"strings"

	"github.com/potstill/potstill/engine"
)

// A family is a rule that makes a net from a few sizes.
type family struct {
	name string
	// base is the family's own Arch.Base.
	base int
	// widths are those at the family's base; nil for a family that takes none.
	widths []int
	// groups must divide every width but the last free ones.
	groups, free int
	// build writes the net of an Arch that is resolved.
	build func(b *NetBuilder, a Arch) (output string)
	// beside are the beginnings of the names of tensors that files of the family
	// may hold and that its net does not have: auxiliary heads.
	beside []string
}

// A FamilyGroup is a list of families that are made for the same pictures.
type FamilyGroup struct {
	// Title says in a few words what the families are for.
	Title string
	// Families are their names.
	Families []string
}

// A familyGroup is a FamilyGroup with its rules.
type familyGroup struct {
	title    string
	families []family
}

// multiples returns the multiples of a base.
func multiples(base int, multipliers ...int) []int {
	for i := range multipliers {
		multipliers[i] *= base
	}
	return multipliers
}

// vggWidths returns the widths of a VGG of five stages of so many convolutions.
func vggWidths(repeats ...int) []int {
	const hidden = 4096
	var out []int
	for i, n := range repeats {
		for range n {
			out = append(out, min(64<<i, 512))
		}
	}
	return append(out, hidden, hidden)
}

// familyGroups are all families, in the order in which they are listed to users.
var familyGroups = []familyGroup{
	{"the compression study's, for any pictures", []family{
		{name: "cnn-plain", base: 16, widths: multiples(16, 1, 2, 4, 8, 8), build: buildCNN(plainBlock)},
		{name: "cnn-dwpw", base: 16, widths: multiples(16, 1, 2, 4, 8, 8, 8, 16, 16, 16), build: buildCNN(depthwiseBlock)},
		{name: "cnn-group", base: 16, widths: multiples(16, 1, 2, 4, 8, 8, 8), groups: 2, free: 1, build: buildCNN(groupBlock)},
		{name: "cnn-group-printed", base: 16, widths: multiples(16, 1, 2, 4, 8, 8, 8), groups: 2, build: buildCNN(printedBlock)},
		{name: "hw7-student", base: 16, widths: multiples(16, 1, 2, 4, 8, 16, 16, 16, 16), build: buildCNN(depthwiseBlock)},
	}},
	{"torchvision's, for photographs", []family{
		{name: "resnet18", base: 64, widths: multiples(64, 1, 2, 4, 8), build: buildResNet(basic, 2, 2, 2, 2)},
		{name: "resnet34", base: 64, widths: multiples(64, 1, 2, 4, 8), build: buildResNet(basic, 3, 4, 6, 3)},
		{name: "resnet50", base: 64, widths: multiples(64, 1, 2, 4, 8), build: buildResNet(bottleneck(1, 1), 3, 4, 6, 3)},
		{name: "resnet101", base: 64, widths: multiples(64, 1, 2, 4, 8), build: buildResNet(bottleneck(1, 1), 3, 4, 23, 3)},
		{name: "resnet152", base: 64, widths: multiples(64, 1, 2, 4, 8), build: buildResNet(bottleneck(1, 1), 3, 8, 36, 3)},
		{name: "resnext50_32x4d", base: 64, widths: multiples(64, 1, 2, 4, 8), groups: 16, build: buildResNet(bottleneck(2, 32), 3, 4, 6, 3)},
		{name: "wide_resnet50_2", base: 64, widths: multiples(64, 1, 2, 4, 8), build: buildResNet(bottleneck(2, 1), 3, 4, 6, 3)},
		{name: "vgg11_bn", base: 64, widths: vggWidths(1, 1, 2, 2, 2), build: buildVGG(true, 1, 1, 2, 2, 2)},
		{name: "vgg16", base: 64, widths: vggWidths(2, 2, 3, 3, 3), build: buildVGG(false, 2, 2, 3, 3, 3)},
		{name: "vgg16_bn", base: 64, widths: vggWidths(2, 2, 3, 3, 3), build: buildVGG(true, 2, 2, 3, 3, 3)},
		{name: "googlenet", base: 64, build: buildGoogLeNet, beside: []string{"aux1.", "aux2."}},
		{name: "inception_v3", base: 32, build: buildInceptionV3, beside: []string{"AuxLogits."}},
		{name: "densenet121", base: 64, build: buildDenseNet(6, 12, 24, 16)},
		{name: "squeezenet1_1", base: 64, build: buildSqueezeNet},
		{name: "mobilenet_v2", base: 32, build: buildMobileNetV2},
		{name: "mobilenet_v3_small", base: 16, build: buildMobileNetV3(mobileNetV3Small, 1024)},
		{name: "mobilenet_v3_large", base: 16, build: buildMobileNetV3(mobileNetV3Large, 1280)},
		{name: "mnasnet1_0", base: 32, build: buildMNASNet},
		{name: "shufflenet_v2_x0_5", base: 24, widths: []int{24, 48, 96, 192, 1024}, groups: 2, free: 1, build: buildShuffleNetV2},
		{name: "shufflenet_v2_x1_0", base: 24, widths: []int{24, 116, 232, 464, 1024}, groups: 2, free: 1, build: buildShuffleNetV2},
		{name: "efficientnet_b0", base: 32, build: buildEfficientNet(1)},
		{name: "efficientnet_b1", base: 32, build: buildEfficientNet(1.1)},
		{name: "regnet_x_400mf", base: 32, build: buildRegNet(regNetX400MF)},
		{name: "regnet_y_400mf", base: 32, build: buildRegNet(regNetY400MF)},
		{name: "convnext_tiny", base: 96, widths: multiples(96, 1, 2, 4, 8), build: buildConvNeXt(3, 3, 9, 3)},
	}},
	{"other programs', for photographs", []family{
		{name: "mobilenet_v1", base: 32, widths: multiples(32, 1, 2, 4, 4, 8, 8, 16, 16, 16, 16, 16, 16, 32, 32), build: buildMobileNetV1},
		{name: "efficientnet_lite0", base: 32, build: buildEfficientNetLite0},
	}},
	{"RepDistiller's, for small pictures", []family{
		{name: "resnet20", base: 16, widths: multiples(16, 1, 1, 2, 4), build: buildSmallResNet(3)},
		{name: "resnet32", base: 16, widths: multiples(16, 1, 1, 2, 4), build: buildSmallResNet(5)},
		{name: "resnet44", base: 16, widths: multiples(16, 1, 1, 2, 4), build: buildSmallResNet(7)},
		{name: "resnet56", base: 16, widths: multiples(16, 1, 1, 2, 4), build: buildSmallResNet(9)},
		{name: "resnet110", base: 16, widths: multiples(16, 1, 1, 2, 4), build: buildSmallResNet(18)},
		{name: "resnet8x4", base: 32, widths: multiples(32, 1, 2, 4, 8), build: buildSmallResNet(1)},
		{name: "resnet32x4", base: 32, widths: multiples(32, 1, 2, 4, 8), build: buildSmallResNet(5)},
		{name: "wrn_16_2", base: 16, widths: multiples(16, 1, 2, 4, 8), build: buildWideResNet(2)},
		{name: "wrn_40_2", base: 16, widths: multiples(16, 1, 2, 4, 8), build: buildWideResNet(6)},
		{name: "vgg8", base: 64, widths: multiples(64, 1, 2, 4, 8, 8), build: buildVGG8},
	}},
	{"MLPerf Tiny's, for small pictures", []family{
		{name: "mlperf_resnet8", base: 16, widths: multiples(16, 1, 2, 4), build: buildTinyResNet8},
		{name: "mlperf_resnet8_torch", base: 16, widths: multiples(16, 1, 2, 4), build: buildTinyResNet8Torch},
	}},
}

// families are the families of all groups. It is filled by init, for a family
// builds a net, and nets know families.
var families []family

func init() {
	for _, g := range familyGroups {
		for _, f := range g.families {
			f.groups = max(f.groups, 1)
			families = append(families, f)
		}
	}
}

// Families returns the names of the model families.
func Families() []string {
	names := make([]string, len(families))
	for i, f := range families {
		names[i] = f.name
	}
	return names
}

// FamilyGroups returns the families in groups of a title, in the order of
// Families.
func FamilyGroups() []FamilyGroup {
	out := make([]FamilyGroup, len(familyGroups))
	for i, g := range familyGroups {
		out[i].Title = g.title
		for _, f := range g.families {
			out[i].Families = append(out[i].Families, f.name)
		}
	}
	return out
}

// familyOf returns the family of a name.
func familyOf(name string) (family, bool) {
	i := slices.IndexFunc(families, func(f family) bool { return f.name == name })
	if i < 0 {
		return family{}, false
	}
	return families[i], true
}

// scale returns the widths at another base: the nearest that the groups divide.
func (f family) scale(base int) []int {
	if f.widths == nil {
		return nil
	}
	out := make([]int, len(f.widths))
	for i, w := range f.widths {
		out[i] = max(1, (2*w*base+f.base*f.groups)/(2*f.base*f.groups)) * f.groups
	}
	return out
}

// FamilyBase returns the base of a net of a family that takes no widths, of which
// the output channels of its convolutions and linear layers are known by the
// modules' names. It returns 0 where there is none that has them all.
func FamilyBase(name string, channels func(module string) int) int {
	f, ok := familyOf(name)
	if !ok || f.widths != nil {
		return 0
	}
	return f.baseOf(channels)
}

// baseOf is FamilyBase. The first layer that is wider at twice the base tells it, up to rounding,
// which is tried.
func (f family) baseOf(channels func(module string) int) int {
	own, double := f.outputs(f.base), f.outputs(2*f.base)
	for i, m := range own {
		if m.outputs == double[i].outputs {
			continue
		}
		guess := channels(m.name) * f.base / m.outputs
		for _, base := range []int{f.base, guess, guess - 1, guess + 1} {
			if base > 0 && base <= maxWidth && f.fits(base, channels) {
				return base
			}
		}
		return 0
	}
	return 0
}

// fits reports whether the layers at a base have the channels that are known.
func (f family) fits(base int, channels func(module string) int) bool {
	for _, m := range f.outputs(base) {
		if !m.head && channels(m.name) != m.outputs {
			return false
		}
	}
	return true
}

// A layer is a convolution or linear layer by its name and output channels.
type layer struct {
	name    string
	outputs int
	head    bool // its outputs are the classes
}

// outputs returns the layers at a base.
func (f family) outputs(base int) []layer {
	b := NewNetBuilder(f.name, Input{Channels: 3})
	f.build(b, Arch{Family: f.name, Classes: 1, InChannels: 3, Base: base, Widths: f.scale(base)})
	var out []layer
	for i := range b.net.Modules {
		if n := outputs(b.net.Modules[i].Kind); n > 0 {
			out = append(out, layer{name: b.net.Modules[i].Name, outputs: n})
		}
	}
	out[len(out)-1].head = true
	return out
}

// A FamilyTensor is a tensor of a family's net, as a file of PyTorch holds it.
type FamilyTensor struct {
	Name  string
	Shape []int // at the family's own widths, with two classes
	// Counter says that it is an integer of 64 bits, which no graph touches.
	Counter bool
}

// FamilyTensors returns the tensors of a family's own net in the order of the
// state_dict. It is quick, for nothing is checked.
func FamilyTensors(name string) ([]FamilyTensor, error) {
	f, ok := familyOf(name)
	if !ok {
		return nil, unknownFamily(name)
	}
	b := NewNetBuilder(f.name, Input{Channels: 3})
	f.build(b, Arch{Family: f.name, Classes: 2, InChannels: 3, Base: f.base, Widths: f.scale(f.base)})
	ts, err := b.net.params()
	if err != nil {
		return nil, err
	}
	out := make([]FamilyTensor, len(ts))
	for i, t := range ts {
		out[i] = FamilyTensor{t.name, t.Layout.Torch(t.Spec.Shape), t.Spec.DType == engine.Int64}
	}
	return out, nil
}

// FamilyBeside returns what the names of tensors begin with that files of a
// family may hold and that its net does not have: auxiliary heads.
func FamilyBeside(name string) []string {
	f, _ := familyOf(name)
	return f.beside
}

// unknownFamily is the complaint about a name.
func unknownFamily(name string) error {
	return fmt.Errorf("unknown model family %s; %s", short(name), NearFamilies(name))
}

// NearFamilies says in a few words which families' names come nearest to one that
// is none, and where all are listed.
func NearFamilies(name string) string {
	const few = 4
	names := Families()
	far := make(map[string]int, len(names))
	for _, f := range names {
		far[f] = distance(name, f)
	}
	slices.SortStableFunc(names, func(a, b string) int { return far[a] - far[b] })
	return fmt.Sprintf("of the %d families the nearest are %s; potstill summary --help lists them", len(names), strings.Join(names[:few], ", "))
}

// distance is that of Levenshtein (1965) between two names, of which the first may
// be long: so many letters are changed, added or taken away.
func distance(a, b string) int {
	const longest = 64
	a = a[:min(len(a), longest)]
	row := make([]int, len(b)+1)
	for j := range row {
		row[j] = j
	}
	for i := range len(a) {
		diagonal := row[0]
		row[0] = i + 1
		for j := range len(b) {
			cost := diagonal
			if a[i] != b[j] {
				cost = 1 + min(diagonal, row[j], row[j+1])
			}
			diagonal, row[j+1] = row[j+1], cost
		}
	}
	return row[len(b)]
}
