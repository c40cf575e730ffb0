package backendtest

import (
	"fmt"
	"math"

	"github.com/potstill/potstill/engine"
)

func init() { register(channelShuffleCases) }

func channelShuffleCases() (cases []testCase) {
	for _, s := range [][]int{{1, 1, 1, 1}, {1, 3, 1, 3}, {3, 5, 7, 4}, {1, 31, 33, 6}, {2, 3, 5, 44}, {1, 7, 7, 116}, {3, 7, 7, 240},
		{1, 5, 3, 89}, {2, 2, 2, 1028}, {1, 30}, {7, 48}} {
		for groups := 1; groups <= s[len(s)-1]; groups++ {
			if c := s[len(s)-1]; c%groups == 0 && (c < 50 || groups < 10 || c/groups < 10) {
				cases = append(cases, channelShuffleOn(groups, s...))
			}
		}
	}
	return cases
}

// channelShuffleOn shuffles x of shape s, numbers that are no numbers among it.
func channelShuffleOn(groups int, s ...int) testCase {
	x := randn(s...).with(math.NaN(), math.Inf(-1))
	return testCase{label: fmt.Sprintf("%v_%d", x.Spec, groups), op: engine.ChannelShuffle{Groups: groups}, in: []input{x}}
}
