// Package bridge joins Gorgonia (gorgonia.org/gorgonia v0.9.18) and Potstill.
// It is a module of its own, so that Potstill does not depend on Gorgonia:
//
//	import bridge "github.com/potstill/potstill/bridge/gorgonia"
//
// There are two ways to use it.
//
// # A Gorgonia graph on Potstill's backends
//
// Compile turns the graph of a convolutional net into a program for the CPU,
// or with Options.Backend for any backend of package engine. The program takes
// the place of Gorgonia's machine; everything else of a Gorgonia program stays:
//
//	g := gorgonia.NewGraph()
//	x := gorgonia.NewTensor(g, tensor.Float32, 4, gorgonia.WithShape(64, 3, 28, 28), gorgonia.WithName("x"))
//	...                                      // Conv2d, BatchNorm, Rectify, MaxPool2D, Mul, LogSoftMax
//	gorgonia.Grad(loss, params...)           // or Options.Loss and WithRespectTo
//	p, err := bridge.Compile(g, loss)        // instead of gorgonia.NewTapeMachine
//	defer p.Close()
//	for ... {
//		gorgonia.Let(x, batch)
//		err = p.Run(ctx)                     // instead of Reset and RunAll
//		solver.Step(gorgonia.NodesToValueGrads(params))
//	}
//
// The loss is then loss.Value(), and the gradients are those of Node.Grad.
// Two things differ from a machine: a run overwrites the gradients where a
// machine adds to what is there, and only outputs get a value.
//
// What is translated, float32 throughout:
//
//   - Conv2d, Conv1d, and a bias of one value a channel that is added with
//     BroadcastAdd;
//   - BatchNorm of images, in training and inference, with scale and shift
//     [1,C,1,1]. The running statistics are those of its *BatchNormOp, which
//     must be Reset before the first step (NewTapeMachine does that, too);
//   - Rectify, MaxPool2D, GlobalAveragePool2D, Mean and Sum over the axes 2 and 3
//     of an image, Dropout in inference;
//   - Mul of matrices, with the second transposed or not, and a bias [1,O];
//   - Add, Sub, Neg, products with constants, quotients by constants, a factor
//     or summand of one value a channel;
//   - Reshape of an image to rows, and of rows to an image;
//   - the cross-entropy, however Sum, Mean, Neg and constant factors are put
//     around Log(SoftMax(z)) or LogSoftMax(z) times a target [N,K], and sums of
//     such losses;
//   - SoftMax and LogSoftMax of rows as an output;
//   - this package's own operators.
//
// Everything else is refused with an UnsupportedError that names the node and
// says why. Nothing falls back to Gorgonia.
//
// Images are NCHW and filters OIHW in Gorgonia and NHWC and HWIO in the engine.
// Values are transposed on the way in and out: data at every run, parameters
// (filters, matrices, scales, biases) when they have changed, outputs and
// gradients at every run. What lies between never has Gorgonia's layout.
//
// # Gradients
//
// The forward graph is translated, and its gradient is the engine's own; the
// derivative nodes that gorgonia.Grad has made say only what is asked for. It
// is the same gradient but for the corner of Rectify: at exactly zero the
// slope is 0 here, as in PyTorch, and 1 in Gorgonia. With Options.Loss and
// WithRespectTo Grad need not be called at all, which also has gradients of
// operators that have none in Gorgonia, as GlobalAveragePool2D. The derivative
// of a node between may be an output too, unless the engine computes that node
// inside another operator; that is said.
//
// A graph on which gorgonia.Grad was called for two losses is refused: the
// second call returns the first's gradients.
//
// # Identity
//
// Gorgonia keeps one node of each kind: it looks for a node of the same 32-bit
// hash, and takes the two for one if the hash codes of their operators, their
// types, their shapes and the number of their inputs agree. It does not
// compare the inputs, and several hash codes leave settings out. Nodes so
// merge that are not the same, silently:
//
//   - two inputs with one name, type and shape, two without a name for example;
//   - SoftMax(x) and LogSoftMax(x);
//   - two BatchNorms of one input whose momentum and epsilon agree to one digit
//     behind the point (1e-5 and 1e-2 do);
//   - two strided convolutions of one input that differ in dilation;
//   - two constants with one name, and large constant tensors whose printed
//     form, which is shortened, agrees;
//   - by chance, what is built on two inputs whose names have one hash.
//
// This package identifies nodes by their pointers, reads their inputs from the
// nodes themselves, and holds each node that it translates to its operator: the
// number of its inputs, the shape that follows from theirs, its element type.
// Verify, which Compile calls, looks for the traces of a merge. What it cannot
// see: gorgonia.Grad forgets how often a node was asked for, so that SoftMax
// and LogSoftMax of one input, for example, can be told only before Grad is
// called. So call Verify before Grad, or use Options.Loss instead of Grad.
//
// Log(SoftMax(x)), by the way, makes the node of SoftMax(x) itself a LogSoftMax
// and returns it. Compile sees the graph as it is then, as a machine does.
//
// # Potstill's operators in Gorgonia's graphs
//
// Kernels makes operators that Gorgonia does not have, or not correctly:
// Conv2d with groups, DepthwiseConv2d, BatchNorm2d and ReLU6. They have
// symbolic derivatives, run on Gorgonia's machines with Potstill's kernels, and
// each has an identity of its own, so that none is ever taken for another.
//
// # Gorgonia's faults met on the way
//
// The tests use Gorgonia as an independent oracle. Where it is wrong they say
// so and compare with the engine's definition, package engine/ref:
//
//   - BatchNorm's gradient of x in inference uses the last training batch's
//     variance, not the running one;
//   - BatchNorm without scale and shift makes them as large as x;
//   - Sum and Mean over two axes at once of a tensor of rank 4 are wrong; the
//     bridge translates what is meant;
//   - AveragePool2D divides by the input's width, and AveragePool1D is a
//     maximum; both are refused or translated as what they are;
//   - a second Grad is wrong, and panics if there is a softmax;
//   - the value of a node that is not an input may be overwritten by what is
//     computed from it: on a machine, use gorgonia.Read.
package bridge
