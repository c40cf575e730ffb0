package ref

import "github.com/potstill/potstill/engine"

func init() {
	define(qconv2D)
	define(qlinear)
}

// settle stores a sum of products of codes as an output.
func (a Array) settle(i int, acc int32, m float64, y engine.Codes, float bool) {
	v := float32(acc) * float32(m)
	if float {
		a.V[i] = float64(v)
		return
	}
	a.V[i] = code(y, v)
}

func qconv2D(op engine.QConv2D, in, out []Array) {
	x, w, b, m := in[0], in[1], in[2], in[3]
	c := op.Conv2D.Complete()
	n, h, wd, ic, _ := x.NHWC()
	kh, kw, cg, o, _ := w.NHWC()
	_, oh, ow, _, _ := out[0].NHWC()
	for at := range n * oh * ow * o {
		k, j, i, image := at%o, at/o%ow, at/o/ow%oh, at/o/ow/oh
		acc := int32(b.V[k])
		for u := range kh {
			for v := range kw {
				r, s := i*c.Stride[0]+u*c.Dilation[0]-c.Pad[0], j*c.Stride[1]+v*c.Dilation[1]-c.Pad[1]
				if r < 0 || r >= h || s < 0 || s >= wd {
					continue
				}
				first := ((image*h+r)*wd+s)*ic + k/(o/c.Groups)*cg
				for e := range cg {
					acc += (int32(x.V[first+e]) - op.X.Zero) * int32(w.V[((u*kw+v)*cg+e)*o+k])
				}
			}
		}
		out[0].settle(at, acc, m.V[k], op.Y, op.Float)
	}
	if op.Sum.Given() {
		qadd(engine.QAdd{A: op.Y, B: op.Sum.R, Y: op.Sum.Y}, []Array{out[0], in[4]}, out)
	}
}

func qlinear(op engine.QLinear, in, out []Array) {
	x, w, b, m := in[0], in[1], in[2], in[3]
	c, o := w.Shape[0], w.Shape[1]
	for at := range out[0].V {
		row, k := at/o, at%o
		acc := int32(b.V[k])
		for e := range c {
			acc += (int32(x.V[row*c+e]) - op.X.Zero) * int32(w.V[e*o+k])
		}
		out[0].settle(at, acc, m.V[k], op.Y, op.Float)
	}
}
