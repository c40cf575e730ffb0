package ref

import "github.com/potstill/potstill/engine"

func init() {
	define(mul)
	define(mulBackward)
}

// factorAt returns which element of a Mul's factor element i of x is multiplied by.
func factorAt(x, s engine.Spec) func(i int) int {
	way := (engine.Mul{}).Broadcast(x, s)
	if way == engine.Elementwise {
		return func(i int) int { return i }
	}
	c, image := x.Shape[len(x.Shape)-1], x.Len()/x.Shape[0]
	if way == engine.OverPixels {
		return func(i int) int { return i/image*c + i%c }
	}
	return func(i int) int { return i / c }
}

func mul(_ engine.Mul, in, out []Array) {
	x, s := in[0], in[1]
	at := factorAt(x.Spec, s.Spec)
	for i, v := range x.V {
		out[0].set(i, exact(v).mul(exact(s.V[at(i)])))
	}
}

func mulBackward(_ engine.MulBackward, in, out []Array) {
	x, s, dy := in[0], in[1], in[2]
	at := factorAt(x.Spec, s.Spec)
	ds := make([]sum, s.Len())
	for i, v := range x.V {
		out[0].set(i, exact(dy.V[i]).mul(exact(s.V[at(i)])))
		ds[at(i)].dot(dy.V[i], v)
	}
	for k, d := range ds {
		out[1].set(k, d.num)
	}
	out[1].K = x.Len() / s.Len()
}
