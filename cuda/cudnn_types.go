package cuda

import (
	"errors"
	"fmt"
	"math"
)

// A ConvShape is a two-dimensional convolution:
//
//	y[n,i,j,o] = Σ x[n, i·sh−ph+p·dh, j·sw−pw+q·dw, g·C/Groups+c] · w[o,p,q,c]
//
// with (sh, sw) = Stride, (ph, pw) = Pad, (dh, dw) = Dilation and o in group g, over p < KH, q < KW, c < C/Groups, where x counts as zero
// outside its bounds. Activations x [N,H,W,C] and y [N,OH,OW,O] are NHWC,
// filters w [O,KH,KW,C/Groups] are KRSC, all densely packed.
type ConvShape struct {
	N, H, W, C int
	O, KH, KW  int
	OH, OW     int
	// Stride, Pad and Dilation are [height, width]. There are as many rows of
	// padding below as above, and as many columns to the right as to the left.
	Stride, Pad, Dilation [2]int
	Groups                int
	// BF16 says that x, w and y are all bfloat16; sums are float32. Otherwise
	// they are float32.
	BF16 bool
	// TF32 lets factors of float32 products be rounded to TF32's 10 bits of
	// mantissa, for tensor cores. Without it all arithmetic is float32.
	TF32 bool
}

// String names the shape for messages.
func (s ConvShape) String() string {
	t := fmt.Sprintf("%dx%dx%dx%d with %d filters %dx%dx%d, stride %s, pad %s", s.N, s.H, s.W, s.C, s.O, s.KH, s.KW,
		s.C/max(s.Groups, 1), axes(s.Stride), axes(s.Pad))
	if s.Dilation != [2]int{1, 1} {
		t += ", dilation " + axes(s.Dilation)
	}
	if s.BF16 {
		t += ", bf16"
	}
	return t
}

// axes writes one number for two that are the same.
func axes(p [2]int) string {
	if p[0] == p[1] {
		return fmt.Sprint(p[0])
	}
	return fmt.Sprintf("%dx%d", p[0], p[1])
}

// extents returns OH and OW as they follow from the rest, which is positive; what
// is below 1 means a filter that is larger than the padded input.
func (s ConvShape) extents() (oh, ow int) {
	along := func(n, k, axis int) int {
		free := n + 2*s.Pad[axis] - s.Dilation[axis]*(k-1) - 1
		if free < 0 {
			return 0
		}
		return free/s.Stride[axis] + 1
	}
	return along(s.H, s.KH, 0), along(s.W, s.KW, 1)
}

// Symmetric reports whether OH and OW are those of a padding that is the same on
// opposite sides, as cuDNN wants it.
func (s ConvShape) Symmetric() bool {
	if s.Stride[0] < 1 || s.Stride[1] < 1 {
		return false
	}
	oh, ow := s.extents()
	return s.OH == oh && s.OW == ow
}

// result returns the bytes of y.
func (s ConvShape) result() int {
	if s.BF16 {
		return 2 * s.N * s.OH * s.OW * s.O
	}
	return 4 * s.N * s.OH * s.OW * s.O
}

// check says what is wrong with a shape.
func (s ConvShape) check() error {
	for _, e := range []struct {
		name   string
		v, min int
	}{
		{"N", s.N, 1}, {"H", s.H, 1}, {"W", s.W, 1}, {"C", s.C, 1}, {"O", s.O, 1}, {"KH", s.KH, 1}, {"KW", s.KW, 1},
		{"Stride", s.Stride[0], 1}, {"Stride", s.Stride[1], 1}, {"Pad", s.Pad[0], 0}, {"Pad", s.Pad[1], 0},
		{"Dilation", s.Dilation[0], 1}, {"Dilation", s.Dilation[1], 1}, {"Groups", s.Groups, 1},
	} {
		if e.v < e.min || e.v > math.MaxInt32 {
			return fmt.Errorf("convolution: %s is %d: it must be from %d to %d", e.name, e.v, e.min, math.MaxInt32)
		}
	}
	if s.C%s.Groups != 0 || s.O%s.Groups != 0 {
		return fmt.Errorf("convolution: %d channels to %d do not divide into %d groups", s.C, s.O, s.Groups)
	}
	switch oh, ow := s.extents(); {
	case oh < 1 || ow < 1:
		return fmt.Errorf("convolution of %s: the filter is larger than the padded input", s)
	case s.OH != oh:
		return fmt.Errorf("convolution of %s: OH is %d: it must be %d", s, s.OH, oh)
	case s.OW != ow:
		return fmt.Errorf("convolution of %s: OW is %d: it must be %d", s, s.OW, ow)
	}
	return nil
}

