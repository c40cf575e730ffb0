package budget_test

import (
	"context"
	"path/filepath"
	"testing"

	"github.com/potstill/potstill/distill/budget"
	"github.com/potstill/potstill/distill/eval"
	"github.com/potstill/potstill/engine/cpu"
	"github.com/potstill/potstill/layers"
	"github.com/potstill/potstill/layers/checkpoint"
	"github.com/potstill/potstill/layers/checkpoint/checkpointtest"
)

func drawn(t *testing.T, a layers.Arch, size int) *checkpoint.Checkpoint {
	m, s := checkpointtest.Draw(t, a, 1)
	return checkpointOf(m, s, size)
}

func checkpointOf(m *layers.Model, s layers.StateDict, size int) *checkpoint.Checkpoint {
	return &checkpoint.Checkpoint{Net: m.Net(), State: s, Preprocess: checkpoint.Preprocess{Size: size}}
}

func TestCost(t *testing.T) {
	b, err := cpu.New(cpu.Options{Threads: 1})
	if err != nil {
		t.Fatal(err)
	}
	defer b.Close()
	c := drawn(t, layers.Arch{Family: "mlperf_resnet8", Classes: 10}, 32)
	limits, err := budget.Parse("1GB ram, 1s@2")
	if err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(t.TempDir(), "times.json")
	table, err := budget.OpenTable(path)
	if err != nil {
		t.Fatal(err)
	}
	m := budget.Meter{Backend: b, Limits: limits, Times: table}
	cost, err := m.Cost(context.Background(), c)
	if err != nil {
		t.Fatal(err)
	}
	size, err := checkpoint.Save(filepath.Join(t.TempDir(), "c.safetensors"), c)
	if err != nil || cost.Bytes != size {
		t.Errorf("%d bytes, the file has %d (%v)", cost.Bytes, size, err)
	}
	// MLPerf Tiny's net has 77,706 weights and biases of its layers; scales and shifts
	// of the batch norms behind seven of them, of 240 channels together, come to these.
	if cost.Params != 77706+2*240 || cost.MACs != 12501632 {
		t.Errorf("%d parameters and %d multiply-adds", cost.Params, cost.MACs)
	}
	// The largest layer of one image reads and makes 32x32x16 floats.
	if least := int64(2 * 32 * 32 * 16 * 4); cost.RAM < least || cost.RAM > 16*least {
		t.Errorf("%d bytes of memory, %d are needed by one layer", cost.RAM, least)
	}
	if n := table.Len(); n < 5 || !(cost.MS > 0) {
		t.Errorf("%g ms of %d times", cost.MS, n)
	}
	// Kept: another meter, with the table's file alone, tells the same to the bit.
	if err := table.Save(); err != nil {
		t.Fatal(err)
	}
	kept, err := budget.OpenTable(path)
	if err != nil {
		t.Fatal(err)
	}
	again, err := (&budget.Meter{Backend: b, Limits: limits, Times: kept}).Cost(context.Background(), c)
	if err != nil || again != cost {
		t.Errorf("with the kept table %+v, %v, want %+v", again, err, cost)
	}
	l, err := eval.MeasureLatency(context.Background(), b, c, eval.LatencyOptions{Batch: 2, Runs: 20})
	if err != nil {
		t.Fatal(err)
	}
	t.Logf("%.4g ms by the table, %.4g timed as a whole", cost.MS, 1000*l.Percentile(0.5))
	cold := budget.Meter{Limits: budget.Limits{MS: 1}}
	if _, err := cold.Cost(context.Background(), c); err == nil {
		t.Error("time without a device")
	}
	if plain, err := new(budget.Meter).Cost(context.Background(), c); err != nil || plain.MS != 0 || plain.RAM != 0 || plain.Bytes != size {
		t.Errorf("without limits: %+v, %v", plain, err)
	}
}

func TestLayers(t *testing.T) {
	b, err := cpu.New(cpu.Options{Threads: 1})
	if err != nil {
		t.Fatal(err)
	}
	defer b.Close()
	start := drawn(t, layers.Arch{Family: "mlperf_resnet8", Classes: 10}, 32)
	small := drawn(t, layers.Arch{Family: "mlperf_resnet8", Classes: 10, Base: 12}, 32)
	if small.State, err = checkpoint.Quantize(small.State, checkpoint.Float16); err != nil {
		t.Fatal(err)
	}
	m := budget.Meter{Backend: b, Limits: budget.Limits{MS: 1, Batch: 1}}
	all, err := m.Layers(context.Background(), start.Net, small)
	if err != nil {
		t.Fatal(err)
	}
	cost, err := m.Cost(context.Background(), small)
	if err != nil {
		t.Fatal(err)
	}
	var macs int64
	ms := 0.0
	for _, l := range all {
		macs, ms = macs+l.MACs, ms+l.MS
		if l.Bits != 16 || l.Before <= 0 || l.Kind == "Conv2d" && l.After*16 != l.Before*12 || l.Bytes == 0 {
			t.Errorf("%+v", l)
		}
	}
	if len(all) != 10 || macs != cost.MACs || ms <= 0 || ms > cost.MS {
		t.Errorf("%d layers with %d multiply-adds of %d, %g ms of %g", len(all), macs, cost.MACs, ms, cost.MS)
	}
	gone, err := m.Layers(context.Background(), drawn(t, layers.Arch{Family: "cnn-plain", Classes: 10, Base: 4}, 32).Net, small)
	if err != nil || len(gone) <= 10 || gone[len(gone)-1].After != 0 || gone[len(gone)-1].Before == 0 {
		t.Errorf("beside another net: %+v, %v", gone, err)
	}
}
