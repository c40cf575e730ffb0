// Paired compares models on the same images: what each gets right, and which
// answers turn from right to wrong and back against the first.
//
//	go run ./scripts/paired DATA PART MODEL OTHER…
//
// PART is training, validation or testing. For each other model it prints its
// accuracy, what it loses against the first in points with the 95 % interval of
// the paired difference, McNemar's exact probability, and the flips.
package main

import (
	"context"
	"fmt"
	"log"
	"os"

	"github.com/potstill/potstill/distill/eval"
	"github.com/potstill/potstill/engine/cpu"
	"github.com/potstill/potstill/engine/data"
	"github.com/potstill/potstill/engine/metrics"
	"github.com/potstill/potstill/layers/checkpoint"
)

func main() {
	log.SetFlags(0)
	if len(os.Args) < 4 {
		log.Fatal("usage: paired DATA PART MODEL OTHER…")
	}
	if err := run(os.Args[1], os.Args[2], os.Args[3:]); err != nil {
		log.Fatal(err)
	}
}

func run(spec, part string, models []string) error {
	ctx := context.Background()
	ds, err := data.Open(ctx, spec, data.Options{Evaluate: true})
	if err != nil {
		return err
	}
	defer func() { _ = ds.Close() }()
	s := map[string]*data.Split{"training": ds.Train, "validation": ds.Val, "testing": ds.Test}[part]
	if s == nil {
		return fmt.Errorf("there are no %s images", part)
	}
	b, err := cpu.New(cpu.Options{})
	if err != nil {
		return err
	}
	defer func() { _ = b.Close() }()
	var first []bool
	for _, path := range models {
		c, err := checkpoint.Open(path, checkpoint.OpenOptions{})
		if err != nil {
			return err
		}
		right := make([]bool, s.Len())
		_, err = eval.Evaluate(ctx, b, c, s, eval.Options{Each: func(i int, logits []float32) error {
			best := 0
			for k, v := range logits {
				if v > logits[best] {
					best = k
				}
			}
			right[i] = best == s.Label(i)
			return nil
		}})
		if err != nil {
			return fmt.Errorf("%s: %w", path, err)
		}
		compare(path, first, right)
		if first == nil {
			first = right
		}
	}
	return nil
}

// compare prints a line of a model.
func compare(path string, first, right []bool) {
	hits := 0
	for _, r := range right {
		if r {
			hits++
		}
	}
	fmt.Printf("%-60s %6.2f %%", path, 100*float64(hits)/float64(len(right)))
	if first != nil {
		p := metrics.Pair(first, right)
		fmt.Printf("  %+.2f (95 %%: %+.2f to %+.2f)  right to wrong %d, back %d, p %.2g",
			100*p.Difference, 100*p.Interval.Low, 100*p.Interval.High, p.Lost, p.Won, p.P)
	}
	fmt.Println()
}
