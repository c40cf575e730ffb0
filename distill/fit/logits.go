package fit

import (
	"cmp"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"os"
	"path/filepath"
	"slices"

	"github.com/potstill/potstill/distill"
	"github.com/potstill/potstill/distill/eval"
	"github.com/potstill/potstill/engine"
	"github.com/potstill/potstill/layers/checkpoint"
	"github.com/potstill/potstill/layers/checkpoint/safetensors"
)

// fixed reports whether every epoch sees the same training images: nothing about them
// is random, and they are prepared as in evaluation.
func (j *Job) fixed() bool {
	t, c := j.Config.Train, j.Config
	still := !t.RandomCrop && t.RandomResizedCrop == nil && t.HFlip == 0 && t.RandAugment == nil && t.Jitter == nil &&
		t.Rotation == 0 && t.Perspective == 0 && t.Erase == nil && c.MixupAlpha == 0 && c.CutMixAlpha == 0
	return still && t.Describe() == c.Eval.Describe()
}

// remember gives the loss the teachers' logits of all training images, where these do
// not change: from the files of an earlier run in LogitsDir, or from one pass over
// the images. A file is that of a teacher, of the data, and of how their images are prepared.
func (s *session) remember(ctx context.Context, b engine.Backend, loss *distill.Loss) error {
	j := s.j
	if j.LogitsDir == "" || !j.fixed() || loss.Features() {
		return nil
	}
	for k, t := range s.teachers {
		path := filepath.Join(j.LogitsDir, "logits-"+j.logitsKey(b, t)+".safetensors")
		table, err := readLogits(path, j.Data.Train.Len(), len(j.Data.Classes))
		if err != nil {
			if table, err = s.run(ctx, b, t); err != nil {
				return fmt.Errorf("teacher %s: %w", nameOf(t), err)
			}
			if err := writeLogits(path, table, len(j.Data.Classes)); err != nil {
				return writable(err)
			}
		}
		if log := j.Logger; log != nil {
			log.Info(fmt.Sprintf("the training images do not change: the logits of %s are in %s, and it is not run again", nameOf(t), path))
		}
		loss.Remember(k, table)
	}
	return nil
}

// logitsKey tells the files apart.
func (j *Job) logitsKey(b engine.Backend, t *checkpoint.Checkpoint) string {
	h := sha256.New()
	fmt.Fprintf(h, "1\x00%s\x00%s\x00%s\x00%d\x00%s\x00%s\x00%s", stateHash(t), t.Net, j.Data.Fingerprint, j.Data.Train.Len(),
		t.Preprocess.Transform().Describe(), j.teacherPrecision(), b.Name())
	return hex.EncodeToString(h.Sum(nil)[:12])
}

// teacherPrecision is that of the teachers' activations.
func (j *Job) teacherPrecision() string { return cmp.Or(j.KD.Precision, j.Config.Precision) }

// evalPrecision is the same for evaluation, where a model with ranges computes in integers anyway.
func (j *Job) evalPrecision() string {
	if p := j.teacherPrecision(); p != distill.Int8 {
		return p
	}
	return ""
}

// run computes a teacher's logits of the training images, [M,K].
func (s *session) run(ctx context.Context, b engine.Backend, t *checkpoint.Checkpoint) ([]float32, error) {
	k := len(s.j.Data.Classes)
	table := make([]float32, s.j.Data.Train.Len()*k)
	_, err := eval.Evaluate(ctx, b, t, s.j.Data.Train, eval.Options{
		Workers: s.j.Config.Workers, Precision: s.j.evalPrecision(),
		Each: func(i int, logits []float32) error { copy(table[i*k:(i+1)*k], logits); return nil },
	})
	return table, err
}

func readLogits(path string, images, classes int) ([]float32, error) {
	f, err := safetensors.Read(path)
	if err != nil {
		return nil, err
	}
	if len(f.Tensors) != 1 || !slices.Equal(f.Tensors[0].Shape, []int{images, classes}) {
		return nil, fmt.Errorf("%s does not have the logits of %d images", path, images)
	}
	return safetensors.Float32s(&f.Tensors[0])
}

func writeLogits(path string, table []float32, classes int) error {
	if err := os.MkdirAll(filepath.Dir(path), 0o777); err != nil {
		return err
	}
	_, err := safetensors.Write(path, &safetensors.File{Tensors: []safetensors.Tensor{
		safetensors.FromFloat32("logits", []int{len(table) / classes, classes}, table)}})
	return err
}
