// Package onnx writes a checkpoint as an ONNX file (onnx.ai) that other
// runtimes run: opset 17, IR version 8, which ONNX Runtime takes from 1.12 on.
//
//	Write(path string, c *checkpoint.Checkpoint, o Options) (bytes int64, err error)
//	Encode(w io.Writer, c *checkpoint.Checkpoint, o Options) error
//
// The net's own inference graph is translated operator by operator, so that
// whatever is composed of package layers can be written. The file has one
// input, "images", float32 [N,C,H,W] with any N, and one output, "logits",
// float32 [N,classes]. An image is put in as a potstill net sees it: resized,
// cropped, divided by 255, and normalized where the checkpoint has means and
// deviations; the file's metadata say how (see below).
//
// # Names
//
// Nodes and the tensors between them are named as PyTorch names the modules:
// "cnn.1.3" is the output of module cnn.1.3; a module's further uses end in
// "_1", "_2". Weights have their names in the state_dict. A BatchNorm is folded
// into the convolution before it, in float64,
//
//	w' = w·γ/√(v+ε)    b' = (b-m)·γ/√(v+ε) + β
//
// unless Options.KeepBatchNorm keeps its node and tensors.
//
// # Eight bits
//
// There are two forms.
//
// QDQ writes the codes of a net with quantizers (layers.Fake): weights in int8 with
// z = 0, biases in int32 on the scale of the products, and every activation that has a
// quantizer through QuantizeLinear and DequantizeLinear. Pools, slices and shuffles of
// codes have a pair behind them too, so that ONNX Runtime computes in integers
// throughout; a mean over the picture has one before it is flattened. The first
// convolution may be written in whole numbers: see stem. The logits are float32, and the
// integers those of layers.Integers.
//
// On x86 processors that have AVX2 or AVX-512 but no VNNI, ONNX Runtime adds pairs
// of products in saturating 16 bits by default; its session option
// session.x64quantprecision = "1" prefers accuracy.
//
// Weights8 keeps the codes of a file with weights alone in 8 bits, to the bit, as uint8.
// ONNX decodes w = s·(q-z) with an integer z, the zero point; these codes have a real one,
// w = s·q + lo (package affine), so that Cast, Mul and Add decode them. A model
// that is not stored in 8 bits gets the codes of the scheme "affine8-channel". A folded
// BatchNorm scales s and lo alone; where its factor is negative the codes are
// complemented. Activations are float32, the logits those of the decoded model, and
// nothing needs calibration. ONNX Runtime decodes once, when it loads the file:
// constants are folded, which it would not do behind a DequantizeLinear.
//
// # Metadata
//
// The entries of metadata_props, JSON but for producer: "producer" (potstill and
// its version), "architecture" (layers.Arch), "classes" (names in the order of
// the logits; absent if the checkpoint has none), "preprocessing" (size, and
// where they apply resize, mean, std: see checkpoint.Preprocess), "quantisation"
// (of the checkpoint; absent for float32) and "history" (checkpoint.Event).
//
// The format is that of onnx.proto3, encoded here field by field.
package onnx
