// Package engine is the core of Potstill: tensors, a static graph of typed
// operators, its gradient, a planner that turns both into a program, and the
// seam behind which a backend (CPU, CUDA) runs that program.
//
// There is one way through it:
//
//	g := engine.NewGraph()
//	b := engine.NewBuilder(g)
//	x := b.Input("image", engine.F32(32, 28, 28, 3))        // NHWC
//	w := b.Variable(weight)                                 // a *Variable, held by a Store
//	y := b.One(engine.Conv2D{Stride: Both(1), Pad: Around(1)}, x, w)
//	...
//	grads, err := engine.Grad(g, loss, []*engine.Value{w})  // once
//	p, err := g.Compile(backend, engine.Options{Store: store, Outputs: ...})
//	err = p.Run(ctx, engine.Bindings{x: engine.Bytes(pixels)}) // allocates nothing
//
// Activations are NHWC (batch, height, width, channels) on every backend and
// convolution weights are HWIO (kernel height, kernel width, input channels of
// one group, output channels), so that the innermost axis is always the one
// that vector units and coalesced loads want. PyTorch's NCHW and OIHW exist at
// the borders only: in files, and in the layers package.
//
// A graph is append-only and its nodes are in a valid execution order by
// construction. The identity of a node or value is its pointer.
package engine
