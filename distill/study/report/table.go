package report

import (
	"fmt"
	"io"
	"strings"
	"unicode"

	"github.com/rivo/uniseg"
)

// Table is a group of rows, ready to be shown: every cell is text.
type Table struct {
	Title   string
	Columns []Column
	Rows    [][]string // one cell per column
	Notes   []string   // one per row, "" for none
	Caption string     // what is to be said of the whole
}

// Column is the heading of one column of a [Table].
type Column struct {
	Group string // heading above this column and its neighbors of the same group
	Name  string
	Right bool // figures: aligned at the right
}

// field makes one column of a table from rows.
type field struct {
	Column
	always bool // shown even where no row has it
	cell   func(Row) string
}

func (r *Results) fields() []field {
	title := strings.ToUpper(r.part()[:1]) + r.part()[1:] + " accuracy"
	fs := []field{
		{Column{"", "Model", false}, true, func(w Row) string { return textOr(w.Name, w.Step) }},
		{Column{"", "Method", false}, false, func(w Row) string { return textOr(w.Method, dash) }},
		{Column{"", "Parameters", true}, true, func(w Row) string { return count(w.Params) }},
		{Column{"", "Bytes", true}, true, func(w Row) string { return count(w.Bytes) }},
		{Column{"", title, true}, true, func(w Row) string { return withSpread(r.accuracy(w), r.spread(w)) }},
		{Column{"", "95 % interval", true}, false, func(w Row) string {
			if f := r.figures(w); f != nil {
				return interval(f.Interval)
			}
			return dash
		}},
	}
	if r.tested() {
		fs = append(fs, field{Column{"", "Validation", true}, false, func(w Row) string { return withSpread(w.ValAccuracy, w.ValSpread) }})
	}
	if r.samePublished() { // else they have a table of their own
		fs = append(fs, publishedFields("published")...)
	}
	return fs
}

// publishedFields are the columns of published figures under a common heading.
func publishedFields(group string) []field {
	return []field{
		{Column{group, "Bytes", true}, false, func(w Row) string {
			if w.Published == nil {
				return dash
			}
			return count(w.Published.Bytes)
		}},
		{Column{group, "Accuracy", true}, false, func(w Row) string {
			if w.Published == nil {
				return dash
			}
			return percentOf(w.Published.ValAccuracy)
		}},
	}
}

// Tables groups the rows by their Table field, in order of first appearance. A
// column that no row of a table has a figure for is left out of that table.
func (r *Results) Tables() []Table {
	var titles []string
	groups := map[string][]Row{}
	for _, w := range r.Rows {
		t := textOr(w.Table, "Results")
		if _, seen := groups[t]; !seen {
			titles = append(titles, t)
		}
		groups[t] = append(groups[t], w)
	}
	tables := make([]Table, 0, len(titles))
	for _, t := range titles {
		tables = append(tables, newTable(t, groups[t], r.fields()))
	}
	return tables
}

func newTable(title string, rows []Row, fields []field) Table {
	t := Table{Title: clean(title), Rows: make([][]string, len(rows))}
	for _, w := range rows {
		t.Notes = append(t.Notes, clean(w.Notes))
	}
	for _, f := range fields {
		cells, used := make([]string, len(rows)), f.always
		for i, w := range rows {
			cells[i] = clean(f.cell(w))
			used = used || cells[i] != dash
		}
		if !used {
			continue
		}
		t.Columns = append(t.Columns, f.Column)
		for i := range rows {
			t.Rows[i] = append(t.Rows[i], cells[i])
		}
	}
	return t
}

// samePublished reports whether the study ran on the data set of the published
// figures, so that the two may be compared. Case and punctuation do not count.
func (r *Results) samePublished() bool {
	return r.PublishedData != "" && letters(r.Data.Name) == letters(r.PublishedData)
}

func letters(s string) string {
	return strings.Map(func(c rune) rune {
		if unicode.IsLetter(c) || unicode.IsDigit(c) {
			return unicode.ToLower(c)
		}
		return -1
	}, s)
}

func textOr(s, instead string) string {
	if strings.TrimSpace(s) == "" {
		return instead
	}
	return s
}

// WriteTable writes t as aligned plain text for a terminal: its title, a
// heading, a rule, the rows, and the notes below.
func WriteTable(w io.Writer, t Table) error {
	widths := tableWidths(t)
	var b strings.Builder
	b.WriteString(clean(t.Title) + "\n\n")
	if line := groupLine(t.Columns, widths); line != "" {
		b.WriteString(line + "\n")
	}
	head, rule := make([]string, len(t.Columns)), make([]string, len(t.Columns))
	for i, c := range t.Columns {
		head[i], rule[i] = c.Name, strings.Repeat("─", widths[i])
	}
	for _, row := range append([][]string{head, rule}, t.Rows...) {
		b.WriteString(textLine(row, t.Columns, widths) + "\n")
	}
	gap := "\n"
	for i, n := range t.Notes {
		if n != "" && i < len(t.Rows) && len(t.Rows[i]) > 0 {
			fmt.Fprintf(&b, "%s%s: %s\n", gap, clean(t.Rows[i][0]), clean(n))
			gap = ""
		}
	}
	_, err := io.WriteString(w, b.String())
	return err
}

func textLine(cells []string, cols []Column, widths []int) string {
	var b strings.Builder
	for i := range cols {
		cell := ""
		if i < len(cells) {
			cell = clean(cells[i])
		}
		if i > 0 {
			b.WriteString("  ")
		}
		fill := strings.Repeat(" ", max(0, widths[i]-uniseg.StringWidth(cell)))
		if cols[i].Right {
			cell = fill + cell
		} else {
			cell += fill
		}
		b.WriteString(cell)
	}
	return strings.TrimRight(b.String(), " ")
}

// span is a run of neighboring columns of one group.
type span struct {
	Group       string
	First, Cols int
}

func spans(cols []Column) []span {
	var s []span
	for i, c := range cols {
		if n := len(s); n > 0 && s[n-1].Group == c.Group {
			s[n-1].Cols++
			continue
		}
		s = append(s, span{c.Group, i, 1})
	}
	return s
}

// tableWidths gives each column the width of its widest cell, and the last
// column of a group what the group's heading needs besides.
func tableWidths(t Table) []int {
	widths := make([]int, len(t.Columns))
	for i, c := range t.Columns {
		widths[i] = uniseg.StringWidth(c.Name)
		for _, row := range t.Rows {
			if i < len(row) {
				widths[i] = max(widths[i], uniseg.StringWidth(clean(row[i])))
			}
		}
	}
	for _, s := range spans(t.Columns) {
		if lack := uniseg.StringWidth(s.Group) - spanWidth(s, widths); lack > 0 {
			widths[s.First+s.Cols-1] += lack
		}
	}
	return widths
}

func spanWidth(s span, widths []int) int {
	n := 2 * (s.Cols - 1)
	for _, w := range widths[s.First : s.First+s.Cols] {
		n += w
	}
	return n
}

// groupLine is the line of group headings, or "" where there are none.
func groupLine(cols []Column, widths []int) string {
	var parts []string
	for _, s := range spans(cols) {
		fill := max(0, spanWidth(s, widths)-uniseg.StringWidth(s.Group))
		parts = append(parts, strings.Repeat(" ", fill)+s.Group)
	}
	line := strings.Join(parts, "  ")
	if strings.TrimSpace(line) == "" {
		return ""
	}
	return line
}