// A ConvPass is one of the three products of a convolution's step.
type ConvPass int

// The passes, each with what Run reads and writes.
const (
	Forward        ConvPass = iota // x, w → y
	BackwardData                   // w, y → x: dx of dy
	BackwardFilter                 // x, y → w: dw of x and dy
)

func (p ConvPass) String() string {
	switch p {
	case Forward:
		return "forward"
	case BackwardData:
		return "backward data"
	case BackwardFilter:
		return "backward filter"
	}
	return fmt.Sprintf("ConvPass(%d)", int(p))
}

// An Algorithm is one way of a library to do a product.
type Algorithm struct {
	// ID means the algorithm within the Conv or Matmul that listed it.
	ID int
	// Name is the library's, unique in its list: it stands for the same
	// algorithm as long as library, card and shape are the same.
	Name string
	// Workspace is how many bytes of device memory Run needs.
	Workspace int
	// Deterministic says that two runs give the same bits.
	Deterministic bool
}

// convAlgorithms are cuDNN's names without CUDNN_CONVOLUTION_FWD_ALGO_ and its
// sisters, by pass and number.
var convAlgorithms = [3][]string{
	Forward: {
		"IMPLICIT_GEMM", "IMPLICIT_PRECOMP_GEMM", "GEMM", "DIRECT", "FFT", "FFT_TILING", "WINOGRAD", "WINOGRAD_NONFUSED",
	},
	BackwardData:   {"ALGO_0", "ALGO_1", "FFT", "FFT_TILING", "WINOGRAD", "WINOGRAD_NONFUSED"},
	BackwardFilter: {"ALGO_0", "ALGO_1", "FFT", "ALGO_3", "WINOGRAD", "WINOGRAD_NONFUSED", "FFT_TILING"},
}

// mathTypes are the names of cudnnMathType_t, by number.
var mathTypes = []string{"DEFAULT_MATH", "TENSOR_OP_MATH", "TENSOR_OP_MATH_ALLOW_CONVERSION", "FMA_MATH"}

func name(names []string, i int) string {
	if i >= 0 && i < len(names) {
		return names[i]
	}
	return fmt.Sprint(i)
}

// A MatmulShape is a product of matrices that are stored row by row, densely:
//
//	C[M,N] = op(A)·op(B) + bias[N]
//
// A is [M,K], or [K,M] with TransA; B is [K,N], or [N,K] with TransB.
type MatmulShape struct {
	M, N, K        int
	TransA, TransB bool
	// BF16 says that A, B, C and bias are bfloat16; sums are float32. Otherwise
	// they are float32.
	BF16 bool
	// Float32Out makes C and bias float32 where A and B are bfloat16.
	Float32Out bool
	// TF32 lets factors of float32 products be rounded to TF32's 10 bits of
	// mantissa, for tensor cores. Without it all arithmetic is float32.
	TF32 bool
	// Bias adds bias, as long as a row of C and of C's type, to each row.
	Bias bool
	// BiasGrad has the product make bias[N], of C's type, as well: the sums of
	// the columns of op(B), which for C = Xᵀ·dY are the gradient of a bias.
	// It excludes Bias.
	BiasGrad bool
}

// String names the shape for messages.
func (s MatmulShape) String() string {
	transposed := func(b bool) string {
		if b {
			return "ᵀ"
		}
		return ""
	}
	t := fmt.Sprintf("A%s·B%s, %dx%d of sums of %d", transposed(s.TransA), transposed(s.TransB), s.M, s.N, s.K)
	if s.BF16 {
		t += ", bf16"
	}
	return t
}

// check says what is wrong with a shape.
func (s MatmulShape) check() error {
	for _, e := range []struct {
		name string
		v    int
	}{{"M", s.M}, {"N", s.N}, {"K", s.K}} {
		if e.v < 1 || e.v > math.MaxInt32 {
			return fmt.Errorf("matmul: %s is %d: it must be from 1 to %d", e.name, e.v, math.MaxInt32)
		}
	}
	if s.Bias && s.BiasGrad {
		return errors.New("matmul: it cannot both add a bias and make the gradient of one")
	}
	return nil
}

// matmulAlignment is what the addresses given to Matmul.Run are multiples of.
const matmulAlignment = 16

// find returns the algorithm of a list that a stands for.
func findAlgorithm(list []Algorithm, a Algorithm) (Algorithm, error) {
	for i := range list {
		if list[i].ID == a.ID && list[i].Name == a.Name {
			return list[i], nil
		}
	}
	return Algorithm{}, fmt.Errorf("algorithm %q is not one of the %d listed", a.Name, len(list))
}
