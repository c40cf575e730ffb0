//go:build !cgo

package cpu

import (
	"runtime"
	"sync"
	"sync/atomic"
	"unsafe"

	"github.com/potstill/potstill/engine"
	"github.com/potstill/potstill/engine/half"
)

// compiled says whether there are kernels in C.
const compiled = false

// Variants returns the instruction sets of this build: without cgo there is
// plain Go alone.
func Variants() []string { return []string{"go"} }

// EmulatedVariants returns nil: plain Go emulates nothing.
func EmulatedVariants() []string { return nil }

// A library is a team of goroutines that runs command lists.
type library struct {
	workers int
	start   chan *job // one send wakes one worker
	job     job       // the command being run
}

// A job is one command being run.
type job struct {
	kernel func(args ptr, task int64)
	args   ptr
	tasks  int64
	next   atomic.Int64
	done   sync.WaitGroup
}

// work runs tasks until there are none left.
func (j *job) work() {
	for t := j.next.Add(1) - 1; t < j.tasks; t = j.next.Add(1) - 1 {
		j.kernel(j.args, t)
	}
}

func openLibrary(_ string, threads int) (*library, error) {
	l := &library{workers: threads - 1, start: make(chan *job)}
	for range l.workers {
		go func() {
			for j := range l.start {
				j.work()
				j.done.Done()
			}
		}()
	}
	return l, nil
}

// run runs the commands in order, the tasks of each on all workers.
func (l *library) run(commands []command) {
	j := &l.job
	for _, c := range commands {
		j.kernel, j.args, j.tasks = kernels[c.kernel], c.args, c.tasks
		j.next.Store(0)
		helpers := int(min(int64(l.workers), c.tasks-1))
		j.done.Add(helpers)
		for range helpers {
			l.start <- j
		}
		j.work()
		j.done.Wait()
	}
	j.kernel, j.args = nil, nil // which would keep the memory of a closed program alive
	runtime.KeepAlive(commands)
}

func (l *library) close() { close(l.start) }

// allocate returns memory of the Go heap, aligned to a cache line. The pointer
// keeps it alive.
func allocate(bytes int) (p unsafe.Pointer, err error) {
	defer func() {
		if recover() != nil { // make refuses a length that no machine has
			err = engine.ErrOutOfMemory
		}
	}()
	const limit = 1 << 36 // beyond it the runtime may kill the process instead of refusing
	if bytes > limit {
		return nil, engine.ErrOutOfMemory
	}
	b := make([]byte, bytes+64)
	off := -int(uintptr(unsafe.Pointer(&b[0]))) & 63
	return unsafe.Pointer(&b[off]), nil
}

func release(unsafe.Pointer) {}

// An arena is nothing here: what keep returns is kept by whoever points at it.
type arena struct{}

// keep copies values to the heap, typed, so that the pointers in them are seen.
func keep[T any](_ *arena, values []T) unsafe.Pointer {
	if len(values) == 0 {
		return nil
	}
	kept := append([]T(nil), values...)
	return unsafe.Pointer(&kept[0])
}

func (a *arena) reset() {}
func (a *arena) free()  {}

// kernels is the table of kernels, in the order of kernelID, and behind them those
// for bfloat16. What each does is said beside its twin in C.
var kernels = [2 * kernelCount]func(args ptr, task int64){
	widen[float32], narrow[float32], fill, add, act, actBackward, maxPool, maxPoolBackward, avgPool, avgPoolBackward,
	globalPool, globalPoolBackward, transpose, dropout, strip, channelShuffle,
	pad2d, pad2dBackward, localResponse, localResponseBackward,
	stochasticDepth, pointwise, channelwise, channelwiseBackward, channelwiseTotal, rowwise, fakeQuant, fakeQuantBackward, softmax, softmaxBackward,
	mse, mseTotal, mseBackward,
	crossEntropy, crossEntropyBackward, klDiv, klDivBackward, bnStats, bnFinish, bnApply, bnGrad, bnGradFinish,
	bnGradApply, bnFold, bnApply, bnGrad, bnGradApply, layerNorm, layerNormBackward, normTotal, groupNormStats, groupNormFinish,
	groupNorm, groupNormGrad, groupNormCoef, groupNormBackward, pack[float32], padImage[float32], igemm[float32], wgrad[float32], reduce,
	nil, nil, nil, nil, nil, nil, nil, nil, nil, // no rgb and no wino: see compiled
	depthwise, depthwiseData, depthwiseWeight, adam, sgd, mixSpans, sumSq, clip,
	nil, // no chain: see compiled
	quantize, dequantize, lookup, qadd, qmul, qconcat, qflatten, qmaxPool, qavgPool,
	nil, // no qpack: see compiled
	qconv,
	nil, // nor qdepthwise_pack
	qdepthwise,

	kernelCount + kWiden:  widen[half.BFloat16],
	kernelCount + kNarrow: narrow[half.BFloat16],
	kernelCount + kPack:   pack[half.BFloat16],
	kernelCount + kPad:    padImage[half.BFloat16],
	kernelCount + kIGemm:  igemm[half.BFloat16],
	kernelCount + kWGrad:  wgrad[half.BFloat16],
}

// i64 is the array of n integers at p.
func i64(p ptr, n int64) []int64 {
	if p == nil {
		return nil
	}
	return unsafe.Slice((*int64)(p), n)
}

// axpy adds a·x to y.
func axpy(a float32, x, y []float32) {
	y = y[:len(x)]
	for i, v := range x {
		y[i] += a * v
	}
}
