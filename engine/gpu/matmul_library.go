package gpu

import (
	"errors"

	"github.com/potstill/potstill/cuda"
	"github.com/potstill/potstill/engine"
)

// A matmul is an op seen as one product of matrices, out[0] = op(A)·op(B), with
// A the op's first input and B its second.
type matmul struct {
	shape    cuda.MatmulShape
	weight   bool // B is a weight, float32 whatever A is
	gradient bool // the output is that of a weight
	epilogue epilogue
}

// matmulOf returns the product that op is: a linear layer's or that of a
// pointwise convolution, over all pixels, or of one of their gradients.
func matmulOf(op engine.Op, in []engine.Spec) (matmul, bool) {
	p := matmul{epilogue: nothing}
	last := func(s engine.Spec) int { return s.Shape[len(s.Shape)-1] }
	rows := func(s engine.Spec) int { return s.Len() / max(last(s), 1) }
	switch op := op.(type) {
	case engine.Conv2D:
		if !pointwise(op, in[1]) {
			return p, false
		}
		p.weight, p.epilogue = true, epilogueOf(op, len(in))
		p.shape = cuda.MatmulShape{M: rows(in[0]), N: last(in[1]), K: last(in[0])}
	case engine.Linear:
		p.weight = true
		if len(in) == 3 {
			p.epilogue.bias = 2
		}
		p.shape = cuda.MatmulShape{M: rows(in[0]), N: last(in[1]), K: last(in[0])}
	case engine.Conv2DBackwardData:
		if !pointwise(op.Conv2D, in[1]) {
			return p, false
		}
		p.weight = true
		p.shape = cuda.MatmulShape{M: rows(in[0]), N: last(op.X), K: last(in[0]), TransB: true}
	case engine.LinearBackwardData:
		p.weight = true
		p.shape = cuda.MatmulShape{M: rows(in[0]), N: in[1].Shape[0], K: last(in[0]), TransB: true}
	case engine.Conv2DBackwardWeight:
		if !pointwise(op.Conv2D, op.W) {
			return p, false
		}
		p.gradient = true
		p.shape = cuda.MatmulShape{M: last(in[0]), N: last(in[1]), K: rows(in[0]), TransA: true}
	case engine.LinearBackwardWeight:
		p.gradient = true
		p.shape = cuda.MatmulShape{M: last(in[0]), N: last(in[1]), K: rows(in[0]), TransA: true}
	default:
		return p, false
	}
	p.shape.BF16 = in[0].DType == engine.BFloat16
	p.shape.Float32Out = p.shape.BF16 && (p.gradient || p.epilogue.adds())
	p.shape.Bias = p.epilogue.bias >= 0
	return p, p.shape.M > 0 && p.shape.N > 0 && p.shape.K > 0
}

// pointwise reports whether a convolution with weight w multiplies each pixel
// by one matrix.
func pointwise(op engine.Conv2D, w engine.Spec) bool {
	return w.Shape[0] == 1 && w.Shape[1] == 1 && op.Complete().Stride == engine.Both(1) && op.Pad == engine.Pads{} && op.Groups <= 1
}

// matmulCandidates returns cuBLASLt's algorithms for a product. Residual and
// activation are added by a pass of ours. The gradient of a bias is made within the
// product, where cuBLASLt does that, or by passes of ours, which read dy once more. With bfloat16 activations the weight is
// rounded to bfloat16; what something is added to stays float32 until that is
// done, or is rounded too, which moves fewer bytes.
func (b *Backend) matmulCandidates(p matmul, in, out []engine.Spec) ([]candidate, error) {
	p.shape.TF32 = b.options.TF32
	cs, err := b.matmulSet("cublasLt ", p, in, out)
	if err != nil || !p.shape.Float32Out && !p.gradient {
		return cs, err
	}
	if p.gradient {
		if p.shape.BiasGrad = len(out) > 1; !p.shape.BiasGrad {
			return cs, nil
		}
		more, err := b.matmulSet("cublasLt with bias ", p, in, out)
		return append(more, cs...), err
	}
	p.shape.Float32Out = false
	// Our pass adds the bias as it is, if there must be one; else cuBLASLt adds
	// it as bfloat16.
	p.shape.Bias = p.epilogue.residual < 0 && p.epilogue.act == engine.Identity
	more, err := b.matmulSet("cublasLt bfloat16 ", p, in, out)
	return append(cs, more...), err
}

// matmulSet returns a candidate for each algorithm of a shape.
func (b *Backend) matmulSet(prefix string, p matmul, in, out []engine.Spec) ([]candidate, error) {
	m, err := b.blas.NewMatmul(p.shape, b.workspaceMost())
	if err != nil {
		return nil, err
	}
	cs, err := b.matmulAlgorithms(prefix, m, p, in, out)
	if err != nil || len(cs) == 0 {
		return nil, errors.Join(err, m.Close())
	}
	shared(cs, m.Close)
	return cs, nil
}

// packOperands has low pack what cuBLASLt takes as bfloat16: a weight, and a
// bias that it adds to bfloat16. It returns where the bias lies, 0 if it is not
// packed.
func (low *product) packOperands(p matmul, w engine.Spec) (behind int) {
	if !p.shape.BF16 || !p.weight {
		return 0
	}
	low.packs(packed{input: 1, cols: w.Len(), to: engine.BFloat16})
	if !p.shape.Bias || p.shape.Float32Out {
		return 0
	}
	return low.packs(packed{input: p.epilogue.bias, cols: p.shape.N, to: engine.BFloat16})
}

func (b *Backend) matmulAlgorithms(prefix string, m *cuda.Matmul, p matmul, in, out []engine.Spec) ([]candidate, error) {
	rest := p.epilogue
	if p.shape.Bias {
		rest.bias = -1
	}
	product32 := out[0]
	if p.shape.Float32Out {
		product32.DType = engine.Float32
	}
	finish, err := b.finish(product32.DType, out[0], rest)
	if err != nil {
		return nil, err
	}
	sums := out // what passes of ours add up
	if p.shape.BiasGrad {
		sums = out[:1]
	}
	sumBytes, sum, err := b.sumColumns(in[1], sums)
	if err != nil {
		return nil, err
	}
	wide := 0 // bytes of a float32 product that is narrowed
	if product32.DType != out[0].DType {
		wide = roundUp(product32.Bytes())
	}
	low := product{}
	behind := low.packOperands(p, in[1])
	var cs []candidate
	for _, a := range m.Algorithms() {
		if a.Workspace > b.workspaceMost() {
			continue
		}
		low.ws = roundUp(a.Workspace) + wide + sumBytes
		low.run = func(in, out []cuda.Ptr, ws, packed cuda.Ptr) error {
			w, bias, y, more := in[1], cuda.Ptr(0), out[0], ws+cuda.Ptr(roundUp(a.Workspace))
			if packed != 0 {
				w = packed
			}
			switch {
			case p.shape.Bias:
				bias = in[p.epilogue.bias]
			case p.shape.BiasGrad:
				bias = out[1]
			}
			if behind > 0 {
				bias = packed + cuda.Ptr(behind)
			}
			if wide > 0 {
				y = more
			}
			if err := m.Run(b.stream, a, in[0], w, y, bias, ws); err != nil {
				return err
			}
			if err := sum(in[1], out, more); err != nil {
				return err
			}
			return finish(in, y, out[0])
		}
		made, err := b.lowerLibrary(low)
		if err != nil {
			return nil, err
		}
		cs = append(cs, candidate{name: prefix + a.Name, deterministic: a.Deterministic, low: made, library: true})
	}
	return cs, nil
}
