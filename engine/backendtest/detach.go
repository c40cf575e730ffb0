package backendtest

import "github.com/potstill/potstill/engine"

func init() { register(detachCases) }

func detachCases() (cases []testCase) {
	for _, s := range [][]int{{}, {1}, {33, 31}, {2, 5, 7, 3}} {
		x := randn(s...)
		cases = append(cases, testCase{label: x.String(), op: engine.Detach{}, in: []input{x}})
	}
	return cases
}
