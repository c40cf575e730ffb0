package shrink

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	"github.com/potstill/potstill/distill/budget"
)

// The kinds of moves.
const (
	Width = "width" // units of a channel group go
	Bits  = "bits"  // the weight of a layer gets fewer bits
	Block = "block" // the branch beside a shortcut goes
)

// A Move is one change of a net.
type Move struct {
	Kind string `json:"kind" yaml:"kind"`
	// At is the channel group, the layer, or the sum at which the branch ends.
	At string `json:"at" yaml:"at"`
	// Keep are the units that stay, of a width, in the numbers of the net before.
	Keep []int `json:"keep,omitempty" yaml:"keep"`
	// Bits are those that the layer has from then on.
	Bits int `json:"bits,omitempty" yaml:"bits"`
	// Loss is the divergence, in nats, that it was estimated to cost.
	Loss float64 `json:"loss,omitempty" yaml:"loss"`
}

// A Trial is a net that was made, trained for a short time, and judged.
type Trial struct {
	Round int    `json:"round"`
	Name  string `json:"name"` // what the proposal was: together, widths, bits, block
	Moves []Move `json:"moves"`
	// Target is the share of the limits that it was made for: 1 is the budget.
	Target float64     `json:"target"`
	Cost   budget.Cost `json:"cost"`
	// Accuracy is that of the net as it would be written, on the validation images.
	Accuracy float64 `json:"val_accuracy"`
	Accepted bool    `json:"accepted"`
}

// A Journal is the account of a search: what a resumed one continues from.
type Journal struct {
	// Identity is what the search is of: settings, start net, data. A folder with
	// another one is refused.
	Identity string  `json:"identity"`
	Trials   []Trial `json:"trials"`
	Rounds   int     `json:"rounds"` // that are over
	Done     bool    `json:"done"`   // the search is over; the final training is next
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
	f, err := os.CreateTemp(dir, ".journal")
	if err != nil {
		return err
	}
	_, err = f.Write(append(text, '\n'))
	if err = errors.Join(err, f.Sync(), f.Close()); err == nil {
		err = os.Rename(f.Name(), filepath.Join(dir, journalFile))
	}
	if err != nil {
		return errors.Join(err, os.Remove(f.Name()))
	}
	return nil
}
