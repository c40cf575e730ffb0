package train

import (
	"slices"
	"testing"

	"github.com/potstill/potstill/engine/data"
)

// Runs that sample, weigh, cut and erase are resumed as exactly as the others:
// see resumeConfigs.
func init() {
	resumeConfigs["sampled"] = func(c *Config) {
		c.CutMixAlpha, c.BalancedWeights, c.BalancedSampling = 1, true, true
		c.Train.RandAugment, c.Train.Erase = &data.RandAugment{Ops: 2, Magnitude: 9}, data.RandomErasing(0.5)
	}
}

// trained returns the weights after a short run by SGD.
func trained(t *testing.T, c Config) []float32 {
	t.Helper()
	ds := noisyData(t)
	net, store := newLinearNet(6*6*3, len(ds.Classes)), newStore(t)
	fill(t, store, net.Variables(), 4)
	c.Epochs, c.Batch, c.Shuffle, c.Optimizer.Kind = 2, 6, true, SGD
	c.Train, c.Eval = data.EvalTransform(6), data.EvalTransform(6)
	if _, err := newTrainer(t, net, store, ds, c, Hooks{}).Run(t.Context()); err != nil {
		t.Fatal(err)
	}
	return floats(t, store, net.w)
}

// A weight of two for all classes is twice the learning rate, to the bit; what
// balances classes of one size is no weight; a class of weight 0 is not learned.
func TestClassWeightsScaleTheLoss(t *testing.T) {
	plain := trained(t, Config{Optimizer: OptimizerConfig{LR: 0.02}})
	n := len(noisyData(t).Classes)
	weights := func(w float32) []float32 { return slices.Repeat([]float32{w}, n) }
	if got := trained(t, Config{Optimizer: OptimizerConfig{LR: 0.01}, ClassWeights: weights(2)}); !slices.Equal(got, plain) {
		t.Error("weights of 2 are not twice the learning rate")
	}
	if got := trained(t, Config{Optimizer: OptimizerConfig{LR: 0.02}, ClassWeights: weights(2)}); slices.Equal(got, plain) {
		t.Error("weights change nothing")
	}
	one := weights(1)
	one[0] = 0
	if got := trained(t, Config{Optimizer: OptimizerConfig{LR: 0.02}, ClassWeights: one}); slices.Equal(got, plain) {
		t.Error("a weight of 0 changes nothing")
	}
	c := base()
	c.ClassWeights, c.LabelSmoothing = weights(1), 0.1
	if c.Validate() == nil {
		t.Error("weights and label smoothing are taken together")
	}
}
