package budget_test

import (
	"context"
	"fmt"
	"testing"
	"time"

	"github.com/potstill/potstill/distill/budget"
	"github.com/potstill/potstill/distill/eval"
	"github.com/potstill/potstill/distill/quant"
	"github.com/potstill/potstill/engine/cpu"
	"github.com/potstill/potstill/layers"
	"github.com/potstill/potstill/layers/checkpoint"
	"github.com/potstill/potstill/layers/checkpoint/checkpointtest"
)

// BenchmarkTable tells by how many percent the sum by the table misses the time of the
// whole net. The table is that of another candidate, with half of the channels in
// every second group; what is not in it is measured on the net.
func BenchmarkTable(b *testing.B) {
	for _, x := range []struct {
		family string
		size   int
		int8   bool
	}{{"mobilenet_v2", 128, false}, {"mlperf_resnet8", 32, false}, {"mlperf_resnet8", 32, true}, {"cnn-dwpw", 128, false}, {"cnn-dwpw", 28, false}} {
		b.Run(fmt.Sprintf("%s-%d-int8=%v", x.family, x.size, x.int8), func(b *testing.B) {
			backend, err := cpu.New(cpu.Options{})
			if err != nil {
				b.Fatal(err)
			}
			defer backend.Close()
			m, s := checkpointtest.Draw(b, layers.Arch{Family: x.family, Classes: 10}, 1)
			c := checkpointOf(m, s, x.size)
			other := halved(b, c)
			if x.int8 {
				c, other = layout(b, c), layout(b, other)
			}
			var whole, sum float64
			for b.Loop() {
				meter := budget.Meter{Backend: backend, Limits: budget.Limits{MS: 1, Batch: 1}}
				if _, err := meter.Cost(context.Background(), other); err != nil {
					b.Fatal(err)
				}
				cost, err := meter.Cost(context.Background(), c)
				if err != nil {
					b.Fatal(err)
				}
				l, err := eval.MeasureLatency(context.Background(), backend, c, eval.LatencyOptions{Batch: 1, Warm: 10, Runs: 100, Time: 300 * time.Millisecond})
				if err != nil {
					b.Fatal(err)
				}
				whole, sum = whole+1000*l.Percentile(0.5), sum+cost.MS
			}
			b.ReportMetric(whole/float64(b.N), "ms/whole")
			b.ReportMetric(sum/float64(b.N), "ms/table")
			b.ReportMetric(100*(sum/whole-1), "%error")
		})
	}
}

// halved returns the checkpoint with half of the channels in every second group.
func halved(b *testing.B, c *checkpoint.Checkpoint) *checkpoint.Checkpoint {
	groups, err := c.Net.Groups()
	if err != nil {
		b.Fatal(err)
	}
	keep := make(map[string][]int)
	for i, g := range groups {
		if n := g.Size; i%2 == 1 && n > 1 && g.Fixed == "" {
			for u := range n / 2 {
				keep[g.Name] = append(keep[g.Name], u)
			}
		}
	}
	out, err := c.Rewrite(layers.Select(keep))
	if err != nil {
		b.Fatal(err)
	}
	return out
}

// layout returns the checkpoint in integers.
func layout(b *testing.B, c *checkpoint.Checkpoint) *checkpoint.Checkpoint {
	out, err := quant.Layout(c, quant.Options{Scheme: quant.Int8})
	if err != nil {
		b.Fatal(err)
	}
	return out
}
