package gpu

import (
	"github.com/potstill/potstill/cuda"
	"github.com/potstill/potstill/engine"
)

func init() {
	lowers((*Backend).lowerQConcat, engine.QConcat{})
	lowers((*Backend).lowerQFlatten, engine.QFlatten{})
}

// The arguments of qconcat.cu, field for field.
type (
	qconcatArgs struct {
		x, y            cuda.Ptr
		n, c, yc, first int64
	}
	qflattenArgs struct {
		x, y         cuda.Ptr
		n, pixels, c int64
	}
)

func (b *Backend) lowerQConcat(_ engine.Op, in, out []engine.Spec) (lowering, error) {
	var parts []lowering
	first, y := 0, out[0]
	for k, x := range in {
		c := x.Shape[len(x.Shape)-1]
		a := &qconcatArgs{n: int64(x.Len()), c: int64(c), yc: int64(y.Shape[len(y.Shape)-1]), first: int64(first)}
		first += c
		part, err := over(b, "qconcat", "qconcat", x.Len(), a, func(in, out []cuda.Ptr) { a.x, a.y = in[k], out[0] })
		if err != nil {
			return lowering{}, err
		}
		parts = append(parts, part)
	}
	return lowering{enqueue: func(in, out []cuda.Ptr, ws cuda.Ptr) error {
		for _, p := range parts {
			if err := p.enqueue(in, out, ws); err != nil {
				return err
			}
		}
		return nil
	}}, nil
}

func (b *Backend) lowerQFlatten(_ engine.Op, in, _ []engine.Spec) (lowering, error) {
	_, h, w, c, _ := in[0].NHWC()
	a := &qflattenArgs{n: int64(in[0].Len()), pixels: int64(h * w), c: int64(c)}
	return over(b, "qconcat", "qflatten", in[0].Len(), a, func(in, out []cuda.Ptr) { a.x, a.y = in[0], out[0] })
}
