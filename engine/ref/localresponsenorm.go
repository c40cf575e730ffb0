package ref

import "github.com/potstill/potstill/engine"

func init() {
	define(localResponseNorm)
	define(localResponseNormBackward)
}

// responses returns s of each channel of a row.
func responses(op engine.LocalResponseNorm, x []float64) []num {
	before, behind := op.Reach()
	scale := exact(float64(op.Alpha)).div(exact(float64(op.Size)))
	s := make([]num, len(x))
	for c := range x {
		var squares sum
		for j := max(c-before, 0); j <= min(c+behind, len(x)-1); j++ {
			squares.dot(x[j], x[j])
		}
		s[c] = exact(float64(op.K)).add(scale.mul(squares.num))
	}
	return s
}

func localResponseNorm(op engine.LocalResponseNorm, in, out []Array) {
	x, c := in[0].V, channels(in[0].Spec)
	for row := 0; row < len(x); row += c {
		for k, s := range responses(op, x[row:row+c]) {
			out[0].set(row+k, exact(x[row+k]).mul(s.pow(-float64(op.Beta))))
		}
	}
	out[0].K = op.Size
}

func localResponseNormBackward(b engine.LocalResponseNormBackward, in, out []Array) {
	op := b.LocalResponseNorm
	x, dy, c := in[0].V, in[1].V, channels(in[0].Spec)
	before, behind := op.Reach()
	scale := exact(2 * float64(op.Alpha) * float64(op.Beta)).div(exact(float64(op.Size)))
	for row := 0; row < len(x); row += c {
		s := responses(op, x[row:row+c])
		for k := range c {
			var others sum
			for j := max(k-behind, 0); j <= min(k+before, c-1); j++ {
				others.add(exact(dy[row+j]).mul(exact(x[row+j])).mul(s[j].pow(-float64(op.Beta) - 1)))
			}
			own := exact(dy[row+k]).mul(s[k].pow(-float64(op.Beta)))
			out[0].set(row+k, own.sub(scale.mul(exact(x[row+k])).mul(others.num)))
		}
	}
	out[0].K = op.Size
}
