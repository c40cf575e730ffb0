package prune

import (
	"context"
	"slices"
	"strings"
	"testing"

	"github.com/potstill/potstill/distill/compress"
	"github.com/potstill/potstill/layers"
)

// TestWhole: in rounds, a ratio is one of the channels before the first, so that the
// last comes to the widths of one cut; a target that has been met is no error.
func TestWhole(t *testing.T) {
	for _, family := range []string{"resnet20", "shufflenet_v2_x0_5"} {
		c := drawn(t, layers.Arch{Family: family, Classes: 3, Base: 10})
		whole, err := WidthsOf(c.Net)
		if err != nil {
			t.Fatal(err)
		}
		for _, o := range []Options{{Ratio: 0.6}, {Ratio: 0.6, Rank: "global"}, {Ratio: 0.6, MaxRatio: 0.5}, {Ratio: 0.9, MaxRatio: 0.5, Rank: "global"}} {
			o.Whole = whole
			now, total := c, 0
			for k := 1; k <= 3; k++ {
				part := o
				part.Ratio = o.Ratio * float64(k) / 3
				now, _ = cutBy(t, now, part)
			}
			_, once := cutBy(t, c, o)
			got, err := WidthsOf(now.Net)
			if err != nil {
				t.Fatal(err)
			}
			for i, n := range got {
				total += once.WidthsAfter[i] - n
				if o.MaxRatio != 0 && 2*n < whole[i] {
					t.Errorf("%s %+v: %d of %d channels are left", family, o, n, whole[i])
				}
			}
			// Between groups, what a round has taken away changes what is the least.
			if total != 0 || o.Rank == "" && !slices.Equal(got, once.WidthsAfter) {
				t.Errorf("%s %+v: widths %v after three rounds, %v after one", family, o, got, once.WidthsAfter)
			}
		}
		half, _ := cutBy(t, c, Options{MACs: 0.5, Size: 64})
		_, again := cutBy(t, half, Options{MACs: float64(1 << 40), Size: 64, Whole: whole})
		if again.Costs.Before.MACs != again.Costs.After.MACs {
			t.Errorf("%s: a target that is met has cut %v", family, again.Costs)
		}
		for _, wrong := range [][]int{whole[1:], make([]int, len(whole))} {
			_, _, err := Cut(context.Background(), compress.Env{}, c, Options{Ratio: 0.5, Whole: wrong})
			if err == nil || !strings.Contains(err.Error(), "before the first cut") {
				t.Errorf("%s: error %v", family, err)
			}
		}
	}
}
