package budget_test

import (
	"context"
	"errors"
	"testing"

	"github.com/potstill/potstill/distill/budget"
	"github.com/potstill/potstill/distill/quant"
	"github.com/potstill/potstill/layers"
	"github.com/potstill/potstill/layers/checkpoint"
)

func TestWidest(t *testing.T) {
	ctx := context.Background()
	integers := func(a layers.Arch) (*checkpoint.Checkpoint, error) {
		return quant.Layout(drawn(t, a, 32), quant.Options{Scheme: quant.Int8})
	}
	arch := layers.Arch{Family: "mlperf_resnet8", Classes: 10}
	m := &budget.Meter{Limits: budget.Limits{Bytes: 98496, MACs: 50e6}}
	base, cost, err := m.Widest(ctx, arch, integers)
	if err != nil {
		t.Fatal(err)
	}
	if !m.Met(cost) || cost.Bytes < 60000 {
		t.Errorf("base %d costs %+v", base, cost)
	}
	arch.Base = base + 1
	c, err := integers(arch)
	if err != nil {
		t.Fatal(err)
	}
	if wider, err := m.Cost(ctx, c); err != nil || m.Met(wider) {
		t.Errorf("base %d is found, and %d costs %+v, %v", base, base+1, wider, err)
	}
	m.Limits = budget.Limits{Bytes: 1000}
	if _, nearest, err := m.Widest(ctx, arch, integers); !errors.Is(err, budget.ErrInfeasible) || nearest.Bytes <= 1000 {
		t.Errorf("under 1,000 bytes: %v, %+v", err, nearest)
	}
	m.Limits = budget.Limits{}
	if _, _, err := m.Widest(ctx, arch, integers); err == nil {
		t.Error("no limit has a widest net")
	}
}
