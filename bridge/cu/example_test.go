package door_test

import (
	"context"
	"errors"
	"fmt"
	"log"
	"os"
	"unsafe"

	door "github.com/potstill/potstill/bridge/cu"
	"github.com/potstill/potstill/engine"
	"github.com/potstill/potstill/engine/gpu"

	"gorgonia.org/cu"
)

// A program with a context, a stream and numbers on the card has Potstill double
// them, and reads the result where it lies.
func Example() {
	if err := double(); err != nil {
		log.Fatal(err)
	}
	// Output: [2 4 6]
}

func double() (err error) {
	ctx := cu.NewContext(0, cu.SchedAuto)
	defer func() { err = errors.Join(err, ctx.Close()) }() // which also keeps ctx from the garbage collector
	stream, err := ctx.MakeStream(cu.NonBlocking)
	if err != nil {
		return err
	}
	numbers := []float32{1, 2, 3}
	x, err := ctx.MemAlloc(12)
	if err != nil {
		return err
	}
	ctx.MemcpyHtoD(x, unsafe.Pointer(&numbers[0]), 12)
	ctx.Synchronize()

	cache, err := os.MkdirTemp("", "kernels") // or leave CacheDir empty: the user's cache folder
	if err != nil {
		return err
	}
	defer os.RemoveAll(cache)
	b, err := door.Backend(ctx.CUDAContext(), stream, gpu.Options{CacheDir: cache})
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, b.Close()) }() // closes what follows too, before ctx
	buf, err := door.Buffer(b, x, 12)
	if err != nil {
		return err
	}
	v := &engine.Variable{Name: "x", Spec: engine.F32(3)}
	twice := &engine.Variable{Name: "2x", Spec: v.Spec}
	store := engine.NewStore(b)
	if err := store.Adopt(v, buf); err != nil {
		return err
	}
	g := engine.NewGraph()
	bu := engine.NewBuilder(g)
	sum := bu.Apply(engine.Accumulate{K: 1, Weight: 2}, bu.One(engine.Fill{Value: 0}), bu.Variable(v), bu.Variable(twice))[0]
	p, err := g.Compile(b, engine.Options{Store: store, Outputs: []*engine.Value{sum}})
	if err != nil {
		return err
	}
	if err := p.Run(context.Background(), nil); err != nil {
		return err
	}

	t, err := store.Tensor(twice)
	if err != nil {
		return err
	}
	at, err := door.Address(b, t)
	if err != nil {
		return err
	}
	ctx.SynchronizeStream(stream)
	ctx.MemcpyDtoH(unsafe.Pointer(&numbers[0]), at, 12)
	fmt.Println(numbers)
	return errors.Join(ctx.Error(), p.Close(), store.Close())
}
