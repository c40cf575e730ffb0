package onnx

// Options say what is written. The zero value writes float32 weights with
// BatchNorm folded.
type Options struct {
	// KeepBatchNorm keeps BatchNormalization nodes instead of folding them into
	// the convolutions before them.
	KeepBatchNorm bool
	// Int8 says what is written in 8 bits.
	Int8 Int8
	// Size is the height and width of the images. 0 means the checkpoint's own,
	// and where it has none, 224.
	Size int
	// Version is potstill's version, for the file's producer. It may be empty.
	Version string
}

// Int8 is what a file holds in 8 bits.
type Int8 uint8

// The choices.
const (
	NoInt8   Int8 = iota // nothing: float32 weights
	QDQ                  // weights and activations, by the net's quantizers (layers.Fake), for integer kernels
	Weights8             // weights only, by the checkpoint's own codes
)
