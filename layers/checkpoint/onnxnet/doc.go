// Package onnxnet makes nets of ONNX's graphs: layers.Net with a state, which
// can be trained, distilled, pruned, quantized and exported as any other.
//
//	Import(m *onnxread.Model, o Options) (*Result, error)
//
// # How
//
// Nodes whose inputs are constant are folded. Patterns that stand for one
// operator (SiLU as Sigmoid and Mul, GELU as five nodes, a normalization written
// out) are found. Then the nodes are translated one by one, for images of a
// size, each to the modules that it is.
//
// A tensor of ONNX that depends on the image is the output of a module and a
// list of axes (see act): an axis is a list of parts of the batch, the channels,
// the height and the width. So Transpose, Reshape, Flatten and their like are
// changes of a list; what they are for shows where a module reads the result: a
// channel shuffle where the parts of the channels have changed places, PyTorch's
// Flatten with the rows of a matrix in another order where an image of
// TensorFlow's layout is flattened, and nothing where two transposes cancel.
//
// Last, scales and shifts are joined with what is before them, pads with the
// convolution behind them, global pools with what flattens them.
//
// # Sizes
//
// The batch is open always. A net takes images of any size if the translation is
// the same for two sizes; else those of the file, or of Options.
//
// # Integers
//
// Codes are the numbers that they stand for: QuantizeLinear becomes a quantizer, the
// codes of weights are kept, and products of codes (QLinearConv, QLinearMatMul, and
// ConvInteger and MatMulInteger with their scales behind them) are those of numbers.
// Ranges that DynamicQuantizeLinear finds for each batch are left out: what reads them
// is computed in float32, with the weights that the codes stand for.
//
// # What is not taken
//
// What a CNN classifier cannot hold is refused in one line that names the node
// and its operator: products of two tensors that both depend on the image
// (attention), crops and resizes of the image, loops and conditions. There is no engine for tensors of any rank behind this.
package onnxnet
