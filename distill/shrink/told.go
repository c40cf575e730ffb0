package shrink

import (
	"fmt"
	"slices"
	"strings"
)

// Text says in a few words what was done to the net before.
func (t Trial) Text() string {
	if len(t.Moves) == 0 {
		return t.Name
	}
	return t.Name + ": " + strings.Join(movesText(t.Moves), ", ")
}

// movesText says what moves do, those of a kind together, in the order in which kinds
// occur.
func movesText(moves []Move) (parts []string) {
	var kinds []string
	at := make(map[string][]Move)
	for _, m := range moves {
		kind := m.Kind
		if kind == Bits {
			kind = fmt.Sprintf("to %d bits", m.Bits)
		}
		if !slices.Contains(kinds, kind) {
			kinds = append(kinds, kind)
		}
		at[kind] = append(at[kind], m)
	}
	for _, kind := range kinds {
		n, first := len(at[kind]), at[kind][0]
		switch {
		case first.Kind == Bits:
			parts = append(parts, counted(n, "layer", first.At)+" "+kind)
		case first.Kind == Width:
			parts = append(parts, counted(n, "width", "width of "+first.At)+" cut")
		case first.Kind == Size:
			parts = append(parts, fmt.Sprintf("images of height %d", at[kind][n-1].Size))
		case first.Kind == Rank:
			parts = append(parts, counted(n, "layer", first.At)+" taken apart")
		default:
			parts = append(parts, counted(n, "block", "block before "+first.At)+" gone")
		}
	}
	return parts
}

// counted names one thing and counts several.
func counted(n int, what, name string) string {
	if n == 1 {
		return name
	}
	return fmt.Sprintf("%d %ss", n, what)
}
