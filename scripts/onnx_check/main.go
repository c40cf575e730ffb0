// Command onnx_check writes what scripts/onnx_check.py checks: ONNX files, and
// beside them the images and potstill's own logits, as safetensors with a list of
// the files and of how close each has to come.
//
//	onnx_check DIR                     random nets of every family, full and pruned
//	onnx_check DIR NAME MODEL DATA [N] a trained model, N validation images (500)
package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log"
	"os"
	"path/filepath"
	"strconv"

	"github.com/potstill/potstill/distill"
	"github.com/potstill/potstill/engine"
	"github.com/potstill/potstill/engine/cpu"
	"github.com/potstill/potstill/engine/data"
	"github.com/potstill/potstill/layers"
	"github.com/potstill/potstill/layers/checkpoint"
	"github.com/potstill/potstill/layers/checkpoint/onnx"
	"github.com/potstill/potstill/layers/checkpoint/safetensors"
)

// A claim is a file and how close ONNX Runtime has to come to the logits: the
// largest error in units of the largest logit, or the share of equal first
// classes. A claim without either is only reported.
type claim struct {
	File     string  `json:"file"`
	MaxError float64 `json:"max_error,omitempty"`
	Agree    float64 `json:"agree,omitempty"`
}

// calibrationImages is how many training images QDQ is calibrated on.
const calibrationImages = 256

func main() {
	log.SetFlags(0)
	var err error
	switch a := os.Args[1:]; len(a) {
	case 1:
		err = random(a[0])
	case 4, 5:
		n := 500
		if len(a) == 5 {
			n, err = strconv.Atoi(a[4])
		}
		if err == nil {
			err = trained(a[0], a[1], a[2], a[3], n)
		}
	default:
		err = errors.New("usage: onnx_check DIR [NAME MODEL DATA [N]]")
	}
	if err != nil {
		log.Fatal("onnx_check: ", err)
	}
}

// A checker writes one model's files.
type checker struct {
	dir, name string
	c         *checkpoint.Checkpoint
	backend   engine.Backend
	claims    []claim
}

// export writes one file.
func (k *checker) export(kind string, o onnx.Options, want claim) error {
	want.File = k.name + kind + ".onnx"
	n, err := onnx.Write(filepath.Join(k.dir, want.File), k.c, o)
	if err == nil {
		k.claims = append(k.claims, want)
		log.Printf("%s: %d bytes", want.File, n)
	}
	return err
}

// save writes images [N,C,H,W], logits and claims; images are given as NHWC.
func (k *checker) save(images []float32, n, h, w, c int, logits []float32, labels []int64) error {
	torch := make([]float32, len(images))
	for i, v := range images {
		ch, p, b := i%c, i/c%(h*w), i/(h*w*c)
		torch[(b*c+ch)*h*w+p] = v
	}
	text, err := json.Marshal(k.claims)
	if err != nil {
		return err
	}
	f := &safetensors.File{Metadata: map[string]string{"claims": string(text)}, Tensors: []safetensors.Tensor{
		safetensors.FromFloat32("images", []int{n, c, h, w}, torch),
		safetensors.FromFloat32("logits", []int{n, len(logits) / n}, logits),
	}}
	if labels != nil {
		f.Tensors = append(f.Tensors, safetensors.FromInt64("labels", []int{n}, labels))
	}
	_, err = safetensors.Write(filepath.Join(k.dir, k.name+".safetensors"), f)
	return err
}

// forward returns the logits of images by the float engine.
func (k *checker) forward(images []float32, n, h, w, c int) ([]float32, error) {
	store := engine.NewStore(k.backend)
	defer store.Close()
	m, err := k.c.Restore(store)
	if err != nil {
		return nil, err
	}
	b := engine.NewBuilder(engine.NewGraph())
	in := b.Input("images", engine.F32(n, h, w, c))
	out := m.Forward(b, in, false)
	if err := b.Err(); err != nil {
		return nil, err
	}
	p, err := b.Graph().Compile(k.backend, engine.Options{Store: store, Outputs: []*engine.Value{out}})
	if err != nil {
		return nil, err
	}
	defer p.Close()
	if err := p.Run(context.Background(), engine.Bindings{in: engine.Bytes(images)}); err != nil {
		return nil, err
	}
	logits := make([]float32, out.Len())
	return logits, p.Read(out, engine.Bytes(logits))
}

