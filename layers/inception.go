package layers

// inceptionParts are those of GoogLeNet and of Inception v3 in torchvision, whose
// weights start normal with the given standard deviation. (torchvision cuts the
// distribution at ±2, which is twenty standard deviations and more.)
func inceptionParts(b *NetBuilder, std float64) parts {
	return parts{NetBuilder: b, weights: NormalInit(std), norm: normOf(1e-3, 0.1), act: ReLU{}}
}

// basic adds torchvision's BasicConv2d: a convolution, its BatchNorm and ReLU.
func (p parts) basic(name, x string, c Conv2d) string {
	x = p.Add(name+".conv", c, x)
	x = p.Add(name+".bn", p.norm(c.OutChannels), x)
	return p.Add(name+".relu", p.act, x)
}

// inside is a convolution without padding.
func (p parts) inside(in, out, kernel, stride int) Conv2d {
	c := p.conv(in, out, kernel, stride, 1)
	c.Padding = Pads{}
	return c
}

// oblong is a convolution of a kernel with unequal sides that keeps the size.
func (p parts) oblong(in, out, height, width int) Conv2d {
	c := p.conv(in, out, 1, 1, 1)
	c.KernelSize, c.Padding = Pair{height, width}, Sides(height/2, width/2)
	return c
}

// An inception is a block of Inception v3 under construction: branches that read
// one value, and whose outputs are concatenated.
type inception struct {
	parts
	name, x  string
	in       int
	width    func(channels int) int // at the net's base
	branches []string
	out      int
}

// branch adds a branch: its convolutions one after another, by name, of so many
// output channels. A kernel of one number is square.
func (m *inception) branch(x string, in int, layers ...inceptionLayer) {
	for _, l := range layers {
		l.channels = m.width(l.channels)
		var c Conv2d
		switch {
		case l.stride == 2:
			c = m.inside(in, l.channels, l.height, 2)
		case l.width == 0:
			c = m.conv(in, l.channels, l.height, 1, 1)
		default:
			c = m.oblong(in, l.channels, l.height, l.width)
		}
		x = m.basic(m.name+"."+l.name, x, c)
		in = l.channels
	}
	m.branches, m.out = append(m.branches, x), m.out+in
}

// An inceptionLayer is a convolution of a branch.
type inceptionLayer struct {
	name                            string
	channels, height, width, stride int
}

// averaged is the branch that pools first, each pixel with its neighbors.
func (m *inception) averaged(channels int) {
	x := m.Add(m.name+".avg_pool", AvgPool(3, 1, 1), m.x)
	m.branch(x, m.in, inceptionLayer{name: "branch_pool", channels: channels, height: 1})
}

// pooled is the branch that halves the image and nothing else.
func (m *inception) pooled() {
	m.branches = append(m.branches, m.Add(m.name+".max_pool", MaxPool(3, 2, 0), m.x))
	m.out += m.in
}

// join concatenates the branches.
func (m *inception) join() (string, int) {
	return m.Add(m.name+".concat", Concat{}, m.branches...), m.out
}

// buildInceptionV3 is torchvision's Inception v3 (Szegedy et al.,
// arXiv:1512.00567) without its auxiliary head. It takes images from 75×75.
func buildInceptionV3(b *NetBuilder, a Arch) string {
	const own = 32
	p := inceptionParts(b, 0.1)
	w := func(channels int) int { return scaled(channels, a.Base, own) }
	x := p.basic("Conv2d_1a_3x3", Image, p.inside(a.InChannels, w(32), 3, 2))
	x = p.basic("Conv2d_2a_3x3", x, p.inside(w(32), w(32), 3, 1))
	x = p.basic("Conv2d_2b_3x3", x, p.conv(w(32), w(64), 3, 1, 1))
	x = b.Add("maxpool1", MaxPool(3, 2, 0), x)
	x = p.basic("Conv2d_3b_1x1", x, p.inside(w(64), w(80), 1, 1))
	x = p.basic("Conv2d_4a_3x3", x, p.inside(w(80), w(192), 3, 1))
	x = b.Add("maxpool2", MaxPool(3, 2, 0), x)
	in := w(192)
	for _, block := range []struct {
		name  string
		write func(m *inception)
	}{
		{"5b", inceptionA(32)}, {"5c", inceptionA(64)}, {"5d", inceptionA(64)}, {"6a", inceptionB},
		{"6b", inceptionC(128)}, {"6c", inceptionC(160)}, {"6d", inceptionC(160)}, {"6e", inceptionC(192)},
		{"7a", inceptionD}, {"7b", inceptionE}, {"7c", inceptionE},
	} {
		m := &inception{parts: p, name: "Mixed_" + block.name, x: x, in: in, width: w}
		block.write(m)
		x, in = m.join()
	}
	x = b.Add("avgpool", AdaptiveAvgPool2d{}, x)
	x = b.Add("dropout", Dropout{P: 0.5}, x)
	return b.Add("fc", Linear{InFeatures: in, OutFeatures: a.Classes, Bias: true, WeightInit: p.weights}, x)
}

