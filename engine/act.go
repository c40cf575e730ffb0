package engine

import (
	"fmt"
	"math"
	"strconv"
)

// A Func names an element-wise function of one number; with its constants it is
// an Act.
type Func uint8

// The functions, with the constants A and B of their Act. Slopes at corners are
// PyTorch's: those of the piece on the left, and zero for Abs, except where it is
// said. σ is the logistic function, Φ the normal distribution.
const (
	FuncIdentity        Func = iota // x
	FuncReLU                        // max(x, 0)
	FuncReLU6                       // min(max(x, 0), 6); the slope at 6 is 0
	FuncClip                        // min(max(x, A), B); the slope at A and B is 0
	FuncLeakyReLU                   // x for x > 0, else A·x
	FuncThresholdedReLU             // x for x > A, else 0
	FuncHardSigmoid                 // min(max(A·x+B, 0), 1); the slope at both corners is 0
	FuncHardSwish                   // x·min(max(x+3, 0), 6)/6; the slope at -3 is -1/2, at 3 it is 1
	FuncAbs                         // |x|
	FuncNeg                         // -x
	FuncReciprocal                  // 1/x
	FuncSqrt                        // √x
	FuncSoftsign                    // x/(1+|x|)
	FuncExp                         // eˣ
	FuncELU                         // x for x > 0, else A·(eˣ-1) (arXiv:1511.07289)
	FuncCELU                        // x for x > 0, else A·(e^(x/A)-1) (arXiv:1704.07483)
	FuncSELU                        // λ·x for x > 0, else λ·α·(eˣ-1), with the α and λ of arXiv:1706.02515
	FuncSigmoid                     // σ(x) = 1/(1+e⁻ˣ)
	FuncSiLU                        // x·σ(x), also called swish (arXiv:1702.03118)
	FuncTanh                        // tanh x
	FuncGELU                        // x·Φ(x) = x·(1+erf(x/√2))/2 (arXiv:1606.08415)
	FuncGELUTanh                    // x·(1+tanh(√(2/π)·(x+0.044715·x³)))/2
	FuncMish                        // x·tanh(log(1+eˣ)) (arXiv:1908.08681)
	FuncSoftplus                    // log(1+e^(A·x))/A, x where A·x > B
	FuncLog                         // log x
	FuncErf                         // erf x
	FuncPow                         // x^A; NaN for x < 0 unless A is an integer
	funcCount
)

// An Act is an element-wise activation: a function and its constants, zero
// where the function has none. It is comparable; the zero Act is Identity.
type Act struct {
	Fn   Func
	A, B float32
}

// The activations without constants.
var (
	Identity   = Act{}
	ReLU       = Act{Fn: FuncReLU}
	ReLU6      = Act{Fn: FuncReLU6}
	HardSwish  = Act{Fn: FuncHardSwish}
	Abs        = Act{Fn: FuncAbs}
	Neg        = Act{Fn: FuncNeg}
	Reciprocal = Act{Fn: FuncReciprocal}
	Sqrt       = Act{Fn: FuncSqrt}
	Softsign   = Act{Fn: FuncSoftsign}
	Exp        = Act{Fn: FuncExp}
	SELU       = Act{Fn: FuncSELU}
	Sigmoid    = Act{Fn: FuncSigmoid}
	SiLU       = Act{Fn: FuncSiLU}
	Tanh       = Act{Fn: FuncTanh}
	GELU       = Act{Fn: FuncGELU}
	GELUTanh   = Act{Fn: FuncGELUTanh}
	Mish       = Act{Fn: FuncMish}
	Log        = Act{Fn: FuncLog}
	Erf        = Act{Fn: FuncErf}
)

// Clip returns min(max(x, least), most). A bound may be infinite.
func Clip(least, most float32) Act { return Act{FuncClip, least, most} }

// LeakyReLU returns x for x > 0, else slope·x.
func LeakyReLU(slope float32) Act { return Act{FuncLeakyReLU, slope, 0} }

// ThresholdedReLU returns x for x > alpha, else 0.
func ThresholdedReLU(alpha float32) Act { return Act{FuncThresholdedReLU, alpha, 0} }

// HardSigmoid returns min(max(alpha·x+beta, 0), 1). PyTorch has alpha = 1/6 and
// beta = 1/2.
func HardSigmoid(alpha, beta float32) Act { return Act{FuncHardSigmoid, alpha, beta} }

// ELU returns x for x > 0, else alpha·(eˣ-1).
func ELU(alpha float32) Act { return Act{FuncELU, alpha, 0} }

// CELU returns x for x > 0, else alpha·(e^(x/alpha)-1).
func CELU(alpha float32) Act { return Act{FuncCELU, alpha, 0} }

// Softplus returns log(1+e^(beta·x))/beta, and x itself where beta·x > threshold.
func Softplus(beta, threshold float32) Act { return Act{FuncSoftplus, beta, threshold} }

// Pow returns x^exponent.
func Pow(exponent float32) Act { return Act{FuncPow, exponent, 0} }

// The constants of SELU: λ and λ·α.
const (
	seluScale = 1.0507009873554804934193349852946
	seluAlpha = 1.6732632423543772848170429916717
)

// A slopeOf says what the derivative of a function is computed from.
type slopeOf uint8

