package ref

import "github.com/potstill/potstill/engine"

func init() {
	define(qmaxPool)
	define(qavgPool)
	define(qglobalAvgPool)
}

// windows calls each for every output of a pool over x with the index of the output,
// the spans along both axes, and the elements of x in the window.
func (a Array) windows(rows, cols []engine.Span, dil engine.Pair, each func(at, i, j int, x []float64)) {
	n, h, w, c, _ := a.NHWC()
	for at := range n * len(rows) * len(cols) * c {
		k, j, i, image := at%c, at/c%len(cols), at/c/len(cols)%len(rows), at/c/len(cols)/len(rows)
		var x []float64
		for r := rows[i].First; r < rows[i].End; r += dil[0] {
			for s := cols[j].First; s < cols[j].End; s += dil[1] {
				x = append(x, a.V[((image*h+r)*w+s)*c+k])
			}
		}
		each(at, i, j, x)
	}
}

func qmaxPool(op engine.QMaxPool2D, in, out []Array) {
	_, h, w, _, _ := in[0].NHWC()
	in[0].windows(op.Spans(0, h), op.Spans(1, w), op.Complete().Dilation, func(at, _, _ int, x []float64) {
		for _, v := range x {
			out[0].V[at] = max(out[0].V[at], v)
		}
	})
}

// mean is the code of the mean of codes.
func mean(x []float64, divisor int, from, to engine.Codes) float64 {
	acc := int32(0)
	for _, v := range x {
		acc += int32(v) - from.Zero
	}
	m := from.Scale / to.Scale
	return code(to, float32(acc)*(m/float32(divisor)))
}

func qavgPool(op engine.QAvgPool2D, in, out []Array) {
	_, h, w, _, _ := in[0].NHWC()
	rows, cols := op.Pool.Divisors(0, h), op.Pool.Divisors(1, w)
	in[0].windows(op.Pool.Spans(0, h), op.Pool.Spans(1, w), engine.Both(1), func(at, i, j int, x []float64) {
		out[0].V[at] = mean(x, rows[i]*cols[j], op.X, op.Y)
	})
}

func qglobalAvgPool(op engine.QGlobalAvgPool, in, out []Array) {
	_, h, w, _, _ := in[0].NHWC()
	in[0].windows([]engine.Span{{End: h}}, []engine.Span{{End: w}}, engine.Both(1), func(at, _, _ int, x []float64) {
		out[0].V[at] = mean(x, h*w, op.X, op.Y)
	})
}
