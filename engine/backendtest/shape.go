package backendtest

import "github.com/potstill/potstill/engine"

func init() { register(shapeCases) }

func shapeCases() (cases []testCase) {
	for _, s := range imageShapes {
		x := randn(s...)
		cases = append(cases, testCase{label: x.String(), op: engine.Flatten{}, in: []input{x}},
			testCase{label: x.String(), op: engine.FlattenBackward{X: x.Spec}, in: []input{randn(s[0], s[1]*s[2]*s[3])}})
	}
	return cases
}
