// Package gpu is the backend for NVIDIA's graphics processors, over package
// cuda: the libraries are opened at run time, so that a program with this
// backend in it builds and starts on any machine; New says what is missing.
//
// Every operator has kernels of ours, CUDA C sources in cuda/kernels that NVRTC
// compiles for the card at first use and that are kept on disk. Convolutions
// and matrix products may also be run by cuDNN and cuBLASLt: where there are
// several implementations of an operator on given shapes, Compile times them,
// takes the fastest and remembers the times on disk (see Backend.Choices).
//
// All kernels go into one stream, in the order in which they are enqueued;
// inputs are uploaded in a second one beside them. A program's steps are captured
// once as one CUDA graph and replayed.
//
// Results do not depend on how threads happen to run: our kernels reduce in a
// fixed order, and with Options.Deterministic so does every other
// implementation that is chosen. They do depend on which implementation ran.
//
// Activations may be bfloat16 (engine.MixedPrecision). The arithmetic is that of
// float32 then too, but for weights, which products round to bfloat16.
package gpu
