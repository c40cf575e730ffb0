//go:build ignore

// Command golden_v1 writes files as the first version of the checkpoint format
// has them, and what they must come to: model files of every family and every
// way of storing, runs that were interrupted, and a finished study. It is run
// by scripts/golden_v1.sh within the source of commit d4d651a, the last one
// before the format changed, and need not compile with any later one.
//
// Everything is computed by the reference backend, in float64, so that it does
// not depend on the machine: see the tests, which are named v1_test.go.
package main

import (
	"context"
	"crypto/sha256"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"log"
	"math"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/potstill/potstill/distill"
	"github.com/potstill/potstill/distill/prune"
	"github.com/potstill/potstill/distill/quant"
	"github.com/potstill/potstill/distill/study"
	"github.com/potstill/potstill/engine"
	"github.com/potstill/potstill/engine/data"
	"github.com/potstill/potstill/engine/ref"
	"github.com/potstill/potstill/engine/train"
	"github.com/potstill/potstill/layers"
	"github.com/potstill/potstill/layers/checkpoint"
)

func main() {
	log.SetFlags(0)
	if len(os.Args) != 2 {
		log.Fatal("usage: golden_v1 ROOT, the root of the source that gets the files")
	}
	models := filepath.Join(os.Args[1], "layers/checkpoint/testdata/v1")
	runs := filepath.Join(os.Args[1], "distill/testdata/v1")
	err := writeModels(models)
	if err == nil {
		err = writeRuns(runs)
	}
	if err == nil {
		err = writeStudy(filepath.Join(os.Args[1], "distill/study/testdata/v1"))
	}
	if err != nil {
		log.Fatal(err)
	}
}

// A golden is what a model's file must come to.
type golden struct {
	Tensors    string   `json:"tensors"` // see digest
	Logits     []string `json:"logits"`  // of each image, the bits of the float32s
	Classes    []string `json:"classes"`
	Preprocess checkpoint.Preprocess
	Quant      string
	History    []checkpoint.Event
	Metrics    map[string]float64
}

// archs are a small net of every family.
var archs = []layers.Arch{
	{Family: "cnn-plain", Classes: 5, Widths: []int{3, 5, 4, 7, 6}},
	{Family: "cnn-dwpw", Classes: 5, Widths: []int{3, 4, 6, 8, 8, 7, 10, 12, 9}},
	{Family: "cnn-group", Classes: 5, Widths: []int{2, 4, 6, 4, 8, 7}},
	{Family: "cnn-group-printed", Classes: 5, Widths: []int{4, 2, 6, 4, 8, 6}, InChannels: 1},
	{Family: "hw7-student", Classes: 5, Base: 1},
	{Family: "resnet18", Classes: 5, Widths: []int{3, 5, 4, 6}},
}

func writeModels(dir string) error {
	if err := os.MkdirAll(dir, 0o777); err != nil {
		return err
	}
	goldens := make(map[string]golden)
	for i, a := range archs {
		c, err := drawn(a, uint64(i+1))
		if err != nil {
			return err
		}
		if err := writeModel(dir, a.Family, c, goldens); err != nil {
			return err
		}
		if a.Family != "cnn-dwpw" {
			continue
		}
		if c, err = checkpoint.Load(filepath.Join(dir, a.Family+".safetensors")); err != nil {
			return err
		}
		for _, scheme := range []string{checkpoint.Affine8, checkpoint.Affine8PerChannel, checkpoint.Float16} {
			q, _, err := quant.Quantise(c, scheme)
			if err != nil {
				return err
			}
			if err := writeModel(dir, a.Family+"-"+scheme, q, goldens); err != nil {
				return err
			}
		}
		p, _, err := prune.Slim(c, prune.Options{Widths: []int{3, 4, 6, 5, 7, 4, 6, 8, 9}})
		if err != nil {
			return err
		}
		if err := writeModel(dir, a.Family+"-pruned", p, goldens); err != nil {
			return err
		}
	}
	return writeJSON(filepath.Join(dir, "golden.json"), goldens)
}

// writeModel writes a model's file and notes what it comes to.
func writeModel(dir, name string, c *checkpoint.Checkpoint, goldens map[string]golden) error {
	path := filepath.Join(dir, name+".safetensors")
	if _, err := checkpoint.Save(path, c); err != nil {
		return err
	}
	c, err := checkpoint.Load(path)
	if err != nil {
		return err
	}
	logits, err := logits(c)
	if err != nil {
		return err
	}
	goldens[name] = golden{digest(c.State), logits, c.Classes, c.Preprocess, c.Quant, c.History, c.Metrics}
	return nil
}

// uniform returns number i of the stream of a seed, in [0, 1): SplitMix64
// (Steele, Lea and Flood, OOPSLA 2014).
func uniform(seed, i uint64) float32 {
	z := seed<<32 + (i+1)*0x9E3779B97F4A7C15
	z = (z ^ z>>30) * 0xBF58476D1CE4E5B9
	z = (z ^ z>>27) * 0x94D049BB133111EB
	return float32((z^z>>31)>>40) / (1 << 24)
}

