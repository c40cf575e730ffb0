package layers

import (
	"errors"
	"fmt"
	"math"

	"github.com/potstill/potstill/engine"
)

func init() {
	Register(MaxPool2d{})
	Register(AvgPool2d{CountIncludePad: true})
	Register(AdaptiveAvgPool2d{})
	Register(AdaptiveMaxPool2d{})
}

// MaxPool2d is PyTorch's nn.MaxPool2d, [N,H,W,C] to [N,OH,OW,C]. A stride of 0
// is the kernel's size, a dilation of 0 is 1.
type MaxPool2d struct {
	unary
	KernelSize Pair `json:"kernel_size"`
	Stride     Pair `json:"stride"`
	Padding    Pads `json:"padding"`
	Dilation   Pair `json:"dilation"`
	CeilMode   bool `json:"ceil_mode"`
}

// MaxPool returns a max pool that is the same along both axes; with stride 0
// windows do not overlap.
func MaxPool(kernel, stride, padding int) MaxPool2d {
	return MaxPool2d{KernelSize: Both(kernel), Stride: Both(stride), Padding: Around(padding)}
}

// Check implements Kind.
func (k MaxPool2d) Check(inputs int) error { return checkWindow(inputs, k.window()) }

// Build implements Kind.
func (k MaxPool2d) Build(c *Call) *engine.Value {
	return c.One(engine.MaxPool2D{Window: k.window()}, c.In[0])
}

// Keep implements Kind.
func (k MaxPool2d) Keep([][]int, []int) (Kind, error) { return k, nil }

func (k MaxPool2d) window() engine.Window {
	return engine.Window{Kernel: engine.Pair(k.KernelSize), Stride: engine.Pair(k.Stride), Dilation: engine.Pair(k.Dilation),
		Pad: engine.Pads(k.Padding), Ceil: k.CeilMode}
}

// AvgPool2d is PyTorch's nn.AvgPool2d, [N,H,W,C] to [N,OH,OW,C]. A stride of 0 is
// the kernel's size. With CountIncludePad, as files have it if they say nothing,
// padding counts in the mean.
type AvgPool2d struct {
	unary
	KernelSize      Pair `json:"kernel_size"`
	Stride          Pair `json:"stride"`
	Padding         Pads `json:"padding"`
	CeilMode        bool `json:"ceil_mode"`
	CountIncludePad bool `json:"count_include_pad"`
}

// AvgPool returns an average pool that is the same along both axes and counts its
// padding; with stride 0 windows do not overlap.
func AvgPool(kernel, stride, padding int) AvgPool2d {
	return AvgPool2d{KernelSize: Both(kernel), Stride: Both(stride), Padding: Around(padding), CountIncludePad: true}
}

// Check implements Kind.
func (k AvgPool2d) Check(inputs int) error { return checkWindow(inputs, k.window()) }

// Build implements Kind.
func (k AvgPool2d) Build(c *Call) *engine.Value {
	return c.One(engine.AvgPool2D{Window: k.window(), ExcludePad: !k.CountIncludePad}, c.In[0])
}

// Keep implements Kind.
func (k AvgPool2d) Keep([][]int, []int) (Kind, error) { return k, nil }

func (k AvgPool2d) window() engine.Window {
	return engine.Window{Kernel: engine.Pair(k.KernelSize), Stride: engine.Pair(k.Stride), Pad: engine.Pads(k.Padding), Ceil: k.CeilMode}
}

func checkWindow(inputs int, w engine.Window) error {
	kernel, stride, padding, dilation := Pair(w.Kernel), Pair(w.Stride), Pads(w.Pad), Pair(w.Dilation)
	switch {
	case inputs != 1:
		return one(inputs)
	case kernel == Pair{}:
		return errors.New("it has no kernel_size; give one, as kernel_size: 2")
	case !kernel.within(1, maxWidth) || !stride.within(0, maxWidth) || !dilation.within(0, maxWidth) || !padding.within(0, math.MaxInt):
		return fmt.Errorf("a window of %v with stride %v, padding %v and dilation %v: the window is from 1 to %d, and none may be negative or more", kernel, stride, padding, dilation, maxWidth)
	}
	for side, p := range padding {
		if axis := side % 2; p > max(dilation[axis], 1)*(kernel[axis]-1) {
			return fmt.Errorf("a window of %v with padding %v: the padding must be less than the window", kernel, padding)
		}
	}
	return nil
}

