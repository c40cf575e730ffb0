package train_test

import (
	"context"
	"fmt"
	"os"

	"github.com/potstill/potstill/engine"
	"github.com/potstill/potstill/engine/data"
	"github.com/potstill/potstill/engine/ref"
	"github.com/potstill/potstill/engine/train"
)

// A logistic is logistic regression on the mean color: the smallest net.
type logistic struct{ weight, bias *engine.Variable }

func (l logistic) Variables() []*engine.Variable { return []*engine.Variable{l.weight, l.bias} }

func (l logistic) Build(b *engine.Builder, x *engine.Value, _ bool) *engine.Outputs {
	mean := b.One(engine.GlobalAvgPool{}, x)
	return &engine.Outputs{Logits: b.One(engine.Linear{}, mean, b.Variable(l.weight), b.Variable(l.bias))}
}

func Example() {
	if err := fit(context.Background(), os.Getenv("FOOD11")); err != nil {
		fmt.Println(err)
	}
}

func fit(ctx context.Context, folder string) error {
	ds, err := data.Open(ctx, folder, data.Options{})
	if err != nil {
		return err
	}
	defer ds.Close()
	classes := len(ds.Classes)
	net := logistic{
		weight: &engine.Variable{Name: "fc.weight", Spec: engine.F32(3, classes), Trainable: true},
		bias:   &engine.Variable{Name: "fc.bias", Spec: engine.F32(classes), Trainable: true},
	}
	store := engine.NewStore(ref.New())
	defer store.Close()

	var best *train.Snapshot
	lines := train.NewMetricsWriter(os.Stdout)
	t, err := train.New(net, store, ds, train.Config{
		Epochs: 10, Batch: 32, Seed: 1, Shuffle: true,
		Optimizer: train.OptimizerConfig{Kind: train.AdamW, LR: 1e-3, WeightDecay: 0.01},
		Schedule:  train.ScheduleConfig{Kind: train.Cosine, PerStep: true, WarmupEpochs: 1},
		Train:     data.TrainTransform(64),
		Eval:      data.EvalTransform(64),
		EMA:       0.999,
	}, train.Hooks{
		Epoch: func(e train.EpochInfo) { _ = lines.Epoch(e) },
		Save: func(kind string, s *train.Snapshot) error {
			if kind == train.KindBest {
				best = s
			}
			return nil
		},
	})
	if err != nil {
		return err
	}
	defer t.Close()
	if _, err := t.Run(ctx); err != nil {
		return err
	}
	return best.Apply(store) // the store now holds the best weights
}
