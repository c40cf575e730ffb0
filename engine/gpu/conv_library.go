package gpu

import (
	"errors"
	"strings"

	"github.com/potstill/potstill/cuda"
	"github.com/potstill/potstill/engine"
)

// A libraryConv is an op as cuDNN sees it.
type libraryConv struct {
	shape    cuda.ConvShape
	pass     cuda.ConvPass
	w        engine.Spec // HWIO
	epilogue epilogue
}

// convOf returns the convolution that op is one pass of, if cuDNN has it: it pads
// the same on opposite sides.
func convOf(op engine.Op, in, out []engine.Spec) (libraryConv, bool) {
	c := libraryConv{epilogue: nothing}
	var conv engine.Conv2D
	var x, y engine.Spec
	switch op := op.(type) {
	case engine.Conv2D:
		conv, x, y, c.w, c.pass = op, in[0], out[0], in[1], cuda.Forward
		c.epilogue = epilogueOf(op, len(in))
	case engine.Conv2DBackwardData:
		conv, x, y, c.w, c.pass = op.Conv2D, out[0], in[0], in[1], cuda.BackwardData
	case engine.Conv2DBackwardWeight:
		conv, x, y, c.w, c.pass = op.Conv2D, in[0], in[1], op.W, cuda.BackwardFilter
	default:
		return c, false
	}
	conv = conv.Complete()
	c.shape = cuda.ConvShape{
		N: x.Shape[0], H: x.Shape[1], W: x.Shape[2], C: x.Shape[3],
		O: y.Shape[3], KH: c.w.Shape[0], KW: c.w.Shape[1], OH: y.Shape[1], OW: y.Shape[2],
		Stride: conv.Stride, Pad: [2]int(conv.Pad[:2]), Dilation: conv.Dilation, Groups: conv.Groups,
		BF16: x.DType == engine.BFloat16,
	}
	return c, c.shape.Symmetric()
}

// convCandidates returns cuDNN's algorithms for a convolution: with the epilogue
// in the same call, where there is one, and with passes of ours behind it.
// Kernels of ours bring the weight from HWIO to KRSC (and bfloat16) before it,
// or its gradient back behind it. From bfloat16 cuDNN makes bfloat16: engine's
// definition of mixed precision lets it round so.
func (b *Backend) convCandidates(c libraryConv, in, out []engine.Spec) ([]candidate, error) {
	if c.epilogue.act.Fn > engine.FuncReLU6 && in[0].DType == engine.BFloat16 {
		return nil, nil // its result is rounded before an activation that may shrink it
	}
	c.shape.TF32 = b.options.TF32
	conv, err := b.dnn.NewConv(c.shape, c.pass)
	if err != nil {
		return nil, err
	}
	maker := b.convProduct
	if c.pass == cuda.BackwardFilter {
		maker = b.convWeight
	}
	plain, err := b.convAlgorithms("cudnn ", conv, c, in, out, maker)
	if err != nil || c.epilogue == nothing || c.epilogue.act.Fn > engine.FuncReLU6 { // which cuDNN does not have within it
		return plain, err
	}
	if conv, err = b.dnn.NewFusedConv(c.shape, c.epilogue.act != engine.Identity); err != nil {
		return plain, err
	}
	fused, err := b.convAlgorithms("cudnn fused ", conv, c, in, out, b.convFused)
	return append(fused, plain...), err
}

// A convMaker makes the product of one algorithm.
type convMaker func(conv *cuda.Conv, a cuda.Algorithm, c libraryConv, in, out []engine.Spec) (product, error)

// convAlgorithms returns a candidate for each algorithm of conv, which is closed
// with the last of them.
func (b *Backend) convAlgorithms(prefix string, conv *cuda.Conv, c libraryConv, in, out []engine.Spec, maker convMaker) ([]candidate, error) {
	var cs []candidate
	for _, a := range conv.Algorithms() {
		if a.Workspace > b.workspaceMost() || !c.exact(a) {
			continue
		}
		p, err := maker(conv, a, c, in, out)
		if err != nil {
			return nil, errors.Join(err, conv.Close())
		}
		low, err := b.lowerLibrary(p)
		if err != nil {
			return nil, errors.Join(err, conv.Close())
		}
		cs = append(cs, candidate{name: prefix + a.Name, deterministic: a.Deterministic, low: low, library: true})
	}
	if len(cs) == 0 {
		return nil, conv.Close()
	}
	shared(cs, conv.Close)
	return cs, nil
}

