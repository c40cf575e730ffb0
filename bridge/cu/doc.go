// Package door passes contexts, streams and device memory between a program that
// drives an NVIDIA card by gorgonia.org/cu and Potstill's backend for it, engine/gpu:
// one's tensor is the other's memory, and nothing is copied.
//
// # Theirs for ours
//
// A program that has a context, a stream and memory of its own has a backend work
// in them:
//
//	ctx := cu.NewContext(device, cu.SchedAuto)
//	stream, err := ctx.MakeStream(cu.NonBlocking)
//	x, err := ctx.MemAlloc(4 * n)
//	…
//	b, err := door.Backend(ctx.CUDAContext(), stream, gpu.Options{})
//	buf, err := door.Buffer(b, x, 4*n)
//
// b is an engine.Backend like any other. buf holds the tensor of a kernel
// (engine.Tensor{Spec: engine.F32(n), Buf: buf}), or a variable of programs:
//
//	v := &engine.Variable{Name: "x", Spec: engine.F32(n)}
//	store := engine.NewStore(b)
//	err = store.Adopt(v, buf)  // v's values are what lies at x
//	…                          // graph, Compile
//	ctx.MemcpyHtoD(x, …)
//	store.Changed(v)           // somebody else wrote there
//	err = program.Run(context.Background(), nil)
//
// What the backend computes is read where it lies: Address gives the place of any
// tensor of the backend as a cu.DevicePtr; Store.Tensor finds a variable's tensor.
//
// # Ours for theirs
//
// A program that starts with gpu.New goes the other way:
//
//	b, err := gpu.New(gpu.Options{})
//	err = cu.SetCurrentContext(door.Context(b.Context()))  // on a locked thread
//	err = cu.MemsetD8Async(p, 0, n, door.Stream(b.Stream()))
//
// AdoptContext and AdoptStream are the same one level down, for package cuda.
//
// # Who owns what
//
// Who made a thing destroys it. Closing a backend, a buffer, a context or a stream
// of ours leaves what was adopted as it is; closing the backend first waits for the
// context's work. The program destroys its streams, its memory and its context
// after that: first b.Close(), then ctx.MemFree, ctx.DestroyStream, ctx.Close. A
// *cu.Ctx destroys its context when the garbage collector finds it, so hold on to
// it until the backend is closed (runtime.KeepAlive(ctx) behind b.Close()). Handles
// of ours are good until the backend is closed.
//
// # What is done in which order
//
// In one stream, all is done in the order in which it was enqueued, by either side.
// Between streams nothing is, nor between the default stream, in which cu's copies
// without Async are done, and a cu.NonBlocking one: wait for such a copy's stream
// (cu.Stream.Synchronize), or record a cu.Event in one and wait for it in the
// other (door.Stream makes ours one of cu's). A BatchedContext keeps calls back:
// have it do its work first.
//
// While a program is compiled or first run, the backend captures its stream: nobody
// else may enqueue there then. The default stream (cu.NoStream) cannot be captured,
// so it stands for none: the backend makes a stream of its own. Take cu.NonBlocking
// streams: use of the default stream would break the capture of another one.
//
// # Threads
//
// A context of cu's is current on a thread; ours is made so by every call, on
// whatever thread that runs, and stays. A goroutine that is locked to a thread and
// uses another context there by cu's functions makes that current again
// (cu.SetCurrentContext) after a call of ours; the methods of cu.Ctx are not
// concerned, since they run on a thread of their own.
//
// # To build it
//
// This is a module of its own because gorgonia.org/cu needs cuda.h and -lcuda where
// it is compiled, and ends the process at its start where there is no card. Potstill
// itself needs neither. cu v0.9.6 compiles with the headers of CUDA 12; CUDA 13 has
// changed functions that it calls. It looks in /usr/local/cuda, and elsewhere if told:
//
//	CGO_CFLAGS="-I/path/to/cuda-12/include" CGO_LDFLAGS="-L/path/to/folder/of/libcuda.so" go build
//
// Both sides must talk to one libcuda, the one that the program is linked with:
// AdoptContext and Backend refuse another, which Options.Search or POTSTILL_CUDA_PATH
// may have led to. scripts/cu_door.sh compiles and tests this module without CUDA.
package door
