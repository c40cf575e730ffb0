package data

import (
	"fmt"
	"log/slog"
	"maps"
	"slices"

	"github.com/potstill/potstill/engine/data/picture"
)

// remarks are the notes on pictures that were read although something is odd
// about them, counted by what they say.
type remarks map[string]*remark

type remark struct {
	files int
	first string // in the order of names
}

// add counts the notes on a file.
func (r *remarks) add(file string, notes []picture.Note) {
	for _, n := range notes {
		if *r == nil {
			*r = make(remarks)
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

// log tells each kind of note in one line.
func (r remarks) log(l *slog.Logger, spec string) {
	if l == nil {
		return
	}
	for _, text := range slices.Sorted(maps.Keys(r)) {
		m := r[text]
		others := ""
		if m.files > 1 {
			others = fmt.Sprintf(", and %d more", m.files-1)
		}
		l.Warn(fmt.Sprintf("%s: %s: %s%s", spec, m.first, text, others))
	}
}
