// Command onnx_check writes what scripts/onnx_check.py checks: ONNX files, and
// beside them the images and potstill's own logits, as safetensors with a list of
// the files and of how close each has to come.
//
//	onnx_check DIR                     random nets of families, full and pruned
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
	"slices"
	"strconv"

	"github.com/potstill/potstill/distill/compress"
	"github.com/potstill/potstill/distill/quant"
	"github.com/potstill/potstill/engine"
	"github.com/potstill/potstill/engine/cpu"
	"github.com/potstill/potstill/engine/data"
	"github.com/potstill/potstill/engine/random"
	"github.com/potstill/potstill/layers"
	"github.com/potstill/potstill/layers/checkpoint"
	"github.com/potstill/potstill/layers/checkpoint/onnx"
	"github.com/potstill/potstill/layers/checkpoint/safetensors"
)

// A claim is a file, the tensor with potstill's logits, and how close ONNX Runtime
// has to come to them: the largest error in units of the largest logit, or the
// share of equal first classes.
type claim struct {
	File     string  `json:"file"`
	Logits   string  `json:"logits"`
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
		err = drawn(a[0])
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

// save writes images, given as NHWC, as [N,C,H,W], with logits and claims.
func (k *checker) save(images []float32, n, h, w, c int, tensors ...safetensors.Tensor) error {
	torch := make([]float32, len(images))
	for i, v := range images {
		ch, p, b := i%c, i/c%(h*w), i/(h*w*c)
		torch[(b*c+ch)*h*w+p] = v
	}
	text, err := json.Marshal(k.claims)
	if err != nil {
		return err
	}
	f := &safetensors.File{
		Metadata: map[string]string{"claims": string(text)},
		Tensors:  append(tensors, safetensors.FromFloat32("images", []int{n, c, h, w}, torch)),
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

// drawn writes nets with random weights and statistics.
func drawn(dir string) error {
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
	// scripts/families_check.sh exports the other families.
	for _, f := range []string{"cnn-plain", "cnn-dwpw", "cnn-group", "cnn-group-printed", "hw7-student", "resnet18", "shufflenet_v2_x0_5"} {
		nets = append(nets, layers.Arch{Family: f, Classes: 10})
	}
	for i, a := range nets {
		k := &checker{dir: dir, name: fmt.Sprintf("random%d-%s", i, a.Family), backend: backend}
		if err := k.drawn(a); err != nil {
			return fmt.Errorf("%s: %w", k.name, err)
		}
	}
	return nil
}

// drawn writes one net with random weights.
func (k *checker) drawn(a layers.Arch) error {
	m, err := layers.New(a)
	if err != nil {
		return err
	}
	const n, size = 5, 48
	c := m.Arch().InChannels
	r := random.New(7, 0, 0, random.UseOther)
	k.c = &checkpoint.Checkpoint{Net: m.Net(), Preprocess: checkpoint.Preprocess{Size: size}}
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
	want := claim{Logits: "logits", MaxError: 1e-4}
	if err := k.export("", onnx.Options{}, want); err != nil {
		return err
	}
	if err := k.export("-bn", onnx.Options{KeepBatchNorm: true}, want); err != nil {
		return err
	}
	return k.save(images, n, size, size, c, safetensors.FromFloat32("logits", []int{n, len(logits) / n}, logits))
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
	t := k.c.Preprocess.Transform()
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
	var images []float32
	for batch, err := range onnx.Images(ctx, part, t, n) {
		if err != nil {
			return err
		}
		images = append(images, batch...)
	}
	tensors := []safetensors.Tensor{safetensors.FromInt64("labels", []int{n}, labels)}
	whole := k.c
	for _, scheme := range slices.Compact([]string{whole.Scheme(), checkpoint.Affine8PerChannel, checkpoint.Affine8}) {
		coded := *whole
		if scheme != whole.Scheme() {
			if coded.State, err = checkpoint.Quantize(whole.State, scheme); err != nil {
				return err
			}
		}
		k.c = &coded
		logits, err := k.precisions(o, images, n)
		if err != nil {
			return err
		}
		tensors = append(tensors, safetensors.FromFloat32("logits"+scheme, []int{n, len(logits) / n}, logits))
	}
	if whole.Scheme() == checkpoint.Float32 {
		if k.c, _, err = quant.Static(ctx, compress.Env{Backend: k.backend, Data: ds}, whole, quant.Options{Scheme: quant.Int8, Images: calibrationImages}); err != nil {
			return err
		}
		o.Int8 = onnx.QDQ
		if err := k.export("-qdq", o, claim{Logits: "logits", Agree: 0.95}); err != nil {
			return err
		}
	}
	return k.save(images, n, o.Size, o.Size, 3, tensors...)
}

// precisions writes the model in all precisions and returns its logits: those of
// the float engine, on decoded weights where the model's are stored in 8 bits.
func (k *checker) precisions(o onnx.Options, images []float32, n int) (logits []float32, err error) {
	const batch = 50
	each := len(images) / n
	for i := 0; i < n; i += batch {
		part := images[i*each : min(i+batch, n)*each]
		l, err := k.forward(part, len(part)/each, o.Size, o.Size, 3)
		if err != nil {
			return nil, err
		}
		logits = append(logits, l...)
	}
	near, quant := claim{Logits: "logits" + k.c.Scheme(), MaxError: 1e-4}, ""
	if k.c.Scheme() != checkpoint.Float32 {
		quant = "-" + k.c.Scheme()
		o.Int8 = onnx.Weights8
		if err := k.export(quant+"-codes", o, near); err != nil {
			return nil, err
		}
		o.Int8 = onnx.NoInt8
	}
	return logits, k.export(quant, o, near)
}