// drawn returns a net with drawn weights, biases and statistics.
func drawn(a layers.Arch, seed uint64) (*checkpoint.Checkpoint, error) {
	m, err := layers.New(a)
	if err != nil {
		return nil, err
	}
	store := engine.NewStore(ref.New())
	defer store.Close()
	if err := m.Init(store, seed); err != nil {
		return nil, err
	}
	state, err := m.State(store)
	if err != nil {
		return nil, err
	}
	for k, e := range state {
		for i := range e.Data {
			u := uniform(seed, uint64(k)<<20|uint64(i))
			switch {
			case e.Integer:
				e.Data[i] = float32(1000*seed) + float32(k)
			case len(e.Shape) != 1: // a layer's weight keeps its initialisation
			case strings.HasSuffix(e.Name, ".weight"), strings.HasSuffix(e.Name, ".running_var"):
				e.Data[i] = 0.5 + u
			default:
				e.Data[i] = u/2 - 0.25
			}
		}
	}
	c := &checkpoint.Checkpoint{Arch: a, Classes: []string{"noodles", "rice", "soup", "egg", "Brötchen"}, State: state,
		Preprocess: checkpoint.Preprocess{Size: 32, Resize: 40},
		History:    []checkpoint.Event{{Kind: "train", Detail: "drawn by scripts/golden_v1.go", Data: "none", Recipe: "r"}},
		Metrics:    map[string]float64{"val_accuracy": 0.625, "epoch": 3}}
	for i := range m.Arch().InChannels {
		c.Preprocess.Mean = append(c.Preprocess.Mean, 0.25+uniform(seed, uint64(i))/4)
		c.Preprocess.Std = append(c.Preprocess.Std, 0.5+uniform(seed, uint64(i))/4)
	}
	return c, nil
}

// logits returns a model's logits of four images of 32×32 pixels, [4,32,32,C],
// which are numbers 0, 1, … of the stream of seed 7.
func logits(c *checkpoint.Checkpoint) ([]string, error) {
	store := engine.NewStore(ref.New(ref.WithoutFusion()))
	defer store.Close()
	m, err := c.Restore(store)
	if err != nil {
		return nil, err
	}
	b := engine.NewBuilder(engine.NewGraph())
	x := b.Input("images", engine.F32(4, 32, 32, m.Arch().InChannels))
	y := m.Forward(b, x, false)
	if b.Err() != nil {
		return nil, b.Err()
	}
	p, err := b.Graph().Compile(store.Backend(), engine.Options{Store: store, Outputs: []*engine.Value{y}})
	if err != nil {
		return nil, err
	}
	defer p.Close()
	pixels := make([]float32, x.Len())
	for i := range pixels {
		pixels[i] = uniform(7, uint64(i))
	}
	if err := p.Run(context.Background(), engine.Bindings{x: engine.Bytes(pixels)}); err != nil {
		return nil, err
	}
	out := make([]float32, y.Len())
	if err := p.Read(y, engine.Bytes(out)); err != nil {
		return nil, err
	}
	var lines []string
	for row := range slices.Chunk(out, len(out)/4) {
		var bits []string
		for _, v := range row {
			bits = append(bits, fmt.Sprintf("%08x", math.Float32bits(v)))
		}
		lines = append(lines, strings.Join(bits, " "))
	}
	return lines, nil
}

// digest returns the SHA-256 of a state: of each tensor, in the order of their
// names, a line "name [shape]" and the bits of its values as float32, little
// endian.
func digest(s layers.StateDict) string {
	s = slices.Clone(s)
	slices.SortFunc(s, func(a, b layers.Entry) int { return strings.Compare(a.Name, b.Name) })
	h := sha256.New()
	for _, e := range s {
		fmt.Fprintf(h, "%s %v\n", e.Name, e.Shape)
		_ = binary.Write(h, binary.LittleEndian, e.Data) // never fails
	}
	return fmt.Sprintf("%x", h.Sum(nil))
}

// writeRuns writes runs of four epochs that were interrupted in the third.
func writeRuns(dir string) error {
	ds, err := data.Open(context.Background(), "builtin:fashion", data.Options{})
	if err != nil {
		return err
	}
	defer ds.Close()
	ds.Train, ds.Val = ds.Train.Subset(160), ds.Val.Subset(60)
	teacher, err := drawn(layers.Arch{Family: "cnn-group", Classes: 10, Widths: []int{2, 4, 6, 4, 8, 7}}, 11)
	if err != nil {
		return err
	}
	teacher.Classes = ds.Classes
	teacher.Preprocess.Size, teacher.Preprocess.Resize = 16, 0
	if err := os.MkdirAll(dir, 0o777); err != nil {
		return err
	}
	path := filepath.Join(dir, "teacher.safetensors")
	if _, err := checkpoint.Save(path, teacher); err != nil {
		return err
	}
	if teacher, err = checkpoint.Load(path); err != nil {
		return err
	}
	goldens := make(map[string]map[string]string)
	for _, job := range []distill.Job{trainJob(), distillJob(teacher)} {
		job.Data = ds
		if goldens[job.Name], err = writeRun(filepath.Join(dir, job.Name), job); err != nil {
			return err
		}
	}
	return writeJSON(filepath.Join(dir, "golden.json"), goldens)
}

