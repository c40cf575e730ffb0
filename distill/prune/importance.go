package prune

import (
	"context"

	"github.com/potstill/potstill/distill/compress"
	"github.com/potstill/potstill/layers/checkpoint"
)

// Importance returns how much each unit of each group matters by the options'
// criterion: as many scores as the group has units, by its name. Groups that cannot
// be cut, or of whose channels the criterion says nothing, are left out. Targets
// and ratios have no effect.
func Importance(ctx context.Context, env compress.Env, c *checkpoint.Checkpoint, o Options) (map[string][]float64, error) {
	if err := c.Net.CheckState(c.State); err != nil {
		return nil, compress.Failed("prune", c, err)
	}
	groups, err := c.Net.Groups()
	if err != nil {
		return nil, compress.Failed("prune", c, err)
	}
	k := &cutter{env: env, c: c, o: o.withDefaults(), groups: groups, why: make(map[string]string)}
	stats, err := k.statistics(ctx)
	if err == nil {
		err = k.prepare(stats)
	}
	if err != nil {
		return nil, compress.Failed("prune", c, err)
	}
	scores := make(map[string][]float64, len(k.rank.candidates))
	for _, x := range k.rank.candidates {
		scores[x.Name] = x.score
	}
	return scores, nil
}
