package ref

import "github.com/potstill/potstill/engine"

func init() {
	define(activation)
	define(activationBackward)
}

// act is the activation f(x). A NaN fails every comparison and is returned.
func act(f engine.Act, x float64) float64 {
	if f != engine.Identity && x < 0 {
		return 0
	}
	if f == engine.ReLU6 && x > 6 {
		return 6
	}
	return x
}

// slope is f'(x) as seen from y = f(x).
func slope(f engine.Act, y float64) bool {
	switch f {
	case engine.ReLU:
		return y > 0
	case engine.ReLU6:
		return y > 0 && y < 6
	default:
		return true
	}
}

func activation(op engine.Activation, in, out []Array) {
	for i, x := range in[0].V {
		out[0].V[i] = act(op.F, x)
	}
}

func activationBackward(op engine.ActivationBackward, in, out []Array) {
	y, dy := in[0], in[1]
	for i := range dy.V {
		if slope(op.F, y.V[i]) {
			out[0].V[i] = dy.V[i]
		}
	}
}
