package metrics

import (
	"math"
	"slices"
)

// Divergence returns the Kullback-Leibler divergence of the predictions of other logits
// from those of first ones, both of K classes, in nats:
//
//	KL(p ‖ q) = Σ_k p_k·(log p_k - log q_k)
//
// with p the softmax of the first and q that of the other. Logits that are not finite
// give NaN.
func Divergence(first, other []float32) float64 {
	p, q := logSoftmax(first), logSoftmax(other)
	sum := 0.0
	for k := range p {
		sum += math.Exp(p[k]) * (p[k] - q[k])
	}
	return sum
}

func logSoftmax(x []float32) []float64 {
	top := slices.Max(x)
	sum := 0.0
	for _, v := range x {
		sum += math.Exp(float64(v - top))
	}
	out := make([]float64, len(x))
	for i, v := range x {
		out[i] = float64(v-top) - math.Log(sum)
	}
	return out
}
