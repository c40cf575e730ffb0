package backendtest

import (
	"math"
	"testing"

	"github.com/potstill/potstill/engine"
	"github.com/potstill/potstill/engine/ref"
)

// TestHonestFloat32 shows that the bound is not too tight: plain float32 loops,
// which add one term after the other, pass every case.
func TestHonestFloat32(t *testing.T) {
	_, cases := suite()
	for stem, eval := range map[string]func(op engine.Op, in, out []ref.Array){
		"Conv2D":        honestConv,
		"Linear":        honestLinear,
		"BatchNorm":     honestBatchNorm,
		"GlobalAvgPool": honestMean,
		"CrossEntropy":  honestCrossEntropy,
		"ClipScale":     honestNorm,
	} {
		p := &planted{Backend: ref.New(), bug: bug{eval: then(eval)}}
		for _, c := range cases[stem] {
			c.check(t, p)
		}
	}
}

func honestConv(op engine.Op, in, out []ref.Array) {
	c := op.(engine.Conv2D)
	if c.Epilogue != (engine.Epilogue{}) {
		return
	}
	c = c.Complete()
	_, h, w, ch, _ := in[0].NHWC()
	kh, kw, cg, o, _ := in[1].NHWC()
	for i := range out[0].V {
		at := index(out[0].Spec, i)
		first := at[3] / (o / c.Groups) * cg
		var y float32
		for u := range kh {
			for v := range kw {
				r, q := at[1]*c.Stride[0]+u*c.Dilation[0]-c.Pad[0], at[2]*c.Stride[1]+v*c.Dilation[1]-c.Pad[1]
				if r < 0 || r >= h || q < 0 || q >= w {
					continue
				}
				for k := range cg {
					x := in[0].V[((at[0]*h+r)*w+q)*ch+first+k]
					y += float32(x) * float32(in[1].V[((u*kw+v)*cg+k)*o+at[3]])
				}
			}
		}
		if len(in) == 3 {
			y += float32(in[2].V[at[3]])
		}
		out[0].V[i] = float64(y)
	}
}

func honestLinear(_ engine.Op, in, out []ref.Array) {
	k, o := in[1].Shape[0], in[1].Shape[1]
	for i := range out[0].V {
		var y float32
		for j := range k {
			y += float32(in[0].V[i/o*k+j]) * float32(in[1].V[j*o+i%o])
		}
		if len(in) == 3 {
			y += float32(in[2].V[i%o])
		}
		out[0].V[i] = float64(y)
	}
}

func honestBatchNorm(op engine.Op, in, out []ref.Array) {
	bn := op.(engine.BatchNorm)
	c := len(in[1].V)
	m := float32(len(in[0].V) / c)
	for k := range c {
		mu, v := float32(in[3].V[k]), float32(in[4].V[k])
		if bn.Train {
			mu, v = 0, 0
			for i := k; i < len(in[0].V); i += c {
				mu += float32(in[0].V[i])
			}
			mu /= m
			for i := k; i < len(in[0].V); i += c {
				d := float32(in[0].V[i]) - mu
				v += d * d
			}
			v /= m
		}
		r := 1 / float32(math.Sqrt(float64(v+bn.Eps)))
		scale := r * float32(in[1].V[k])
		shift := float32(in[2].V[k]) - mu*scale
		for i := k; i < len(in[0].V); i += c {
			out[0].V[i] = float64(float32(in[0].V[i])*scale + shift)
		}
		if bn.Train {
			a := bn.Momentum
			out[1].V[k], out[2].V[k] = float64(mu), float64(r)
			out[3].V[k] = float64((1-a)*float32(in[3].V[k]) + a*mu)
			out[4].V[k] = float64((1-a)*float32(in[4].V[k]) + a*v*m/(m-1))
		}
	}
}

func honestMean(_ engine.Op, in, out []ref.Array) {
	n, h, w, c, _ := in[0].NHWC()
	for i := range n * c {
		var s float32
		for p := range h * w {
			s += float32(in[0].V[(i/c*h*w+p)*c+i%c])
		}
		out[0].V[i] = float64(s / float32(h*w))
	}
}

func honestCrossEntropy(op engine.Op, in, out []ref.Array) {
	eps := op.(engine.CrossEntropy).LabelSmoothing
	n, k := in[0].Shape[0], in[0].Shape[1]
	var loss float32
	for r := range n {
		top, s := float32(math.Inf(-1)), float32(0)
		row := in[0].V[r*k : (r+1)*k]
		for _, x := range row {
			top = max(top, float32(x))
		}
		for _, x := range row {
			s += float32(math.Exp(float64(float32(x) - top)))
		}
		lse := top + float32(math.Log(float64(s)))
		for j, x := range row {
			q := (1-eps)*float32(in[1].V[r*k+j]) + eps/float32(k)
			loss += q * (lse - float32(x))
		}
	}
	out[0].V[0] = float64(loss / float32(n))
}

func honestNorm(op engine.Op, in, out []ref.Array) {
	var s float32
	for _, g := range in {
		for _, v := range g.V {
			s += float32(v) * float32(v)
		}
	}
	norm := float32(math.Sqrt(float64(s)))
	out[0].V[0] = float64(norm)
	if clip := op.(engine.ClipScale).MaxNorm; clip != 0 {
		out[1].V[0] = float64(min(1, clip/(norm+1e-6)))
	}
}
