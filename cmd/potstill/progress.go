package main

import (
	"fmt"
	"io"
	"strings"
	"time"

	"github.com/rivo/uniseg"
	"github.com/schollz/progressbar/v3"
)

// A task is what the progress line tells of.
type task struct {
	text, note  string
	done, total int       // total is 0 where it is not known
	begun       time.Time // when the task was
	first       int       // what was done when it was first heard of
	since       time.Time // that moment

	told  time.Time     // when a line of the log was last written of it
	pause time.Duration // until the next
}

// advance notes how far the task is.
func (t *task) advance(now time.Time, done, total int, note string) {
	if t.since.IsZero() {
		// What comes first may have been done before, or in a moment that says
		// nothing.
		t.first, t.since = done, now
	}
	t.done, t.total, t.note = done, total, note
}

// left estimates the time to the end of the whole task; false where too little
// is known.
func (t *task) left(now time.Time) (time.Duration, bool) {
	n, d := t.done-t.first, now.Sub(t.since)
	if t.total <= 0 || n <= 0 || d < time.Second {
		return 0, false
	}
	return time.Duration(float64(d) / float64(n) * float64(max(t.total-t.done, 0))), true
}

// The columns of the bar.
const (
	leastBar = 8
	mostBar  = 24
)

// line renders the task in at most so many columns. What is least important is
// left out first: the bar, then the note; the text is cut last.
func (t *task) line(now time.Time, columns int) string {
	share, left := "", ""
	if t.total > 0 {
		share = fmt.Sprintf("  %d%%", 100*min(t.done, t.total)/t.total)
		if d, ok := t.left(now); ok {
			left = "  " + spoken(d) + " left"
		}
	} else if d := now.Sub(t.begun); d >= time.Second {
		left = "  " + spoken(d)
	}
	head := cut(t.text, columns-uniseg.StringWidth(share+left))
	spare := columns - uniseg.StringWidth(head+share+left)
	note := ""
	if w := uniseg.StringWidth(t.note) + 2; t.note != "" && w <= spare {
		note = "  " + t.note
		spare -= w
	}
	if n := min(spare-3, mostBar); t.total > 0 && n >= leastBar {
		share = "  " + t.bar(n)
	}
	return cut(head+share+left+note, columns)
}

// together renders tasks that are under way at the same time in at most so many
// columns. Of several only their shares are told and the times left; where these
// do not fit, what comes last is left out and counted.
func together(tasks []*task, now time.Time, columns int) string {
	if len(tasks) == 1 {
		return tasks[0].line(now, columns)
	}
	for _, times := range []bool{true, false} {
		if s := sideBySide(tasks, now, times); uniseg.StringWidth(s) <= columns {
			return s
		}
	}
	for n := len(tasks) - 1; n > 0; n-- {
		if s := fmt.Sprintf("%s | %d more", sideBySide(tasks[:n], now, false), len(tasks)-n); uniseg.StringWidth(s) <= columns {
			return s
		}
	}
	return cut(sideBySide(tasks, now, false), columns)
}

func sideBySide(tasks []*task, now time.Time, times bool) string {
	var parts []string
	for _, t := range tasks {
		s := t.text
		if t.total > 0 {
			s += fmt.Sprintf(" %d%%", 100*min(t.done, t.total)/t.total)
		}
		if d, ok := t.left(now); ok && times {
			s += ", " + spoken(d) + " left"
		}
		parts = append(parts, s)
	}
	return strings.Join(parts, " | ")
}

// bar draws the share that is done, as a percentage and as a bar of n columns.
func (t *task) bar(n int) string {
	b := progressbar.NewOptions(t.total, progressbar.OptionSetWriter(io.Discard), progressbar.OptionSetWidth(n),
		progressbar.OptionSetPredictTime(false), progressbar.OptionSetElapsedTime(false))
	_ = b.Set(min(t.done, t.total)) // nothing is written
	_ = b.RenderBlank()
	return strings.TrimSpace(b.String())
}

// report is the task in one line of a log.
func (t *task) report(now time.Time) string {
	text := t.text + ":"
	if t.total > 0 {
		text += fmt.Sprintf(" %d of %d (%d %%)", t.done, t.total, 100*min(t.done, t.total)/t.total)
		if d, ok := t.left(now); ok {
			text += ", " + spoken(d) + " left"
		}
	}
	if t.note != "" {
		text += ", " + t.note
	}
	return text
}

// cut shortens a text to so many columns.
func cut(s string, columns int) string {
	if uniseg.StringWidth(s) <= columns {
		return s
	}
	if columns < 1 {
		return ""
	}
	var b strings.Builder
	for g := uniseg.NewGraphemes(s); g.Next(); columns -= g.Width() {
		if g.Width() > columns-1 { // a column is for the ellipsis
			break
		}
		b.WriteString(g.Str())
	}
	return b.String() + "…"
}

// spoken writes a time in its two largest units.
func spoken(d time.Duration) string {
	d = d.Round(time.Second)
	switch {
	case d < time.Minute:
		return fmt.Sprintf("%d s", d/time.Second)
	case d < time.Hour:
		return fmt.Sprintf("%d min %d s", d/time.Minute, d%time.Minute/time.Second)
	case d < 48*time.Hour:
		return fmt.Sprintf("%d h %d min", d/time.Hour, d%time.Hour/time.Minute)
	}
	return fmt.Sprintf("%d days %d h", d/(24*time.Hour), d%(24*time.Hour)/time.Hour)
}
