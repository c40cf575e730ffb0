package budget

import (
	"context"
	"errors"
	"fmt"

	"github.com/potstill/potstill/layers"
	"github.com/potstill/potstill/layers/checkpoint"
)

// mostBase bounds the base widths that Widest tries.
const mostBase = 1 << 12

// ErrInfeasible is what errors of Widest wrap where no width meets the limits.
var ErrInfeasible = errors.New("the budget cannot be met")

// Widest returns the largest base width (layers.Arch.Base) of a family whose net is
// within the limits, and what that costs: uniform scaling of all widths. make returns
// the net as it would be written, whatever its weights: what quant.Layout makes of
// drawn ones. Costs are taken to grow with the width: the base is found by doubling
// and bisection. Where time has a dip, a wider net than the one returned may meet a
// limit of it as well.
func (m *Meter) Widest(ctx context.Context, a layers.Arch, make func(layers.Arch) (*checkpoint.Checkpoint, error)) (base int, cost Cost, err error) {
	if !m.Limits.Any() {
		return 0, Cost{}, errors.New("the widest net under no limit has no end; give a budget")
	}
	at := func(b int) (Cost, error) {
		a.Base = b
		c, err := make(a)
		if err != nil {
			return Cost{}, fmt.Errorf("%s of base width %d: %w", a.Family, b, err)
		}
		return m.Cost(ctx, c)
	}
	lo, hi := 0, 1 // lo meets the limits, hi does not
	for ; hi <= mostBase; hi *= 2 {
		c, err := at(hi)
		if err != nil {
			return 0, Cost{}, err
		}
		if !m.Met(c) {
			if lo == 0 {
				return 0, c, fmt.Errorf("%s is not under %s at its narrowest, by a factor of %.3g: %w", a.Family, m.Limits, m.Excess(c), ErrInfeasible)
			}
			break
		}
		lo, cost = hi, c
	}
	hi = min(hi, mostBase+1)
	for hi-lo > 1 {
		mid := (lo + hi) / 2
		c, err := at(mid)
		if err != nil {
			return 0, Cost{}, err
		}
		if m.Met(c) {
			lo, cost = mid, c
		} else {
			hi = mid
		}
	}
	return lo, cost, nil
}
