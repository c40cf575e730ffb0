package ref

import (
	"slices"

	"github.com/potstill/potstill/engine"
)

func init() {
	define(softmax)
	define(softmaxBackward)
}

func softmax(op engine.Softmax, in, out []Array) {
	x := in[0].V
	c := in[0].Shape[len(in[0].Shape)-1]
	for row := 0; row < len(x); row += c {
		top := exact(slices.Max(x[row : row+c]))
		var total sum
		for _, v := range x[row : row+c] {
			total.add(exact(v).sub(top).exp())
		}
		for i := row; i < row+c; i++ {
			z := exact(x[i]).sub(top)
			if op.Log {
				out[0].set(i, z.sub(total.log()))
			} else {
				out[0].set(i, z.exp().div(total.num))
			}
		}
	}
	out[0].K = c
}

func softmaxBackward(op engine.SoftmaxBackward, in, out []Array) {
	y, dy := in[0].V, in[1].V
	c := in[0].Shape[len(in[0].Shape)-1]
	for row := 0; row < len(y); row += c {
		var total sum
		for i := row; i < row+c; i++ {
			if op.Log {
				total.dot(dy[i], 1)
			} else {
				total.dot(dy[i], y[i])
			}
		}
		for i := row; i < row+c; i++ {
			if op.Log {
				out[0].set(i, exact(dy[i]).sub(exact(y[i]).exp().mul(total.num)))
			} else {
				out[0].set(i, exact(y[i]).mul(exact(dy[i]).sub(total.num)))
			}
		}
	}
	out[0].K = c
}