// checkSize looks at the output size of an adaptive pool.
func checkSize(inputs int, size Pair) error {
	if !size.within(0, maxWidth) {
		return fmt.Errorf("an output_size of %v: give numbers from 1 to %d", size, maxWidth)
	}
	return one(inputs)
}

// adapts returns the output size of an adaptive pool, of which 0 is 1, and, where
// all of its windows are equal and do not overlap, the window.
func adapts(size Pair, x engine.Spec) (to engine.Pair, w engine.Window, equal bool) {
	to = engine.Pair{max(size[0], 1), max(size[1], 1)}
	_, height, width, _, ok := x.NHWC()
	if !ok || height%to[0] != 0 || width%to[1] != 0 {
		return to, w, false
	}
	return to, engine.Window{Kernel: engine.Pair{height / to[0], width / to[1]}}, true
}

// AdaptiveAvgPool2d is PyTorch's nn.AdaptiveAvgPool2d: the means of as many
// windows as the output has pixels, [N,H,W,C] to [N,OH,OW,C] (see engine.Adaptive
// for the windows). An output size of 0 is 1. What has one pixel is [N,C], already
// flat, but [N,1,1,C] with KeepDims.
type AdaptiveAvgPool2d struct {
	unary
	OutputSize Pair `json:"output_size"`
	KeepDims   bool `json:"keep_dims"`
}

// Check implements Kind.
func (k AdaptiveAvgPool2d) Check(inputs int) error { return checkSize(inputs, k.OutputSize) }

// Build implements Kind.
func (k AdaptiveAvgPool2d) Build(c *Call) *engine.Value {
	size, w, equal := adapts(k.OutputSize, c.In[0].Spec)
	switch {
	case size == engine.Both(1):
		return c.One(engine.GlobalAvgPool{KeepDims: k.KeepDims}, c.In[0])
	case equal && w.Kernel == engine.Both(1):
		return c.In[0]
	case equal:
		return c.One(engine.AvgPool2D{Window: w}, c.In[0])
	}
	return c.One(engine.AdaptiveAvgPool2D{Adaptive: engine.Adaptive{Size: size}}, c.In[0])
}

// Keep implements Kind.
func (k AdaptiveAvgPool2d) Keep([][]int, []int) (Kind, error) { return k, nil }

// AdaptiveMaxPool2d is PyTorch's nn.AdaptiveMaxPool2d: AdaptiveAvgPool2d with the
// largest of each window in place of the mean.
type AdaptiveMaxPool2d struct {
	unary
	OutputSize Pair `json:"output_size"`
	KeepDims   bool `json:"keep_dims"`
}

// Check implements Kind.
func (k AdaptiveMaxPool2d) Check(inputs int) error { return checkSize(inputs, k.OutputSize) }

// Build implements Kind.
func (k AdaptiveMaxPool2d) Build(c *Call) *engine.Value {
	size, w, equal := adapts(k.OutputSize, c.In[0].Spec)
	if equal && w.Kernel == engine.Both(1) && size != engine.Both(1) {
		return c.In[0]
	}
	var y *engine.Value
	if equal {
		y = c.One(engine.MaxPool2D{Window: w}, c.In[0])
	} else {
		y = c.One(engine.AdaptiveMaxPool2D{Adaptive: engine.Adaptive{Size: size}}, c.In[0])
	}
	if size == engine.Both(1) && !k.KeepDims {
		return c.One(engine.Flatten{}, y)
	}
	return y
}

// Keep implements Kind.
func (k AdaptiveMaxPool2d) Keep([][]int, []int) (Kind, error) { return k, nil }
