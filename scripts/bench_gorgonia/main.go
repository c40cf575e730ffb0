// Command bench_gorgonia times Gorgonia's own operators on the first block of
// the study, forward and backward, for scripts/bench_cpu.sh. It is a module of
// its own, so that Potstill does not depend on Gorgonia.
//
// The block is Conv2d 3×3 (3 to 16 channels, with a bias), BatchNorm, MaxPool2D
// 2×2 and the mean over the image, under a cross-entropy; weights and images are
// those of the file that `potstill bench step block_train_64 --save FILE`
// writes. One line of JSON: "ms", the median time of a step, and "check", the
// first loss.
//
//	bench_gorgonia FILE DURATION
package main

import (
	"encoding/json"
	"fmt"
	"os"
	"slices"
	"time"

	"github.com/potstill/potstill/layers/checkpoint/safetensors"
	_ "go4.org/unsafe/assume-no-moving-gc" // a version that lets Gorgonia start under this Go
	G "gorgonia.org/gorgonia"
	"gorgonia.org/tensor"
)

func main() {
	if err := run(os.Args[1:]); err != nil {
		fmt.Fprintln(os.Stderr, "bench_gorgonia:", err)
		os.Exit(1)
	}
}

func run(args []string) error {
	if len(args) != 2 {
		return fmt.Errorf("want FILE DURATION, got %d arguments", len(args))
	}
	atLeast, err := time.ParseDuration(args[1])
	if err != nil {
		return err
	}
	file, err := safetensors.Read(args[0])
	if err != nil {
		return err
	}
	b, err := newBlock(file)
	if err != nil {
		return err
	}
	defer b.vm.Close()
	if err := b.step(); err != nil {
		return err
	}
	check := b.loss.Value().Data()
	var times []time.Duration
	for begin := time.Now(); len(times) < 3 || time.Since(begin) < atLeast; {
		t := time.Now()
		if err := b.step(); err != nil {
			return err
		}
		times = append(times, time.Since(t))
	}
	slices.Sort(times)
	ms := float64(times[len(times)/2]) / float64(time.Millisecond)
	return json.NewEncoder(os.Stdout).Encode(map[string]any{"ms": ms, "check": []any{check}})
}

// A block is the net with its gradient on Gorgonia's tape machine.
type block struct {
	vm   G.VM
	loss *G.Node
}

// step runs forward and backward once.
func (b *block) step() error {
	b.vm.Reset()
	return b.vm.RunAll()
}

// newBlock builds the graph from the file's tensors.
func newBlock(file *safetensors.File) (*block, error) {
	g := G.NewGraph()
	var failed error
	node := func(name string, shape ...int) *G.Node {
		t, ok := file.Lookup(name)
		if !ok {
			failed = fmt.Errorf("there is no tensor %s in the file; write it with potstill bench step block_train_64 --save", name)
			return nil
		}
		v, err := safetensors.Float32s(t)
		if err != nil {
			failed = err
			return nil
		}
		if shape == nil {
			shape = t.Shape
		}
		value := tensor.New(tensor.WithShape(shape...), tensor.WithBacking(v))
		return G.NewTensor(g, tensor.Float32, len(shape), G.WithShape(shape...), G.WithName(name), G.WithValue(value))
	}
	x, w := node("image"), node("net.conv.weight")
	if failed != nil {
		return nil, failed
	}
	n, k := x.Shape()[0], w.Shape()[0]
	bias, scale, shift := node("net.conv.bias", 1, k, 1, 1), node("net.bn.weight", 1, k, 1, 1), node("net.bn.bias", 1, k, 1, 1)
	if failed != nil {
		return nil, failed
	}
	target, err := oneHot(file, n, k)
	if err != nil {
		return nil, err
	}
	y := G.NewMatrix(g, tensor.Float32, G.WithShape(n, k), G.WithName("target"), G.WithValue(target))
	loss, err := lossOf(x, w, bias, scale, shift, y)
	if err != nil {
		return nil, err
	}
	params := G.Nodes{w, bias, scale, shift}
	if _, err := G.Grad(loss, params...); err != nil {
		return nil, err
	}
	return &block{vm: G.NewTapeMachine(g, G.BindDualValues(params...)), loss: loss}, nil
}

// oneHot returns the targets [n,k] of the file's classes.
func oneHot(file *safetensors.File, n, k int) (*tensor.Dense, error) {
	t, ok := file.Lookup("target")
	if !ok {
		return nil, fmt.Errorf("there is no target in the file")
	}
	classes, err := safetensors.Int64s(t)
	if err != nil {
		return nil, err
	}
	hot := make([]float32, n*k)
	for i, c := range classes {
		hot[i*k+int(c)] = 1
	}
	return tensor.New(tensor.WithShape(n, k), tensor.WithBacking(hot)), nil
}

// lossOf builds the block and its cross-entropy.
func lossOf(x, w, bias, scale, shift, y *G.Node) (*G.Node, error) {
	h, err := G.Conv2d(x, w, tensor.Shape{3, 3}, []int{1, 1}, []int{1, 1}, []int{1, 1})
	if err != nil {
		return nil, fmt.Errorf("conv2d: %w", err)
	}
	if h, err = G.Auto(G.BroadcastAdd, h, bias); err != nil {
		return nil, fmt.Errorf("bias: %w", err)
	}
	if h, _, _, _, err = G.BatchNorm(h, scale, shift, 0.1, 1e-5); err != nil {
		return nil, fmt.Errorf("batchnorm: %w", err)
	}
	if h, err = G.MaxPool2D(h, tensor.Shape{2, 2}, []int{0, 0}, []int{2, 2}); err != nil {
		return nil, fmt.Errorf("maxpool: %w", err)
	}
	s := h.Shape()
	if h, err = G.Reshape(h, tensor.Shape{s[0], s[1], s[2] * s[3]}); err != nil {
		return nil, err
	}
	if h, err = G.Mean(h, 2); err != nil {
		return nil, fmt.Errorf("mean: %w", err)
	}
	if h, err = G.SoftMax(h); err != nil {
		return nil, fmt.Errorf("softmax: %w", err)
	}
	if h, err = G.Log(h); err != nil {
		return nil, err
	}
	if h, err = G.HadamardProd(h, y); err != nil {
		return nil, err
	}
	if h, err = G.Sum(h); err != nil {
		return nil, err
	}
	return G.Mul(h, G.NewConstant(-1/float32(s[0])))
}
