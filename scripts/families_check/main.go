// Command families_check computes what scripts/families_check.py compares with
// PyTorch. It opens NAME.pth in a folder, as any user does: without being told
// what it is. From the images and the target classes in NAME.safetensors there it
// writes NAME.ours.safetensors with the logits, the loss and the gradients of one
// training step without dropout and stochastic depth, and the tensors that decide
// which piece of an activation and which pixel of a max pool's window it is;
// NAME.onnx, the same net exported; and NAME.json, the moments of each tensor as
// training begins with it.
//
//	families_check DIR NAME
package main

import (
	"context"
	"encoding/json"
	"fmt"
	"log"
	"math"
	"os"
	"path/filepath"
	"slices"

	"github.com/potstill/potstill/engine"
	"github.com/potstill/potstill/engine/cpu"
	"github.com/potstill/potstill/layers"
	"github.com/potstill/potstill/layers/checkpoint"
	"github.com/potstill/potstill/layers/checkpoint/onnx"
	"github.com/potstill/potstill/layers/checkpoint/safetensors"
)

func main() {
	log.SetFlags(0)
	if len(os.Args) != 3 {
		log.Fatal("usage: families_check DIR NAME")
	}
	if err := check(filepath.Join(os.Args[1], os.Args[2]), os.Args[2]); err != nil {
		log.Fatalf("%s: %v", os.Args[2], err)
	}
}

func check(path, name string) error {
	c, err := checkpoint.Open(path+".pth", checkpoint.OpenOptions{})
	if err != nil {
		return err
	}
	if c.Net.Family != name {
		return fmt.Errorf("it was taken for a %s", c.Net.Family)
	}
	want, err := layers.Arch{Family: name, Classes: c.Net.Classes()}.Net()
	if err != nil {
		return err
	}
	if !c.Net.Equal(want) {
		return fmt.Errorf("the net is not the family's own")
	}
	for _, w := range c.Warnings {
		fmt.Println(name+":", w)
	}
	groups, err := c.Net.Groups()
	if err != nil {
		return err
	}
	free := 0
	for _, g := range groups {
		if g.Fixed == "" {
			free++
		}
	}
	fmt.Printf("%s: %d groups of channels, %d of which can be cut\n", name, len(groups), free)
	in, err := safetensors.Read(path + ".safetensors")
	if err != nil {
		return err
	}
	backend, err := cpu.New(cpu.Options{})
	if err != nil {
		return err
	}
	defer backend.Close()
	store := engine.NewStore(backend)
	defer store.Close()
	if err := step(c, store, in, path+".ours.safetensors"); err != nil {
		return err
	}
	if err := starts(want, backend, path+".json"); err != nil {
		return err
	}
	_, err = onnx.Write(path+".onnx", c, onnx.Options{Size: size(in)})
	return err
}

func size(in *safetensors.File) int {
	x, _ := in.Lookup("images")
	return x.Shape[2]
}

// step runs the net in evaluation and one training step.
func step(c *checkpoint.Checkpoint, store *engine.Store, in *safetensors.File, to string) error {
	c.Net = c.Net.WithoutDropout()
	m, err := c.Restore(store)
	if err != nil {
		return err
	}
	pixels, n, target, err := batch(in, c.Net.Classes())
	if err != nil {
		return err
	}
	h := size(in)
	b := engine.NewBuilder(engine.NewGraph())
	x := b.Input("image", engine.F32(n, h, h, c.Net.Input.Channels))
	logits := m.Forward(b, x, false)
	values, err := run(b, store, engine.Bindings{x: engine.Bytes(pixels)}, logits)
	if err != nil {
		return err
	}
	out := safetensors.File{Tensors: []safetensors.Tensor{safetensors.FromFloat32("logits", logits.Shape, values[0])}}
	if err := train(m, store, pixels, target, n, h, &out); err != nil {
		return err
	}
	_, err = safetensors.WritePlain(to, &out)
	return err
}

