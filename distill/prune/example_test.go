package prune_test

import (
	"fmt"
	"log"

	"github.com/potstill/potstill/distill/prune"
	"github.com/potstill/potstill/engine"
	"github.com/potstill/potstill/engine/ref"
	"github.com/potstill/potstill/layers"
	"github.com/potstill/potstill/layers/checkpoint"
)

// The study's table: one cut to 0.35 of the widths. The pruned checkpoint is
// then the Init of a fit.Job.
func ExampleSlim() {
	model, err := layers.New(layers.Arch{Family: "cnn-dwpw", Classes: 11})
	if err != nil {
		log.Fatal(err)
	}
	store := engine.NewStore(ref.New())
	defer store.Close()
	if err := model.Init(store, 1); err != nil {
		log.Fatal(err)
	}
	state, err := model.State(store)
	if err != nil {
		log.Fatal(err)
	}
	c := &checkpoint.Checkpoint{Net: model.Net(), State: state}
	pruned, report, err := prune.Slim(c, prune.Options{Mult: 0.35})
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println(pruned.Net.Arch().Widths, report.ParamsBefore, report.ParamsAfter)
	// Output: [16 32 64 44 44 44 89 89 256] 224011 52902
}