// exact reports whether an algorithm's error is that of rounding the products
// that it sums. FFT's and Winograd's is larger: they are taken where operands
// are rounded to less than float32 anyway.
func (c libraryConv) exact(a cuda.Algorithm) bool {
	return c.shape.BF16 || c.shape.TF32 || !strings.Contains(a.Name, "FFT") && !strings.Contains(a.Name, "WINOGRAD")
}

// extents returns those of the weight, which is the matrix [k,o] in HWIO and
// [o,k] in KRSC.
func (c libraryConv) extents() (k, o int) {
	o = c.w.Shape[3]
	return c.w.Len() / o, o
}

// packWeight gives p the weight in KRSC, of type t.
func (p *product) packWeight(c libraryConv, t engine.DType) {
	k, o := c.extents()
	p.packs(packed{input: 1, rows: k, cols: o, to: t})
}

// convProduct is an algorithm for y or dx, with the epilogue behind it.
func (b *Backend) convProduct(conv *cuda.Conv, a cuda.Algorithm, c libraryConv, in, out []engine.Spec) (product, error) {
	p := product{ws: a.Workspace}
	p.packWeight(c, in[0].DType)
	if c.pass == cuda.BackwardData {
		p.run = func(in, out []cuda.Ptr, ws, packed cuda.Ptr) error { return conv.Run(a, out[0], packed, in[0], ws) }
		return p, nil
	}
	finish, err := b.finish(out[0].DType, out[0], c.epilogue)
	if err != nil {
		return p, err
	}
	p.run = func(in, out []cuda.Ptr, ws, packed cuda.Ptr) error {
		if err := conv.Run(a, in[0], packed, out[0], ws); err != nil {
			return err
		}
		return finish(in, out[0], out[0])
	}
	return p, nil
}

// convWeight is an algorithm for the gradient of the weights, and of the bias.
func (b *Backend) convWeight(conv *cuda.Conv, a cuda.Algorithm, c libraryConv, in, out []engine.Spec) (product, error) {
	k, o := c.extents()
	p, t := product{}, in[0].DType
	back, err := b.transposer(o, k, t)
	if err != nil {
		return p, err
	}
	sumBytes, sum, err := b.sumColumns(in[1], out)
	if err != nil {
		return p, err
	}
	head, body := cuda.Ptr(roundUp(t.Size()*c.w.Len())), cuda.Ptr(roundUp(a.Workspace))
	p.ws = int(head+body) + sumBytes
	p.run = func(in, out []cuda.Ptr, ws, _ cuda.Ptr) error {
		if err := conv.Run(a, in[0], ws, in[1], ws+head); err != nil {
			return err
		}
		if err := back(ws, out[0]); err != nil {
			return err
		}
		return sum(in[1], out, ws+head+body)
	}
	return p, nil
}

// convFused is an algorithm for y that has the epilogue within it. cuDNN wants a
// bias, of the type of activations; a missing one is zero. ReLU6 is ReLU and
// then, in a pass of ours, what is above six: that is exact, for rounding keeps
// the order and bfloat16 has six.
func (b *Backend) convFused(conv *cuda.Conv, a cuda.Algorithm, c libraryConv, in, out []engine.Spec) (product, error) {
	p, t, e := product{ws: a.Workspace}, in[0].DType, c.epilogue
	p.packWeight(c, t)
	_, o := c.extents()
	behind := 0 // the packed weight
	if e.bias < 0 || t != engine.Float32 {
		behind = p.packs(packed{input: e.bias, cols: o, to: t})
	}
	rest := nothing
	if e.act == engine.ReLU6 {
		rest.act = e.act
	}
	finish, err := b.finish(t, out[0], rest)
	if err != nil {
		return p, err
	}
	own := e.bias >= 0 && t == engine.Float32 // the op's bias, as it is
	p.run = func(in, out []cuda.Ptr, ws, packed cuda.Ptr) error {
		bias := packed + cuda.Ptr(behind)
		if own {
			bias = in[e.bias]
		}
		if err := conv.RunFused(a, in[0], packed, bias, place(in, e.residual), out[0], ws); err != nil {
			return err
		}
		return finish(in, out[0], out[0])
	}
	return p, nil
}