// trainJob is a run with everything that has a state: an average of the
// weights, the moments, a schedule, every random choice.
func trainJob() distill.Job {
	return distill.Job{
		Name:       "train",
		Arch:       layers.Arch{Family: "cnn-group", Widths: []int{4, 6, 8, 8, 8, 10}},
		Preprocess: checkpoint.Preprocess{Size: 16, Mean: []float32{0.25, 0.25, 0.25}, Std: []float32{0.5, 0.5, 0.5}},
		Config: train.Config{
			Epochs: 4, Batch: 16, Seed: 1, Shuffle: true, EMA: 0.75, ClipNorm: 2, LabelSmoothing: 0.125,
			Optimizer: train.OptimizerConfig{Kind: train.AdamW, LR: 2e-2, WeightDecay: 0.01},
			Schedule:  train.ScheduleConfig{Kind: train.Cosine, Warmup: 3},
			Train: data.Transform{Size: 16, RandomCrop: true, Padding: 1, HFlip: 0.5, Rotation: 15,
				Mean: []float32{0.25, 0.25, 0.25}, Std: []float32{0.5, 0.5, 0.5}},
		},
	}
}

// distillJob is a run under a teacher, with another optimiser.
func distillJob(teacher *checkpoint.Checkpoint) distill.Job {
	return distill.Job{
		Name: "distill",
		Arch: layers.Arch{Family: "cnn-plain", Widths: []int{3, 4, 5, 4, 6}}, Teacher: teacher, KD: distill.Settings{T: 4, Alpha: 0.75},
		Config: train.Config{
			Epochs: 4, Batch: 16, Seed: 1, Shuffle: true, Accumulate: 2,
			Optimizer: train.OptimizerConfig{Kind: train.SGD, LR: 0.05, Momentum: 0.9, Nesterov: true},
			Train:     data.TrainTransform(16), Eval: data.EvalTransform(16),
		},
	}
}

// writeRun leaves a run in dir as it is when it is interrupted in the third
// epoch, and returns the digests of what it would have come to.
func writeRun(dir string, j distill.Job) (map[string]string, error) {
	whole := j
	var err error
	if whole.Dir, err = os.MkdirTemp("", ""); err != nil {
		return nil, err
	}
	defer os.RemoveAll(whole.Dir)
	if _, err := distill.Train(context.Background(), ref.New(), whole); err != nil {
		return nil, err
	}
	if err := os.RemoveAll(dir); err != nil {
		return nil, err
	}
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	j.Dir = dir
	j.Step = func(i train.StepInfo) {
		if i.Epoch == 3 && i.Step == 2 {
			cancel()
		}
	}
	var interrupted *distill.InterruptedError
	if _, err := distill.Train(ctx, ref.New(), j); !errors.As(err, &interrupted) || interrupted.Step >= interrupted.Steps {
		return nil, fmt.Errorf("the run was not interrupted in an epoch: %v", err)
	}
	digests := make(map[string]string)
	for _, name := range []string{distill.BestFile, distill.LastFile} {
		c, err := checkpoint.Load(filepath.Join(whole.Dir, name))
		if err != nil {
			return nil, err
		}
		before, err := checkpoint.Load(filepath.Join(dir, name))
		if err != nil {
			return nil, err
		}
		if digests[name] = digest(c.State); digests[name] == digest(before.State) {
			return nil, fmt.Errorf("%s: %s does not change after the interruption; choose another seed", dir, name)
		}
	}
	return digests, removeEvents(dir)
}

// writeStudy does the study of the recipe that is there.
func writeStudy(dir string) error {
	r, err := study.Load(filepath.Join(dir, "recipe.yaml"))
	if err != nil {
		return err
	}
	out := filepath.Join(dir, "out")
	if err := os.RemoveAll(out); err != nil {
		return err
	}
	_, paths, err := study.Run(context.Background(), ref.New(), r, study.Options{Dir: out, Version: "v1"})
	if err != nil {
		return err
	}
	// Of the report only the figures are kept.
	all, err := filepath.Glob(filepath.Join(out, "*.*"))
	for _, file := range all {
		if file != paths.JSON {
			err = errors.Join(err, os.Remove(file))
		}
	}
	return errors.Join(err, removeEvents(filepath.Join(out, "work", "*")))
}

// removeEvents removes TensorBoard's files, which name the machine.
func removeEvents(dirs string) error {
	all, err := filepath.Glob(filepath.Join(dirs, "events.out.*"))
	for _, file := range all {
		err = errors.Join(err, os.Remove(file))
	}
	return err
}

func writeJSON(path string, v any) error {
	text, err := json.MarshalIndent(v, "", " ")
	if err != nil {
		return err
	}
	return os.WriteFile(path, append(text, '\n'), 0o666)
}
