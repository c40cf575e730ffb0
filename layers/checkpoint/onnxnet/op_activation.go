package onnxnet

import (
	"fmt"
	"math"
	"strconv"

	"github.com/potstill/potstill/layers/checkpoint/onnxread"
)

// decimal returns the shortest decimal number that is the float32, as a float64:
// settings are written as people write them.
func decimal(v float32) float64 {
	d, _ := strconv.ParseFloat(strconv.FormatFloat(float64(v), 'g', -1, 32), 64)
	return d
}

// An activated is the kind of module that a function of one number is.
type activated func(n *onnxread.Node, in []*array) (kind string, set map[string]any, err error)

// plainKind is a function without settings.
func plainKind(kind string) activated {
	return func(*onnxread.Node, []*array) (string, map[string]any, error) { return kind, nil, nil }
}

// attrKind is a function with settings from attributes: the setting's key, the
// attribute's name and what it is if left out.
func attrKind(kind string, settings ...any) activated {
	return func(n *onnxread.Node, _ []*array) (string, map[string]any, error) {
		set := make(map[string]any)
		for i := 0; i+2 < len(settings); i += 3 {
			set[settings[i].(string)] = decimal(n.Float(settings[i+1].(string), float32(settings[i+2].(float64))))
		}
		return kind, set, nil
	}
}

// activations are the functions of one number.
var activations = map[string]activated{
	"Relu": plainKind("ReLU"), "Sigmoid": plainKind("Sigmoid"), "Tanh": plainKind("Tanh"), opSiLU: plainKind("SiLU"), "Mish": plainKind("Mish"),
	"HardSwish": plainKind("Hardswish"), "Exp": plainKind("Exp"), "Log": plainKind("Log"), "Sqrt": plainKind("Sqrt"), "Abs": plainKind("Abs"),
	"Neg": plainKind("Neg"), "Reciprocal": plainKind("Reciprocal"), "Erf": plainKind("Erf"), "Softsign": plainKind("Softsign"),
	"LeakyRelu": attrKind("LeakyReLU", "negative_slope", "alpha", 0.01), "Elu": attrKind("ELU", "alpha", "alpha", 1.0),
	"Celu": attrKind("Celu", "alpha", "alpha", 1.0), "ThresholdedRelu": attrKind("ThresholdedReLU", "alpha", "alpha", 1.0),
	"HardSigmoid": attrKind("Hardsigmoid", "alpha", "alpha", 0.2, "beta", "beta", 0.5), "Softplus": plainKind("Softplus"),
	"Gelu": geluKind, "Swish": swishKind, "Clip": clipKind,
}

// activation translates a function of one number.
func activation(t *translator, n *onnxread.Node, in []value) ([]value, error) {
	a, err := first(in)
	if err != nil {
		return nil, err
	}
	rest := make([]*array, len(in))
	for i := 1; i < len(in); i++ {
		if in[i].a != nil {
			return nil, fmt.Errorf("its input %d is computed from the image; only constants are taken there", i+1)
		}
		rest[i] = in[i].c
	}
	kind, set, err := activations[n.Op](n, rest)
	if err != nil {
		return nil, err
	}
	if kind == "" {
		return []value{{a: a}}, nil
	}
	return t.pointwise(n, a, kind, set), nil
}

// PyTorch's constants of SELU, which ONNX has as defaults.
const (
	seluAlpha = 1.67326319217681884765625
	seluGamma = 1.05070102214813232421875
)

// selu is γ·ELU(x), with PyTorch's constants a module of its own.
func selu(t *translator, n *onnxread.Node, in []value) ([]value, error) {
	a, err := first(in)
	if err != nil {
		return nil, err
	}
	alpha, gamma := n.Float("alpha", seluAlpha), n.Float("gamma", seluGamma)
	if near(float64(alpha), seluAlpha) && near(float64(gamma), seluGamma) {
		return t.pointwise(n, a, "SELU", nil), nil
	}
	out := t.pointwise(n, a, "ELU", map[string]any{"alpha": decimal(alpha)})
	return t.scaled(n, out[0].a, filled(1, gamma), nil), nil
}

func geluKind(n *onnxread.Node, _ []*array) (string, map[string]any, error) {
	form := n.Text("approximate", "none")
	if form != "none" && form != "tanh" {
		return "", nil, fmt.Errorf("the unknown form %q of GELU", form)
	}
	return "GELU", map[string]any{"approximate": form}, nil
}

func swishKind(n *onnxread.Node, _ []*array) (string, map[string]any, error) {
	if a := n.Float("alpha", 1); a != 1 {
		return "", nil, fmt.Errorf("alpha is %g; only x·sigmoid(x) is taken", a)
	}
	return "SiLU", nil, nil
}

// clipBounds returns the ends of Clip, attributes before operator set 11 and
// inputs from there on. What is left out is infinite.
func clipBounds(n *onnxread.Node, in []*array) (low, high float64, err error) {
	low, high = math.Inf(-1), math.Inf(1)
	if n.Has("min") {
		low = float64(n.Float("min", 0))
	}
	if n.Has("max") {
		high = float64(n.Float("max", 0))
	}
	for i, to := range []*float64{&low, &high} {
		if i+1 < len(n.In) && n.In[i+1] != "" {
			if i+1 >= len(in) || in[i+1] == nil || in[i+1].len() != 1 {
				return 0, 0, fmt.Errorf("its bounds are not constant")
			}
			*to = in[i+1].at(0)
		}
	}
	if low <= -math.MaxFloat32 { // which stands for none
		low = math.Inf(-1)
	}
	if high >= math.MaxFloat32 {
		high = math.Inf(1)
	}
	return low, high, nil
}

func clipKind(n *onnxread.Node, in []*array) (string, map[string]any, error) {
	low, high, err := clipBounds(n, in)
	if err != nil {
		return "", nil, err
	}
	kind, set := bounded(low, high)
	return kind, set, nil
}

// bounded returns the kind of module for min(max(x, low), high), "" for x itself.
func bounded(low, high float64) (kind string, set map[string]any) {
	switch {
	case math.IsInf(low, -1) && math.IsInf(high, 1):
		return "", nil
	case low == 0 && math.IsInf(high, 1):
		return "ReLU", nil
	case low == 0 && high == 6:
		return "ReLU6", nil
	}
	set = make(map[string]any)
	for key, v := range map[string]float64{"min_val": low, "max_val": high} {
		if math.IsInf(v, 0) {
			v = math.Copysign(math.MaxFloat32, v)
		}
		set[key] = decimal(float32(v))
	}
	return "Hardtanh", set
}
