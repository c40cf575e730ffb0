package shrink

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	"github.com/potstill/potstill/distill/budget"
	"github.com/potstill/potstill/engine/atomicfile"
)

// A Trial is a net that was made, trained for a short time, and judged.
type Trial struct {
	Round int    `json:"round"`
	Name  string `json:"name"` // what the proposal was: together, widths, bits, block, ranks, size
	Moves []Move `json:"moves"`
	// Target is the share of the limits that it was made for: 1 is the budget.
	Target float64     `json:"target"`
	Cost   budget.Cost `json:"cost"`
	// TableMS is the time as the sum of the steps' by the table, once Cost has the time
	// of the whole program; both only under a limit of time.
	TableMS float64 `json:"table_ms,omitempty"`
	// Judged says that it has been trained, and that Accuracy, of the net as it would be
	// written on the validation images, is known.
	Judged   bool    `json:"judged"`
	Accuracy float64 `json:"val_accuracy"`
	Accepted bool    `json:"accepted"`
}

// A Journal is the account of a search: what a resumed one continues from.
type Journal struct {
	// Identity is what the search is of: settings, start net, data. A folder with
	// another one is refused.
	Identity string  `json:"identity"`
	Trials   []Trial `json:"trials"`
	Rounds   int     `json:"rounds"`          // that are over
	Extra    int     `json:"extra,omitempty"` // rounds beyond those that were asked for
	Done     bool    `json:"done"`            // the search is over; the final training is next
	// Longest is how many seconds a round took at most.
	Longest float64 `json:"longest"`
	// Float is the validation accuracy of the net that the last training in float32 has
	// left, as it would be written; 0 before.
	Float float64 `json:"float_val_accuracy,omitempty"`
	// Seconds is how long it took so far, by the clock.
	Seconds float64 `json:"seconds"`
}

const journalFile = "journal.json"

// readJournal reads that of a folder; nil if there is none.
func readJournal(dir string) (*Journal, error) {
	path := filepath.Join(dir, journalFile)
	text, err := os.ReadFile(path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	j := new(Journal)
	if err := json.Unmarshal(text, j); err != nil {
		return nil, fmt.Errorf("%s: %w; start the search anew in another folder", path, err)
	}
	return j, nil
}

// save replaces the journal of a folder at once.
func (j *Journal) save(dir string) error {
	text, err := json.MarshalIndent(j, "", "  ")
	if err != nil {
		return err
	}
	return atomicfile.Write(filepath.Join(dir, journalFile), append(text, '\n'), 0o666)
}