// train adds the loss and the gradients of one training step, and what the
// decisions in it were made from. The step runs twice: as it is, and with these
// tensors kept, which has other fusions. Both must give the same.
func train(m *layers.Model, store *engine.Store, pixels, target []float32, n, h int, out *safetensors.File) error {
	b := engine.NewBuilder(engine.NewGraph())
	x := b.Input("image", engine.F32(n, h, h, m.Net().Input.Channels))
	y := b.Input("target", engine.F32(n, m.Net().Classes()))
	loss := b.One(engine.CrossEntropy{}, m.Forward(b, x, true), y)
	if b.Err() != nil {
		return b.Err()
	}
	decided := decisions(b.Graph())
	var slots []layers.Slot
	var params []*engine.Value
	for _, s := range m.Slots() {
		if s.Variable.Trainable {
			slots, params = append(slots, s), append(params, b.Variable(s.Variable))
		}
	}
	grads, err := engine.Grad(b.Graph(), loss, params)
	if err != nil {
		return err
	}
	given := engine.Bindings{x: engine.Bytes(pixels), y: engine.Bytes(target)}
	wanted := append([]*engine.Value{loss}, grads...)
	values, err := run(b, store, given, wanted...)
	if err != nil {
		return err
	}
	kept, err := run(b, store, given, append(wanted, decided...)...)
	if err != nil {
		return err
	}
	for i, v := range values {
		if !slices.Equal(v, kept[i]) {
			return fmt.Errorf("%v is not the same where the arguments of activations are kept", wanted[i])
		}
	}
	out.Tensors = append(out.Tensors, safetensors.FromFloat32("loss", []int{1}, values[0]))
	for i, s := range slots {
		g := make([]float32, len(values[i+1]))
		s.Layout.ToTorch(g, values[i+1], s.Shape())
		out.Tensors = append(out.Tensors, safetensors.FromFloat32("grad/"+s.Variable.Name, s.Shape(), g))
	}
	for i, v := range decided {
		out.Tensors = append(out.Tensors, safetensors.FromFloat32(fmt.Sprintf("decision/%03d", i), v.Shape, kept[len(wanted)+i]))
	}
	return nil
}

// decisions returns the arguments of activations whose slope jumps and of max
// pools: what rounding can change there, changes a gradient by much.
func decisions(g *engine.Graph) []*engine.Value {
	var all []*engine.Value
	for _, n := range g.Nodes() {
		switch op := n.Op.(type) {
		case engine.MaxPool2D:
			all = append(all, n.In[0])
		case engine.Activation:
			switch op.F.Fn {
			case engine.FuncReLU, engine.FuncReLU6, engine.FuncClip, engine.FuncHardSigmoid, engine.FuncHardSwish:
				all = append(all, n.In[0])
			}
		}
	}
	return all
}

// batch returns the images as NHWC and the target as probabilities.
func batch(in *safetensors.File, classes int) (pixels []float32, n int, target []float32, err error) {
	x, ok := in.Lookup("images")
	if !ok {
		return nil, 0, nil, fmt.Errorf("there are no images")
	}
	src, err := safetensors.Float32s(x)
	if err != nil {
		return nil, 0, nil, err
	}
	n, c, h, w := x.Shape[0], x.Shape[1], x.Shape[2], x.Shape[3]
	pixels = make([]float32, len(src))
	for i, v := range src {
		px, py, k, b := i%w, i/w%h, i/(w*h)%c, i/(w*h*c)
		pixels[((b*h+py)*w+px)*c+k] = v
	}
	target = make([]float32, n*classes)
	for i := range n {
		target[i*classes+i] = 1 // image i is of class i
	}
	return pixels, n, target, nil
}

func run(b *engine.Builder, store *engine.Store, in engine.Bindings, outputs ...*engine.Value) ([][]float32, error) {
	if b.Err() != nil {
		return nil, b.Err()
	}
	p, err := b.Graph().Compile(store.Backend(), engine.Options{Store: store, Outputs: outputs})
	if err != nil {
		return nil, err
	}
	defer p.Close()
	if err := p.Run(context.Background(), in); err != nil {
		return nil, err
	}
	all := make([][]float32, len(outputs))
	for i, v := range outputs {
		all[i] = make([]float32, v.Len())
		if err := p.Read(v, engine.Bytes(all[i])); err != nil {
			return nil, err
		}
	}
	return all, nil
}

// starts writes, of each tensor as it starts, the mean, the standard deviation,
// the mean fourth power over the squared variance, and the largest magnitude.
func starts(n *layers.Net, backend engine.Backend, to string) error {
	m, err := n.Model()
	if err != nil {
		return err
	}
	store := engine.NewStore(backend)
	defer store.Close()
	if err := m.Init(store, 1); err != nil {
		return err
	}
	state, err := m.State(store)
	if err != nil {
		return err
	}
	moments := make(map[string][4]float64)
	for _, e := range state {
		if e.Integer() {
			continue
		}
		var sum, square, fourth, most float64
		for _, v := range e.Data {
			sum += float64(v)
			most = max(most, math.Abs(float64(v)))
		}
		mean := sum / float64(len(e.Data))
		for _, v := range e.Data {
			d := float64(v) - mean
			square += d * d
			fourth += d * d * d * d
		}
		square /= float64(len(e.Data))
		kurtosis := 0.0
		if square > 0 {
			kurtosis = fourth / float64(len(e.Data)) / (square * square)
		}
		moments[e.Name] = [4]float64{mean, math.Sqrt(square), kurtosis, most}
	}
	text, err := json.Marshal(moments)
	if err != nil {
		return err
	}
	return os.WriteFile(to, text, 0o644)
}