const (
	fromY slopeOf = iota // the result, so that x need not be kept
	fromX
	fromPositive // the result if A > 0, else x
)

// funcs is the table of functions: their names, how many constants they have,
// and what their derivative is computed from.
var funcs = [funcCount]struct {
	name      string
	constants int
	slope     slopeOf
}{
	FuncIdentity:        {"Identity", 0, fromY},
	FuncReLU:            {"ReLU", 0, fromY},
	FuncReLU6:           {"ReLU6", 0, fromY},
	FuncClip:            {"Clip", 2, fromY},
	FuncLeakyReLU:       {"LeakyReLU", 1, fromPositive},
	FuncThresholdedReLU: {"ThresholdedReLU", 1, fromX},
	FuncHardSigmoid:     {"HardSigmoid", 2, fromY},
	FuncHardSwish:       {"HardSwish", 0, fromX},
	FuncAbs:             {"Abs", 0, fromX},
	FuncNeg:             {"Neg", 0, fromY},
	FuncReciprocal:      {"Reciprocal", 0, fromY},
	FuncSqrt:            {"Sqrt", 0, fromY},
	FuncSoftsign:        {"Softsign", 0, fromX},
	FuncExp:             {"Exp", 0, fromY},
	FuncELU:             {"ELU", 1, fromPositive},
	FuncCELU:            {"CELU", 1, fromY},
	FuncSELU:            {"SELU", 0, fromY},
	FuncSigmoid:         {"Sigmoid", 0, fromY},
	FuncSiLU:            {"SiLU", 0, fromX},
	FuncTanh:            {"Tanh", 0, fromY},
	FuncGELU:            {"GELU", 0, fromX},
	FuncGELUTanh:        {"GELUTanh", 0, fromX},
	FuncMish:            {"Mish", 0, fromX},
	FuncSoftplus:        {"Softplus", 2, fromX},
	FuncLog:             {"Log", 0, fromX},
	FuncErf:             {"Erf", 0, fromX},
	FuncPow:             {"Pow", 1, fromX},
}

// String returns the name, and the constants if there are any: "Clip(-1,1)".
func (f Act) String() string {
	if f.Fn >= funcCount {
		return "Func" + strconv.Itoa(int(f.Fn))
	}
	switch t := funcs[f.Fn]; t.constants {
	case 1:
		return fmt.Sprintf("%s(%v)", t.name, f.A)
	case 2:
		return fmt.Sprintf("%s(%v,%v)", t.name, f.A, f.B)
	default:
		return t.name
	}
}

// MarshalText returns String's text, so that an op with infinite bounds has JSON.
func (f Act) MarshalText() ([]byte, error) { return []byte(f.String()), nil }

// FromX reports whether the derivative of f is computed from its argument. That
// of the others is computed from their result.
func (f Act) FromX() bool {
	s := funcs[f.Fn].slope
	return s == fromX || s == fromPositive && !(f.A > 0)
}

// Clamps reports whether f is Identity, ReLU, ReLU6 or Clip, and between which
// bounds it holds its argument.
func (f Act) Clamps() (least, most float32, ok bool) {
	inf := float32(math.Inf(1))
	switch f.Fn {
	case FuncIdentity:
		return -inf, inf, true
	case FuncReLU:
		return 0, inf, true
	case FuncReLU6:
		return 0, 6, true
	case FuncClip:
		return f.A, f.B, true
	}
	return 0, 0, false
}

// Constants returns what kernels compute f with. For a clamp these are its
// bounds; for ELU, CELU and SELU the s, a and b of s·x for x > 0, else
// a·(e^(b·x)-1); for Softplus β, the threshold and 1/β; else A and B.
func (f Act) Constants() [3]float32 {
	switch f.Fn {
	case FuncIdentity, FuncReLU, FuncReLU6, FuncClip:
		least, most, _ := f.Clamps()
		return [3]float32{least, most}
	case FuncELU:
		return [3]float32{1, f.A, 1}
	case FuncCELU:
		return [3]float32{1, f.A, 1 / f.A}
	case FuncSELU:
		return [3]float32{seluScale, seluScale * seluAlpha, 1}
	case FuncSoftplus:
		return [3]float32{f.A, f.B, 1 / f.A}
	}
	return [3]float32{f.A, f.B}
}

// Check refuses a function that there is not, and constants with which it makes
// no sense.
func (f Act) Check() error {
	finite := func(v float32) bool { return !math.IsInf(float64(v), 0) && v == v }
	switch {
	case f.Fn >= funcCount:
		return fmt.Errorf("unknown activation %v", f)
	case f.Fn == FuncClip:
		if !(f.A <= f.B) {
			return fmt.Errorf("%v: the lower bound is above the upper one", f)
		}
	case !finite(f.A) || !finite(f.B):
		return fmt.Errorf("%v: a constant is no number that float32 can hold", f)
	case f.Fn == FuncCELU && !(f.A > 0):
		return fmt.Errorf("%v: its constant must be positive", f)
	case f.Fn == FuncSoftplus && f.A == 0:
		return fmt.Errorf("%v divides by zero", f)
	}
	return nil
}

// check is Check for an op's Infer.
func (f Act) check() error {
	if err := f.Check(); err != nil {
		return fmt.Errorf("%w: %w", ErrShape, err)
	}
	return nil
}
