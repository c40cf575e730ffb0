package ref

import "github.com/potstill/potstill/engine"

func init() {
	define(mse)
	define(mseBackward)
}

func mse(_ engine.MSE, in, out []Array) {
	x, y := in[0].V, in[1].V
	var total sum
	for i, v := range x {
		d := exact(v).sub(exact(y[i]))
		total.add(d.mul(d))
	}
	out[0].set(0, total.mul(exact(1/float64(len(x)))))
	out[0].K = len(x)
}

func mseBackward(_ engine.MSEBackward, in, out []Array) {
	x, y := in[0].V, in[1].V
	scale := exact(in[2].V[0]).mul(exact(2 / float64(len(x))))
	for i, v := range x {
		out[0].set(i, scale.mul(exact(v).sub(exact(y[i]))))
	}
}
