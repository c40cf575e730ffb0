package data

import (
	"fmt"
	"log/slog"
	"maps"
	"slices"

	"github.com/potstill/potstill/engine/data/picture"
)

// Remarks are the notes on pictures that were read although something is odd
// about them, counted by what they say. The zero value has none.
type Remarks map[string]*remark

type remark struct {
	files int
	first string // in the order of names
}

// Add counts the notes on a file.
func (r *Remarks) Add(file string, notes []picture.Note) {
	for _, n := range notes {
		if *r == nil {
			*r = make(Remarks)
		}
		m := (*r)[n.Text]
		if m == nil {
			m = &remark{first: file}
			(*r)[n.Text] = m
		}
		m.files++
		m.first = min(m.first, file)
	}
}

// Log tells each kind of note in one line, with the first of its files. Spec names
// the data; it may be empty.
func (r Remarks) Log(l *slog.Logger, spec string) {
	if l == nil {
		return
	}
	if spec != "" {
		spec += ": "
	}
	for _, text := range slices.Sorted(maps.Keys(r)) {
		m := r[text]
		others := ""
		if m.files > 1 {
			others = fmt.Sprintf(", and %d more", m.files-1)
		}
		l.Warn(fmt.Sprintf("%s%s: %s%s", spec, m.first, text, others))
	}
}