// inceptionA is figure 5 of the paper, with a pooling branch of so many channels.
func inceptionA(pool int) func(m *inception) {
	return func(m *inception) {
		m.branch(m.x, m.in, inceptionLayer{"branch1x1", 64, 1, 0, 1})
		m.branch(m.x, m.in, inceptionLayer{"branch5x5_1", 48, 1, 0, 1}, inceptionLayer{"branch5x5_2", 64, 5, 0, 1})
		m.branch(m.x, m.in, inceptionLayer{"branch3x3dbl_1", 64, 1, 0, 1}, inceptionLayer{"branch3x3dbl_2", 96, 3, 0, 1}, inceptionLayer{"branch3x3dbl_3", 96, 3, 0, 1})
		m.averaged(pool)
	}
}

// inceptionB halves the image.
func inceptionB(m *inception) {
	m.branch(m.x, m.in, inceptionLayer{"branch3x3", 384, 3, 0, 2})
	m.branch(m.x, m.in, inceptionLayer{"branch3x3dbl_1", 64, 1, 0, 1}, inceptionLayer{"branch3x3dbl_2", 96, 3, 0, 1}, inceptionLayer{"branch3x3dbl_3", 96, 3, 0, 2})
	m.pooled()
}

// inceptionC is figure 6, its 7×7 convolutions each one row and one column of
// seven, by way of c channels.
func inceptionC(c int) func(m *inception) {
	return func(m *inception) {
		m.branch(m.x, m.in, inceptionLayer{"branch1x1", 192, 1, 0, 1})
		m.branch(m.x, m.in, inceptionLayer{"branch7x7_1", c, 1, 0, 1}, inceptionLayer{"branch7x7_2", c, 1, 7, 1}, inceptionLayer{"branch7x7_3", 192, 7, 1, 1})
		m.branch(m.x, m.in, inceptionLayer{"branch7x7dbl_1", c, 1, 0, 1}, inceptionLayer{"branch7x7dbl_2", c, 7, 1, 1}, inceptionLayer{"branch7x7dbl_3", c, 1, 7, 1},
			inceptionLayer{"branch7x7dbl_4", c, 7, 1, 1}, inceptionLayer{"branch7x7dbl_5", 192, 1, 7, 1})
		m.averaged(192)
	}
}

// inceptionD halves the image again.
func inceptionD(m *inception) {
	m.branch(m.x, m.in, inceptionLayer{"branch3x3_1", 192, 1, 0, 1}, inceptionLayer{"branch3x3_2", 320, 3, 0, 2})
	m.branch(m.x, m.in, inceptionLayer{"branch7x7x3_1", 192, 1, 0, 1}, inceptionLayer{"branch7x7x3_2", 192, 1, 7, 1},
		inceptionLayer{"branch7x7x3_3", 192, 7, 1, 1}, inceptionLayer{"branch7x7x3_4", 192, 3, 0, 2})
	m.pooled()
}

// inceptionE is figure 7, whose branches fork at their ends.
func inceptionE(m *inception) {
	m.branch(m.x, m.in, inceptionLayer{"branch1x1", 320, 1, 0, 1})
	m.fork("branch3x3_2", inceptionLayer{"branch3x3_1", 384, 1, 0, 1})
	m.fork("branch3x3dbl_3", inceptionLayer{"branch3x3dbl_1", 448, 1, 0, 1}, inceptionLayer{"branch3x3dbl_2", 384, 3, 0, 1})
	m.averaged(192)
}

// fork adds a branch whose last value two convolutions read, one of a row and one
// of a column of three.
func (m *inception) fork(name string, layers ...inceptionLayer) {
	m.branch(m.x, m.in, layers...)
	last := len(m.branches) - 1
	x, in := m.branches[last], m.width(layers[len(layers)-1].channels)
	m.branches, m.out = m.branches[:last], m.out-in
	m.branch(x, in, inceptionLayer{name + "a", 384, 1, 3, 1})
	m.branch(x, in, inceptionLayer{name + "b", 384, 3, 1, 1})
}