// random writes nets with random weights and statistics.
func random(dir string) error {
	backend, err := cpu.New(cpu.Options{})
	if err != nil {
		return err
	}
	defer backend.Close()
	nets := []layers.Arch{
		{Family: "cnn-dwpw", Classes: 7, Widths: []int{11, 31, 44, 89, 121, 33, 17, 64, 29}},
		{Family: "cnn-group", Classes: 7, Widths: []int{6, 22, 34, 18, 44, 31}},
		{Family: "resnet18", Classes: 7, Widths: []int{13, 31, 44, 89}},
		{Family: "cnn-plain", Classes: 1, Widths: []int{1, 3, 2, 5, 7}, InChannels: 1},
	}
	for _, f := range layers.Families() {
		nets = append(nets, layers.Arch{Family: f, Classes: 10})
	}
	for i, a := range nets {
		k := &checker{dir: dir, name: fmt.Sprintf("random%d-%s", i, a.Family), backend: backend}
		if err := k.random(a); err != nil {
			return fmt.Errorf("%s: %w", k.name, err)
		}
	}
	return nil
}

// random writes one net with random weights.
func (k *checker) random(a layers.Arch) error {
	m, err := layers.New(a)
	if err != nil {
		return err
	}
	const n, size = 5, 48
	c := m.Arch().InChannels
	r := data.NewRand(7, 0, 0, data.UseOther)
	k.c = &checkpoint.Checkpoint{Arch: a, Preprocess: checkpoint.Preprocess{Size: size}}
	store := engine.NewStore(k.backend)
	defer store.Close()
	if err := m.Init(store, 3); err != nil {
		return err
	}
	if k.c.State, err = m.State(store); err != nil {
		return err
	}
	for _, s := range k.c.State {
		if len(s.Shape) == 1 { // biases and BatchNorm
			for i := range s.Data {
				s.Data[i] += float32(r.Uniform(-0.5, 0.5))
			}
		}
	}
	images := make([]float32, n*size*size*c)
	for i := range images {
		images[i] = float32(r.Uniform(0, 1))
	}
	logits, err := k.forward(images, n, size, size, c)
	if err != nil {
		return err
	}
	close := claim{MaxError: 1e-4}
	if err := k.export("", onnx.Options{}, close); err != nil {
		return err
	}
	if err := k.export("-bn", onnx.Options{KeepBatchNorm: true}, close); err != nil {
		return err
	}
	return k.save(images, n, size, size, c, logits, nil)
}

// trained writes a trained model.
func trained(dir, name, model, spec string, n int) (err error) {
	backend, err := cpu.New(cpu.Options{})
	if err != nil {
		return err
	}
	defer backend.Close()
	k := &checker{dir: dir, name: name, backend: backend}
	if k.c, err = checkpoint.Open(model, checkpoint.OpenOptions{}); err != nil {
		return err
	}
	ctx := context.Background()
	ds, err := data.Open(ctx, spec, data.Options{})
	if err != nil {
		return err
	}
	defer ds.Close()
	t := distill.EvalTransform(k.c.Preprocess)
	o := onnx.Options{Size: ds.Val.Image(0).H}
	if k.c.Preprocess.Size > 0 {
		o.Size = k.c.Preprocess.Size
	}
	part := ds.Val.Subset(n)
	n = part.Len()
	labels := make([]int64, n)
	for i := range labels {
		labels[i] = int64(part.Label(i))
	}
	var images, logits []float32
	for batch, err := range onnx.Images(ctx, part, t, n) {
		if err != nil {
			return err
		}
		l, err := k.forward(batch, len(batch)/(o.Size*o.Size*3), o.Size, o.Size, 3)
		if err != nil {
			return err
		}
		images, logits = append(images, batch...), append(logits, l...)
	}
	if err := k.precisions(ctx, ds.Train, t, o); err != nil {
		return err
	}
	return k.save(images, n, o.Size, o.Size, 3, logits, labels)
}

// precisions writes the model in all precisions; the 8-bit ones also of the model
// whose weights are stored so.
func (k *checker) precisions(ctx context.Context, train *data.Split, t data.Transform, o onnx.Options) error {
	if err := k.export("", o, claim{MaxError: 1e-4}); err != nil {
		return err
	}
	m, err := layers.New(k.c.Arch)
	if err != nil {
		return err
	}
	whole := k.c
	defer func() { k.c = whole }()
	for _, quant := range []string{whole.Quant, checkpoint.Affine8PerChannel, checkpoint.Affine8} {
		coded := *whole
		coded.Quant = quant
		if coded.State, err = checkpoint.Quantise(m, whole.State, quant); err != nil {
			return err
		}
		k.c = &coded
		if o.Calibration, err = onnx.Calibrate(ctx, k.backend, k.c, o, onnx.Images(ctx, train, t, calibrationImages)); err != nil {
			return err
		}
		for kind, int8 := range map[string]onnx.Int8{"-qdq-": onnx.QDQ, "-codes-": onnx.Weights8} {
			o.Int8 = int8
			want := claim{Agree: 0.95}
			if err := k.export(kind+quant, o, want); err != nil {
				return err
			}
		}
	}
	return nil
}
