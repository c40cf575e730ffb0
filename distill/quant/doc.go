// Package quant quantizes trained nets. Static gives a net quantizers of weights
// and activations (layers.Fake), with ranges that are found on images, and repairs
// what that costs; docs/quantization.md has the formulas. Quantize stores weights
// alone in fewer bits: the net still computes in float32, with what they decode to,
// and needs no images.
//
//	affine8          8-bit codes, one range a tensor
//	affine8-channel  8-bit codes, one range an output channel; biases and
//	                 BatchNorm's tensors, a few percent of a net, stay in 32 bits
//	float16          IEEE 754 half precision
//
// The codes of a tensor (or channel) that spans [min, max] are
//
//	q = roundHalfEven((w - min)/(max - min)·255),   ŵ = q/255·(max - min) + min
//
// the scheme of Jacob et al., "Quantization and Training of Neural Networks for
// Efficient Integer-Arithmetic-Only Inference" (2018), arXiv:1712.05877, with
// the zero point left real. A weight moves by at most half a step,
// (max - min)/510, and its rounding to float32. Scalars are left as they are. With
// affine8, the published scheme, even the running variances have one range a
// tensor: they may span orders of magnitude, and the small ones are rounded to
// nothing, which is what that scheme loses its accuracy by.
// The arithmetic is that of package affine, the file that of package checkpoint.
package quant
