package report

import (
	"fmt"
	"strconv"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"

	"github.com/potstill/potstill/engine/metrics"
)

// dash stands for a figure that was not measured.
const dash = "–"

// commas writes n with thousands separators: 918038 becomes 918,038.
func commas(n int64) string { return metrics.Thousands(n) }

// count is commas, with a dash for zero.
func count(n int64) string {
	if n == 0 {
		return dash
	}
	return commas(n)
}

// percent writes a fraction in % with two decimals.
func percent(f float64) string { return strconv.FormatFloat(100*f, 'f', 2, 64) + " %" }

// percentOf is percent, with a dash for nil.
func percentOf(f *float64) string {
	if f == nil {
		return dash
	}
	return percent(*f)
}

// rate writes a throughput: two significant digits below ten, whole above.
func rate(f float64) string {
	switch {
	case f == 0:
		return dash
	case f < 9.95:
		return strconv.FormatFloat(f, 'f', 1, 64)
	}
	return commas(int64(f + 0.5))
}

// seconds writes a duration as a person would say it.
func seconds(s float64) string {
	d := time.Duration(s * float64(time.Second)).Round(time.Second)
	h, m, sec := int(d.Hours()), int(d.Minutes())%60, int(d.Seconds())%60
	switch {
	case s <= 0:
		return dash
	case s < 9.95:
		return fmt.Sprintf("%.1f s", s)
	case h > 0:
		return fmt.Sprintf("%s h %d min", commas(int64(h)), m)
	case m > 0:
		return fmt.Sprintf("%d min %d s", m, sec)
	}
	return fmt.Sprintf("%d s", sec)
}

// size writes bytes in round figures, with decimal units: 918 kB, 44.8 MB.
func size(b int64) string {
	switch {
	case b >= 10_000_000:
		return fmt.Sprintf("%.1f MB", float64(b)/1e6)
	case b >= 10_000:
		return fmt.Sprintf("%s kB", commas((b+500)/1000))
	}
	return commas(b) + " bytes"
}

// clean makes text safe for XML and for a terminal: control characters become
// spaces, and bytes that are no UTF-8 become U+FFFD.
func clean(s string) string {
	return strings.Map(func(c rune) rune {
		if unicode.IsControl(c) || c == 0xFFFE || c == 0xFFFF {
			return ' '
		}
		return c
	}, strings.ToValidUTF8(s, "\uFFFD"))
}

// shorten cuts s to at most n runes, in the middle: names that belong together
// often differ at their ends.
func shorten(s string, n int) string {
	if utf8.RuneCountInString(s) <= n {
		return s
	}
	r, tail := []rune(s), (n-1)/2
	return string(r[:n-1-tail]) + "…" + string(r[len(r)-tail:])
}

// plural writes "1 check" or "3 checks".
func plural(n int, one, many string) string {
	if n == 1 {
		return "1 " + one
	}
	return commas(int64(n)) + " " + many
}
