package gpu

import (
	"fmt"
	"math"
	"math/rand/v2"
	"testing"

	"github.com/potstill/potstill/engine"
	"github.com/potstill/potstill/engine/ref"
)

// productShapes are x [n,h,w,c], a kernel kh×kw and o output channels: what
// needs several tiles in each direction, and what fills none.
var productShapes = []struct {
	n, h, w, c, kh, kw, o int
	op                    engine.Conv2D
}{
	{2, 9, 8, 8, 3, 3, 20, engine.Conv2D{Pad: engine.Around(1)}},
	{1, 12, 13, 12, 2, 3, 132, engine.Conv2D{Stride: engine.Both(3), Pad: engine.Around(2), Dilation: engine.Both(2)}},
	{3, 9, 10, 5, 3, 3, 7, engine.Conv2D{Stride: engine.Both(2), Pad: engine.Around(1)}},
	{1, 5, 4, 140, 3, 1, 3, engine.Conv2D{Stride: engine.Both(4), Pad: engine.Around(1), Dilation: engine.Both(2)}},
	{1, 12, 12, 24, 3, 3, 24, engine.Conv2D{Pad: engine.Around(1), Groups: 3}},
	{2, 9, 7, 48, 3, 3, 48, engine.Conv2D{Stride: engine.Both(2), Pad: engine.Around(1), Groups: 3}},
	{1, 13, 11, 20, 3, 3, 15, engine.Conv2D{Pad: engine.Around(1), Groups: 5}},
	{2, 7, 6, 33, 2, 2, 12, engine.Conv2D{Dilation: engine.Both(2), Groups: 3}},
}

// TestTiles holds every variant of the products to ref, whatever is best for a
// shape, with the sum in one part and in several.
func TestTiles(t *testing.T) {
	o := fakeOptions(t)
	o.NoLibraries = true
	b := openBackend(t, o)
	for i, s := range productShapes {
		for _, d := range []engine.DType{engine.Float32, engine.BFloat16} {
			t.Run(fmt.Sprintf("%dx%dx%dx%d_%dx%dx%d_%v", s.n, s.h, s.w, s.c, s.kh, s.kw, s.o, d), func(t *testing.T) {
				r := rand.New(rand.NewPCG(uint64(i), uint64(d)))
				p := &productCase{t: t, b: b, op: s.op, d: d}
				p.x, p.w = randomArray(r, d, s.n, s.h, s.w, s.c), randomArray(r, engine.Float32, s.kh, s.kw, s.c/max(s.op.Groups, 1), s.o)
				y, err := s.op.Infer([]engine.Spec{p.x.Spec, p.w.Spec})
				if err != nil {
					t.Fatal(err)
				}
				p.y, p.bias = randomArray(r, d, y[0].Shape...), randomArray(r, engine.Float32, s.o)
				if p.g, err = convolutionOf(s.op, p.as(p.x), p.w.Spec, p.as(p.y)); err != nil {
					t.Fatal(err)
				}
				for _, splits := range []int{1, 3} {
					p.gathers(splits)
					p.weights(splits)
				}
			})
		}
	}
}

// A productCase is a convolution, its gradients, and the tensors they take; y
// serves as dy and as the residual.
type productCase struct {
	t             *testing.T
	b             *Backend
	op            engine.Conv2D
	d             engine.DType
	g             convolution
	x, w, bias, y ref.Array
}

// as returns the spec of an activation as it is stored.
func (p *productCase) as(a ref.Array) engine.Spec {
	s := a.Spec
	s.DType = p.d
	return s
}

// check runs op with the given lowering in the place of the chosen one.
func (p *productCase) check(op engine.Op, low lowering, err error, in, out []engine.Spec, arrays ...ref.Array) {
	p.t.Helper()
	if err != nil {
		p.t.Fatal(err)
	}
	typed := op
	if o, ok := op.(engine.Conv2DBackwardData); ok {
		o.X.DType = p.d
		typed = o
	}
	p.b.products[choiceKey(typed, in, out)] = low
	checkOp(p.t, p.b, op, p.d, arrays...)
	if p.t.Failed() {
		p.t.FailNow()
	}
}

// gathers checks the convolution and the gradient of its input.
func (p *productCase) gathers(splits int) {
	p.t.Helper()
	for _, c := range append(rowTiles[:len(rowTiles):len(rowTiles)], groupTiles...) {
		op := p.op
		op.Epilogue = engine.Epilogue{Residual: true, Act: engine.ReLU6}
		f := gather{convolution: p.g, epilogue: epilogueOf(op, 4)}
		if c.groups == 1 || f.og <= c.slot() {
			low, err := f.lower(p.b, f.load(c).cut(c, splits))
			p.check(op, low, err, []engine.Spec{p.as(p.x), p.w.Spec, p.bias.Spec, p.as(p.y)}, []engine.Spec{p.as(p.y)}, p.x, p.w, p.bias, p.y)
		}
		f = gather{convolution: p.g, backward: true, epilogue: epilogue{bias: -1, residual: -1}}
		if c.groups == 1 || f.cg <= c.slot() {
			low, err := f.lower(p.b, f.load(c).cut(c, splits))
			back := engine.Conv2DBackwardData{Conv2D: p.op, X: p.x.Spec}
			p.check(back, low, err, []engine.Spec{p.as(p.y), p.w.Spec}, []engine.Spec{p.as(p.x)}, p.y, p.w)
		}
	}
}

