package gpu

import (
	"errors"
	"fmt"
	"strings"

	"github.com/potstill/potstill/cuda"
	"github.com/potstill/potstill/engine"
)

// openLibraries opens cuBLASLt and cuDNN where they are, in this order: cuDNN
// opens cuBLASLt itself, by its bare name, and where the loader does not know the
// folder that has it, it may end the process. An open library is found by its
// name. What is missing is said once, as a warning: training works without, but
// not as fast.
func (b *Backend) openLibraries() {
	if b.options.NoLibraries {
		return
	}
	var noBLAS, noDNN error
	if b.blas, noBLAS = b.ctx.NewBLAS(); noBLAS != nil {
		b.blas = nil
	}
	if b.dnn, noDNN = b.ctx.NewDNN(b.stream); noDNN != nil {
		b.dnn = nil
	}
	if err := errors.Join(noBLAS, noDNN); err != nil {
		missing := "cuBLASLt and cuDNN are missing"
		switch {
		case noDNN == nil:
			missing = "cuBLASLt is missing"
		case noBLAS == nil:
			missing = "cuDNN is missing"
		}
		b.log.Warn(missing+": convolutions and matrix products run on Potstill's own kernels, which are slower", "device", b.Name(),
			"reason", strings.ReplaceAll(err.Error(), "\n", "; "))
	}
	if b.options.TF32 && (b.dnn != nil || b.blas != nil) {
		b.log.Info("float32 products of cuDNN and cuBLASLt round their operands to TF32", "device", b.Name())
	}
}

// closeLibraries closes what openLibraries has opened.
func (b *Backend) closeLibraries(do func(func() error)) {
	if b.dnn != nil {
		do(b.dnn.Close)
	}
	if b.blas != nil {
		do(b.blas.Close)
	}
}

// workspaceMost is the most scratch memory that a library's algorithm is given:
// 1 GiB, or a quarter of a smaller card.
func (b *Backend) workspaceMost() int { return min(1<<30, b.device.Memory/4) }

// libraryCandidates returns what cuDNN and cuBLASLt have for op. A library that
// does not know the shape is no error.
func (b *Backend) libraryCandidates(op engine.Op, in, out []engine.Spec) []candidate {
	var cs []candidate
	add := func(library string, make func() ([]candidate, error)) {
		more, err := make()
		if err != nil {
			b.log.Debug("a library does not run this", "library", library, "op", engine.OpName(op), "in", texts(in), "reason", err)
		}
		cs = append(cs, more...)
	}
	if p, ok := matmulOf(op, in); ok && b.blas != nil {
		add("cuBLASLt", func() ([]candidate, error) { return b.matmulCandidates(p, in, out) })
	}
	if c, ok := convOf(op, in, out); ok && b.dnn != nil {
		add("cuDNN", func() ([]candidate, error) { return b.convCandidates(c, in, out) })
	}
	return cs
}

// A product is a library's part of an op with what stands round it.
type product struct {
	// weights are what run finds in packed, of the given bytes: weights, and a bias.
	weights []packed
	bytes   int
	// run enqueues the rest.
	ws  int
	run func(in, out []cuda.Ptr, ws, packed cuda.Ptr) error
}

// wsAlign is the alignment of the libraries' scratch memory, beyond that of the
// planner's tensors.
const wsAlign = 256

func aligned(p cuda.Ptr) cuda.Ptr { return (p + wsAlign - 1) &^ (wsAlign - 1) }

// packs appends what is to lie behind all that p packs already, and returns where.
func (p *product) packs(e packed) (at int) {
	if len(p.weights) > 0 {
		p.bytes = roundUp(p.bytes)
	}
	e.at = p.bytes
	p.weights, p.bytes = append(p.weights, e), e.at+e.to.Size()*max(e.rows, 1)*e.cols
	return e.at
}

// lowerLibrary makes a lowering of a product.
func (b *Backend) lowerLibrary(p product) (lowering, error) {
	if len(p.weights) == 0 {
		return lowering{ws: p.ws + wsAlign, enqueue: func(in, out []cuda.Ptr, ws cuda.Ptr) error {
			return p.run(in, out, aligned(ws), 0)
		}}, nil
	}
	once := &preparation{bytes: p.bytes, entries: p.weights,
		enqueue: func(in, out []cuda.Ptr, ws, kept cuda.Ptr) error { return p.run(in, out, aligned(ws), kept) }}
	for _, e := range p.weights {
		if e.input >= 0 {
			once.inputs = append(once.inputs, e.input)
		}
	}
	var err error
	once.prepare, err = b.preparer(p.weights)
	head := roundUp(p.bytes)
	return lowering{ws: head + p.ws + wsAlign, once: once, enqueue: func(in, out []cuda.Ptr, ws cuda.Ptr) error {
		ws = aligned(ws)
		if err := once.prepare(in, ws); err != nil {
			return err
		}
		return p.run(in, out, ws+cuda.Ptr(head), ws)
	}}, err
}

// An epilogue says what is added behind a product, by the places in an op's
// inputs; -1 is nothing.
type epilogue struct {
	bias, residual int
	act            engine.Act
}

// epilogueOf returns that of a convolution.
func epilogueOf(op engine.Conv2D, inputs int) epilogue {
	e := epilogue{bias: -1, residual: -1, act: op.Epilogue.Act}
	if op.Epilogue.Residual {
		inputs--
		e.residual = inputs
	}
	if inputs == 3 {
		e.bias = 2
	}
	return e
}

// finish makes the pass that applies e to a product x, which is y itself or
// float32; it does nothing if there is nothing to do.
func (b *Backend) finish(x engine.DType, y engine.Spec, e epilogue) (func(in []cuda.Ptr, x, y cuda.Ptr) error, error) {
	if x == y.DType && e == nothing {
		return func([]cuda.Ptr, cuda.Ptr, cuda.Ptr) error { return nil }, nil
	}
	f, err := b.finisher(x, y, e.act)
	if err != nil {
		return nil, err
	}
	at := func(in []cuda.Ptr, k int) cuda.Ptr {
		if k < 0 {
			return 0
		}
		return in[k]
	}
	return func(in []cuda.Ptr, x, y cuda.Ptr) error { return f(x, y, at(in, e.bias), at(in, e.residual)) }, nil
}

// nothing is the epilogue that does nothing.
var nothing = epilogue{bias: -1, residual: -1}

// adds reports whether an epilogue adds something.
func (e epilogue) adds() bool { return e.bias >= 0 || e.residual >= 0 }

// sumColumns makes the pass that adds up dy's pixels to the gradient of a bias,
// the op's second output; without one it does nothing.
func (b *Backend) sumColumns(dy engine.Spec, out []engine.Spec) (bytes int, sum func(dy cuda.Ptr, out []cuda.Ptr, ws cuda.Ptr) error, err error) {
	if len(out) < 2 {
		return 0, func(cuda.Ptr, []cuda.Ptr, cuda.Ptr) error { return nil }, nil
	}
	bytes, f, err := b.summer(dy, out[1].Shape[0])
	if err != nil {
		return 0, nil, fmt.Errorf("gradient of the bias: %w", err)
	}
	return bytes, func(dy cuda.Ptr, out []cuda.Ptr, ws cuda.Ptr) error { return f(dy, out[1], ws) }, nil
}
