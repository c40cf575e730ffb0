package layers

import (
	"errors"
	"fmt"
	"math"

	"github.com/potstill/potstill/engine"
)

// Conv2d is PyTorch's nn.Conv2d with zero padding, which may differ on all four
// sides, from [N,H,W,I] to [N,OH,OW,O] (see engine.Conv2D for the algebra).
//
// Tensors: weight [O,I/groups,KH,KW] and, with Bias, bias [O]. Both start uniform
// in ±1/√fan_in with fan_in = I/groups·KH·KW, PyTorch's default (kaiming_uniform
// with a = √5), unless WeightInit and BiasInit say otherwise.
type Conv2d struct {
	InChannels  int  `json:"in_channels"`
	OutChannels int  `json:"out_channels"`
	KernelSize  Pair `json:"kernel_size"`
	Stride      Pair `json:"stride"`
	Padding     Pads `json:"padding"`
	Dilation    Pair `json:"dilation"`
	Groups      int  `json:"groups"`
	Bias        bool `json:"bias"`
	// WeightInit is "", KaimingNormalFanOut or another of its kind.
	WeightInit string `json:"weight_init"`
	// BiasInit is "" or Zeros.
	BiasInit string `json:"bias_init"`
	// Dims is 2 for PyTorch's nn.Linear over the channels of each pixel: the
	// kernel is 1, and PyTorch's weight is [O,I]. Else it is 0.
	Dims int `json:"dims"`
}

func init() {
	Register(Conv2d{KernelSize: Both(1), Stride: Both(1), Dilation: Both(1), Groups: 1, Bias: true})
}

// Conv returns a convolution with a square kernel, of stride 1, with a bias and
// without padding.
func Conv(in, out, kernel int) Conv2d {
	return Conv2d{InChannels: in, OutChannels: out, KernelSize: Both(kernel), Stride: Both(1), Dilation: Both(1), Groups: 1, Bias: true}
}

// Check implements Kind.
func (k Conv2d) Check(inputs int) error {
	switch {
	case inputs != 1:
		return one(inputs)
	case k.OutChannels == 0:
		return errors.New("it has no out_channels; give a number")
	case k.InChannels < 1 || k.OutChannels < 1 || !k.KernelSize.within(1, math.MaxInt):
		return fmt.Errorf("%d to %d channels with a kernel of %v: all must be positive", k.InChannels, k.OutChannels, k.KernelSize)
	case k.InChannels > maxWidth || k.OutChannels > maxWidth || !k.KernelSize.within(1, maxKernel):
		return fmt.Errorf("%d to %d channels with a kernel of %v: at most %d channels and a kernel of %d are taken",
			k.InChannels, k.OutChannels, k.KernelSize, maxWidth, maxKernel)
	case !k.Stride.within(1, math.MaxInt) || !k.Dilation.within(1, math.MaxInt) || k.Groups < 1 || !k.Padding.within(0, math.MaxInt):
		return fmt.Errorf("stride %v, padding %v, dilation %v, groups %d: none may be negative, and only the padding 0", k.Stride, k.Padding, k.Dilation, k.Groups)
	case !k.Stride.within(1, maxWidth) || !k.Dilation.within(1, maxWidth) || !k.Padding.within(0, maxWidth):
		return fmt.Errorf("stride %v, padding %v, dilation %v: at most %d is taken", k.Stride, k.Padding, k.Dilation, maxWidth)
	case k.InChannels%k.Groups != 0 || k.OutChannels%k.Groups != 0:
		return fmt.Errorf("%d to %d channels do not divide into %d groups; choose widths that are multiples of %d", k.InChannels, k.OutChannels, k.Groups, k.Groups)
	case k.Dims != 0 && (k.Dims != 2 || k.KernelSize != Both(1) || k.Groups != 1):
		return fmt.Errorf("dims %d with a kernel of %v in %d groups; leave it out, or give 2 for a kernel of 1 in one group", k.Dims, k.KernelSize, k.Groups)
	}
	return checkInits(k.WeightInit, k.BiasInit)
}

// Params implements Kind.
func (k Conv2d) Params() []Param {
	each := k.InChannels / k.Groups
	kh, kw := k.KernelSize[0], k.KernelSize[1]
	weight, bias := starts(k.WeightInit, k.BiasInit, each*kh*kw, k.OutChannels*kh*kw)
	w := param("weight", OIHW, weight, kh, kw, each, k.OutChannels)
	if k.Dims == 2 {
		w.Layout = OI
	}
	if !k.Bias {
		return []Param{w}
	}
	return []Param{w, param("bias", Same, bias, k.OutChannels)}
}

// Build implements Kind.
func (k Conv2d) Build(c *Call) *engine.Value {
	in := []*engine.Value{c.In[0], c.Param("weight")}
	if k.Bias {
		in = append(in, c.Param("bias"))
	}
	return c.One(engine.Conv2D{Stride: engine.Pair(k.Stride), Pad: engine.Pads(k.Padding), Dilation: engine.Pair(k.Dilation), Groups: k.Groups}, in...)
}

// depthwise reports whether each group has one input channel.
func (k Conv2d) depthwise() bool { return k.Groups == k.InChannels && k.Groups > 1 }

// Tie implements Kind. A dense convolution makes new channels. In a depthwise
// one the outputs of input channel i, which are O/I channels in a row, are one
// with it. In a grouped one the channels that have the same number within their
// groups are one, on either side, so that all groups stay equally wide.
func (k Conv2d) Tie(t *Ties) {
	x := t.Input(0)
	y := t.New(k.OutChannels)
	each, outs := k.InChannels/k.Groups, k.OutChannels/k.Groups
	switch {
	case k.depthwise():
		for i := range y {
			t.Unite(x[i/outs:i/outs+1], y[i:i+1])
		}
	case k.Groups > 1:
		for g := 1; g < k.Groups; g++ {
			t.Unite(x[:each], x[g*each:(g+1)*each])
			t.Unite(y[:outs], y[g*outs:(g+1)*outs])
		}
	}
	t.Axis("weight", 0, y)
	if !k.depthwise() {
		t.Axis("weight", 1, x[:each])
	}
	if k.Bias {
		t.Axis("bias", 0, y)
	}
	t.Output(y)
}

// Keep implements Kind.
func (k Conv2d) Keep(in [][]int, out []int) (Kind, error) {
	depthwise := k.depthwise()
	k.InChannels, k.OutChannels = count(k.InChannels, in[0]), count(k.OutChannels, out)
	if depthwise {
		k.Groups = k.InChannels
	}
	return k, nil
}

// sized implements sizer.
func (k Conv2d) sized(in []engine.Spec, out int) Kind {
	k.InChannels = fill(k.InChannels, in)
	if k.OutChannels == 0 {
		k.OutChannels = out
	}
	return k
}
