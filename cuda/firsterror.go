package cuda

import "strings"

// firstError returns the line of a compiler's log that says what is wrong.
func firstError(log string) string {
	first := ""
	for line := range strings.Lines(log) {
		line = strings.TrimSpace(line)
		if first == "" {
			first = line
		}
		if lower := strings.ToLower(line); strings.Contains(lower, "error:") || strings.HasPrefix(lower, "error") {
			first = line
			break
		}
	}
	if r := []rune(first); len(r) > 300 {
		return string(r[:300]) + "…"
	}
	return first
}
