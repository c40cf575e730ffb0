package gpu

import (
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

// convOf returns the convolution that op is one pass of. cuDNN rounds to bfloat16
// what it computes from bfloat16: gradients of weights, and products that
// something is added to, are not taken from it then.
func convOf(op engine.Op, in, out []engine.Spec) (libraryConv, bool) {
	c := libraryConv{epilogue: epilogue{bias: -1, residual: -1}}
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
	bf16 := x.DType == engine.BFloat16
	c.shape = cuda.ConvShape{
		N: x.Shape[0], H: x.Shape[1], W: x.Shape[2], C: x.Shape[3],
		O: y.Shape[3], KH: c.w.Shape[0], KW: c.w.Shape[1], OH: y.Shape[1], OW: y.Shape[2],
		Stride: max(conv.Stride, 1), Pad: conv.Pad, Dilation: max(conv.Dilation, 1), Groups: max(conv.Groups, 1), BF16: bf16,
	}
	return c, !bf16 || c.pass != cuda.BackwardFilter && !c.epilogue.adds()
}

// convCandidates returns cuDNN's algorithms for a convolution. Kernels of ours
// bring the weight from HWIO to KRSC (and bfloat16) before it, or its gradient
// back behind it, and apply the epilogue.
func (b *Backend) convCandidates(c libraryConv, in, out []engine.Spec) ([]candidate, error) {
	c.shape.TF32 = b.options.TF32
	conv, err := b.dnn.NewConv(c.shape, c.pass)
	if err != nil {
		return nil, err
	}
	cs, err := b.convAlgorithms(conv, c, in, out)
	if err != nil || len(cs) == 0 {
		_ = conv.Close()
		return nil, err
	}
	shared(cs, conv.Close)
	return cs, nil
}

func (b *Backend) convAlgorithms(conv *cuda.Conv, c libraryConv, in, out []engine.Spec) ([]candidate, error) {
	var cs []candidate
	for _, a := range conv.Algorithms() {
		if a.Workspace > b.workspaceMost() || !c.exact(a) {
			continue
		}
		p, err := b.convProduct(conv, a, c, in, out)
		if err != nil {
			return nil, err
		}
		cs = append(cs, candidate{name: "cudnn " + a.Name, deterministic: a.Deterministic, low: p.lowering(), library: true})
	}
	return cs, nil
}

// exact reports whether an algorithm's error is that of rounding the products
// that it sums. FFT's and Winograd's is larger: they are taken where operands
// are rounded to less than float32 anyway.
func (c libraryConv) exact(a cuda.Algorithm) bool {
	return c.shape.BF16 || c.shape.TF32 || !strings.Contains(a.Name, "FFT") && !strings.Contains(a.Name, "WINOGRAD")
}

// convProduct is one algorithm with what stands round it.
func (b *Backend) convProduct(conv *cuda.Conv, a cuda.Algorithm, c libraryConv, in, out []engine.Spec) (product, error) {
	o := c.w.Shape[3]
	k := c.w.Len() / o // the weight is [k,o] in HWIO and [o,k] in KRSC
	p := product{ws: a.Workspace}
	if c.pass == cuda.BackwardFilter {
		back, err := b.transposer(o, k, engine.Float32)
		if err != nil {
			return p, err
		}
		sumBytes, sum, err := b.sumColumns(in[1], out)
		if err != nil {
			return p, err
		}
		head, body := cuda.Ptr(roundUp(c.w.Bytes())), cuda.Ptr(roundUp(a.Workspace))
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
	t := in[0].DType
	pack, err := b.transposer(k, o, t)
	if err != nil {
		return p, err
	}
	p.pack = func(in []cuda.Ptr, packed cuda.Ptr) error { return pack(in[1], packed) }
	p.bytes, p.inputs = t.Size()*c.w.Len(), []int{1}
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
