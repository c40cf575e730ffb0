package gpu

import (
	"fmt"

	"github.com/potstill/potstill/cuda"
	"github.com/potstill/potstill/engine"
)

// What check.cu defines: tensors of a launch, and vectors of a thread.
const (
	checkTensors = 250
	checkDepth   = 4
)

// checkArgs are the arguments of check.cu, field for field.
type checkArgs struct {
	x        [checkTensors]cuda.Ptr
	bad      cuda.Ptr
	n, first [checkTensors]int32
	count    int32
}

// AllFinite reports whether no element of the tensors is infinite or not a
// number. It reads float32 and bfloat16 tensors, in one launch of each type for
// up to 250 tensors; other types have nothing to find. It waits for the end of
// all that was enqueued before.
func (b *Backend) AllFinite(tensors ...engine.Tensor) (bool, error) {
	ok, err := b.allFinite(tensors)
	if err != nil {
		return false, fmt.Errorf("looking for numbers that are not finite: %w", err)
	}
	return ok, nil
}

// allFinite keeps the word that the kernel sets for the next time: to free
// memory is to wait for the device.
func (b *Backend) allFinite(tensors []engine.Tensor) (bool, error) {
	if err := b.usable(); err != nil {
		return false, err
	}
	if b.capturing {
		return false, errRecording
	}
	if b.flag == 0 {
		p, err := b.ctx.Alloc(4)
		if err != nil {
			return false, b.wrap(err)
		}
		b.flag = p
	}
	if err := b.stream.Fill(b.flag, 0, 4); err != nil {
		return false, b.wrap(err)
	}
	for _, t := range []engine.DType{engine.Float32, engine.BFloat16} {
		if err := b.checkFinite(t, tensors); err != nil {
			return false, err
		}
	}
	var word [4]byte
	if err := b.stream.Read(word[:], b.flag); err != nil {
		return false, b.wrap(err)
	}
	return word[0] == 0, nil
}

// checkFinite sets the word at b.flag if one of the tensors of type t has an
// element that is not finite.
func (b *Backend) checkFinite(t engine.DType, tensors []engine.Tensor) error {
	var specs []engine.Spec
	var at []cuda.Ptr
	for i, x := range tensors {
		if x.DType != t {
			continue
		}
		p, err := b.address(x, x.Bytes())
		if err != nil {
			return fmt.Errorf("tensor %d: %w", i, err)
		}
		specs, at = append(specs, x.Spec), append(at, p)
	}
	if len(specs) == 0 {
		return nil
	}
	f, err := b.function("check", "all_finite", stored(specs[0])...)
	if err != nil {
		return err
	}
	var args []checkArgs
	stretch := optimizerThreads * checkDepth * vector(specs[0])
	gs, err := groups(specs, checkTensors, stretch, func(g, i int, first, n int32) {
		if g == len(args) {
			args = append(args, checkArgs{bad: b.flag})
		}
		a := &args[g]
		a.first[i], a.n[i], a.count = first, n, int32(i+1)
	})
	if err != nil {
		return err
	}
	for k, g := range gs {
		copy(args[k].x[:], at[g.from:g.to])
		err := launch(b, f, [3]int{g.blocks, 1, 1}, [3]int{optimizerThreads, 1, 1}, 0, &args[k])
		if err != nil {
			return b.wrap(err)
		}
	}
	return nil
}
