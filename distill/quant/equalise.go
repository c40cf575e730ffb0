package quant

import (
	"fmt"
	"math"
	"slices"
	"strings"

	"github.com/potstill/potstill/layers"
	"github.com/potstill/potstill/layers/checkpoint"
)

// batchNormEps is what every BatchNorm of package layers adds to a variance.
const batchNormEps = 1e-5

// Equalise returns a copy of the checkpoint that computes the same and suffers
// less from one range a tensor. A convolution followed by BatchNorm has a
// freedom: with k > 0 for each of its output channels,
//
//	w ← k·w    b ← k·b    running mean ← k·mean    running var ← k²·(var + ε) - ε
//
// changes nothing behind the BatchNorm. Choosing k = 1/√(var + ε) gives every
// channel the variance 1: the running variances, which may span many orders of
// magnitude and of which the small ones would be rounded to nothing, become one
// number, and the channels' weights one size. The idea is that of Nagel et al.,
// "Data-Free Quantization Through Weight Equalization and Bias Correction"
// (2019), arXiv:1906.04721, where BatchNorm itself has the freedom.
//
// In floating point the logits move by their rounding. A checkpoint that is
// quantised already is refused.
func Equalise(c *checkpoint.Checkpoint) (*checkpoint.Checkpoint, error) {
	if c.Quant != checkpoint.Float32 {
		return nil, fmt.Errorf("equalise: the checkpoint is quantised already (%s); start from the 32-bit one", c.Quant)
	}
	out := *c
	out.State = make(layers.StateDict, len(c.State))
	for i, e := range c.State {
		out.State[i] = e
		out.State[i].Data = slices.Clone(e.Data)
	}
	out.History = append(slices.Clone(c.History), checkpoint.Event{Kind: "equalise"})
	out.Extra, out.Progress = nil, nil
	for i, e := range out.State {
		norm, ok := strings.CutSuffix(e.Name, ".running_var")
		if !ok {
			continue
		}
		conv := convBefore(out.State[:i])
		mean := out.State.Find(norm + ".running_mean")
		if conv == nil || mean == nil || conv[0].Shape[0] != len(e.Data) {
			return nil, fmt.Errorf("equalise: BatchNorm %s does not follow a convolution of its channels", norm)
		}
		equaliseChannels(conv, mean.Data, e.Data)
	}
	return &out, nil
}

// convBefore returns the last convolution's weight, and bias if it has one, of
// a state_dict's beginning: in every family BatchNorm's tensors stand behind
// those of its convolution.
func convBefore(s layers.StateDict) []layers.Entry {
	for i := len(s) - 1; i >= 0; i-- {
		if len(s[i].Shape) != 4 {
			continue
		}
		stem := strings.TrimSuffix(s[i].Name, "weight")
		if i+1 < len(s) && s[i+1].Name == stem+"bias" {
			return s[i : i+2]
		}
		return s[i : i+1]
	}
	return nil
}

// equaliseChannels scales a convolution's output channels and the running
// statistics behind it.
func equaliseChannels(conv []layers.Entry, mean, variance []float32) {
	for ch := range variance {
		v := float64(variance[ch]) + batchNormEps
		k := 1 / math.Sqrt(v)
		for _, e := range conv {
			n := len(e.Data) / len(variance)
			for i := ch * n; i < (ch+1)*n; i++ {
				e.Data[i] = float32(k * float64(e.Data[i]))
			}
		}
		mean[ch] = float32(k * float64(mean[ch]))
		variance[ch] = 1 - batchNormEps
	}
}
