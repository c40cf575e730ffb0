package train

import (
	"context"
	"testing"
)

func TestOptimizersAreTorchsOnCPU(t *testing.T) {
	onCPU(t, 2)
	TestOptimizersAreTorchs(t)
}

func TestResumeIsExactOnCPU(t *testing.T) {
	onCPU(t, 2)
	TestResumeIsExact(t)
}

func TestAStepAllocatesNothingOnCPU(t *testing.T) {
	onCPU(t, 2)
	TestAStepAllocatesNothing(t)
}

func TestThreadsDoNotMatter(t *testing.T) {
	ds := noisyData(t)
	var ends []*Snapshot
	for _, threads := range []int{1, 3} {
		onCPU(t, threads)
		var r recorder
		if _, err := start(t, ds, base(), 1, Hooks{Save: r.save}).Run(context.Background()); err != nil {
			t.Fatal(err)
		}
		ends = append(ends, r.final())
	}
	same(t, "1 and 3 threads", ends[0], ends[1])
}
