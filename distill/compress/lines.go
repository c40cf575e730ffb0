package compress

import (
	"fmt"

	"github.com/potstill/potstill/engine/metrics"
)

// Share returns a line of a report: a count after the method, of what it was before, as
// "1,024 of 4,096 (25.0 %)".
func Share(name string, after, before int64) []string {
	return []string{name, fmt.Sprintf("%s of %s (%.1f %%)", metrics.Thousands(after), metrics.Thousands(before),
		100*float64(after)/float64(max(before, 1)))}
}

// Change writes what a count was before the method and is after it, as "4,096 → 1,024",
// or once if it is the same.
func Change(before, after int64) string {
	if before == after {
		return metrics.Thousands(before)
	}
	return metrics.Thousands(before) + " → " + metrics.Thousands(after)
}