// weights checks the gradients of weights and bias.
func (p *productCase) weights(splits int) {
	p.t.Helper()
	for _, c := range append(weightTiles[:len(weightTiles):len(weightTiles)], groupWeightTiles...) {
		op := engine.Conv2DBackwardWeight{Conv2D: p.op, W: p.w.Spec, Bias: true}
		out := []engine.Spec{p.w.Spec, p.bias.Spec}
		low, err := p.g.lowerWeight(p.b, p.g.weightLoad().cut(c, splits), out)
		p.check(op, low, err, []engine.Spec{p.as(p.x), p.as(p.y)}, out, p.x, p.y)
	}
}

// TestGemmTiles does the same for products of matrices, as pointwise
// convolutions of pictures of one pixel.
func TestGemmTiles(t *testing.T) {
	o := fakeOptions(t)
	o.NoLibraries = true
	b := openBackend(t, o)
	for i, s := range [][3]int{{140, 24, 132}, {33, 31, 44}, {131, 9, 150}, {4, 260, 8}, {1, 1, 1}, {3, 77, 11}} { // rows, inputs, outputs
		for _, d := range []engine.DType{engine.Float32, engine.BFloat16} {
			t.Run(fmt.Sprint(s, d), func(t *testing.T) {
				r := rand.New(rand.NewPCG(uint64(i), uint64(d)))
				p := &productCase{t: t, b: b, d: d}
				p.x, p.w = randomArray(r, d, s[0], 1, 1, s[1]), randomArray(r, engine.Float32, 1, 1, s[1], s[2])
				p.y, p.bias = randomArray(r, d, s[0], 1, 1, s[2]), randomArray(r, engine.Float32, s[2])
				for _, splits := range []int{1, 2} {
					p.gemms(splits)
				}
			})
		}
	}
}

func (p *productCase) gemms(splits int) {
	p.t.Helper()
	run := func(op engine.Op, tiles []tile, in, out []engine.Spec, arrays ...ref.Array) {
		m, ok := matmulOf(op, in)
		if !ok {
			p.t.Fatalf("%s is not seen as a product", engine.OpName(op))
		}
		for _, c := range tiles {
			low, err := p.b.cutGemm(m, m.loadOf().cut(c, splits), in, out)
			p.check(op, low, err, in, out, arrays...)
		}
	}
	x, y := p.as(p.x), p.as(p.y)
	op := engine.Conv2D{Epilogue: engine.Epilogue{Residual: true, Act: engine.ReLU}}
	run(op, rowTiles, []engine.Spec{x, p.w.Spec, p.bias.Spec, y}, []engine.Spec{y}, p.x, p.w, p.bias, p.y)
	run(engine.Conv2DBackwardData{X: p.x.Spec}, rowTiles, []engine.Spec{y, p.w.Spec}, []engine.Spec{x}, p.y, p.w)
	run(engine.Conv2DBackwardWeight{W: p.w.Spec, Bias: true}, weightTiles, []engine.Spec{x, y}, []engine.Spec{p.w.Spec, p.bias.Spec}, p.x, p.y)
}

// TestFirstLayer holds the kernels of the first layer to ref on what needs
// several tiles, and with several tiles a block.
func TestFirstLayer(t *testing.T) {
	o := fakeOptions(t)
	o.NoLibraries = true
	b := openBackend(t, o)
	for i, s := range []struct{ n, h, w, c, k, stride, pad, o int }{
		{2, 20, 37, 3, 3, 1, 1, 16},
		{1, 35, 70, 3, 3, 2, 1, 40},
		{2, 39, 67, 3, 7, 2, 3, 33},
		{1, 18, 33, 1, 5, 1, 0, 9},
		{1, 9, 66, 2, 3, 2, 4, 32},
	} {
		for _, d := range []engine.DType{engine.Float32, engine.BFloat16} {
			t.Run(fmt.Sprint(s, d), func(t *testing.T) {
				r := rand.New(rand.NewPCG(uint64(i), uint64(d)))
				op := engine.Conv2D{Stride: engine.Both(s.stride), Pad: engine.Around(s.pad)}
				p := &productCase{t: t, b: b, op: op, d: d}
				p.x, p.w = randomArray(r, d, s.n, s.h, s.w, s.c), randomArray(r, engine.Float32, s.k, s.k, s.c, s.o)
				y, err := op.Infer([]engine.Spec{p.x.Spec, p.w.Spec})
				if err != nil {
					t.Fatal(err)
				}
				p.y, p.bias = randomArray(r, d, y[0].Shape...), randomArray(r, engine.Float32, s.o)
				g, err := convolutionOf(op, p.as(p.x), p.w.Spec, p.as(p.y))
				if err != nil {
					t.Fatal(err)
				}
				v, ok := g.first()
				if !ok {
					t.Fatal("is not taken for a first layer")
				}
				op.Epilogue = engine.Epilogue{Residual: true, Act: engine.ReLU6}
				low, err := b.lowerFirstLayer(g, v, epilogueOf(op, 4))
				p.check(op, low, err, []engine.Spec{p.as(p.x), p.w.Spec, p.bias.Spec, p.as(p.y)}, []engine.Spec{p.as(p.y)}, p.x, p.w, p.bias, p.y)
				in, out := []engine.Spec{p.as(p.x), p.as(p.y)}, []engine.Spec{p.w.Spec, p.bias.Spec}
				for _, most := range []int{1, 3, math.MaxInt} {
					low, err := b.cutFirstLayerWeight(g, v, most, out)
					p.check(engine.Conv2DBackwardWeight{Conv2D: p.op, W: p.w.Spec, Bias: true}, low, err, in, out, p.x, p.y)
				}
			})
		}
	}
}
