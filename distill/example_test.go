package distill_test

import (
	"context"
	"fmt"
	"log"

	"github.com/potstill/potstill/distill"
	"github.com/potstill/potstill/distill/eval"
	"github.com/potstill/potstill/distill/fit"
	"github.com/potstill/potstill/engine/cpu"
	"github.com/potstill/potstill/engine/data"
	"github.com/potstill/potstill/engine/train"
	"github.com/potstill/potstill/layers"
)

// A teacher is trained, and a student distilled from it, on a few pictures of
// clothes; without a Dir, nothing is written to disk.
func Example() {
	ctx := context.Background()
	backend, err := cpu.New(cpu.Options{})
	if err != nil {
		log.Fatal(err)
	}
	defer backend.Close()
	ds, err := data.Open(ctx, "builtin:fashion", data.Options{})
	if err != nil {
		log.Fatal(err)
	}
	defer ds.Close()
	ds.Train, ds.Val = ds.Train.Subset(100), ds.Val.Subset(50)

	plain, err := layers.Arch{Family: "cnn-plain", Base: 4, Classes: len(ds.Classes)}.Net()
	if err != nil {
		log.Fatal(err)
	}
	job := fit.Job{
		Net:  plain,
		Data: ds,
		Config: train.Config{
			Epochs: 1, Batch: 20, Shuffle: true,
			Optimizer: train.OptimizerConfig{LR: 1e-3, WeightDecay: 0.01}, // AdamW
			Train:     data.TrainTransform(28), Eval: data.EvalTransform(28),
		},
	}
	teacher, err := fit.Run(ctx, backend, job)
	if err != nil {
		log.Fatal(err)
	}
	if job.Net, err = (layers.Arch{Family: "cnn-dwpw", Base: 4, Classes: len(ds.Classes)}).Net(); err != nil {
		log.Fatal(err)
	}
	job.Teacher, job.KD = teacher.Best, distill.Settings{T: 20, Alpha: 0.5}
	student, err := fit.Run(ctx, backend, job)
	if err != nil {
		log.Fatal(err)
	}
	ev, err := eval.Evaluate(ctx, backend, student.Best, ds.Val, eval.Options{})
	if err != nil {
		log.Fatal(err)
	}
	logits, err := eval.Predict(ctx, backend, student.Best, []data.Image{ds.Val.Image(0)})
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println(student.Best.History[0].Kind, ev.N, ev.Top1 == student.Result.Best.ValAccuracy, len(logits[0]))
	// Output: distill 50 true 10
}
