// Package compress is the table of compression methods: ways to make a smaller
// model of a model. A method is registered by its own package (prune, quant),
// under the name that steps of recipes give as their kind; the study and the
// command line call the same table.
package compress

import (
	"context"
	"fmt"
	"log/slog"
	"slices"
	"strings"

	"github.com/potstill/potstill/engine"
	"github.com/potstill/potstill/engine/data"
	"github.com/potstill/potstill/layers/checkpoint"
)

// Env is what a method may use beside the model. A method says what it needs of
// it; the rest may be zero.
type Env struct {
	Backend engine.Backend
	Data    *data.Dataset
	Dir     string // where a method may keep files of its own
	Log     *slog.Logger
}

// Train returns the training images, nil where there are none.
func (e Env) Train() *data.Split {
	if e.Data == nil {
		return nil
	}
	return e.Data.Train
}

// A Method makes a smaller model of one. It is a pointer to a struct of
// settings, whose fields have yaml tags: the keys of a recipe's step.
type Method interface {
	// Validate reports settings that make no sense, before any work is done.
	Validate() error
	// Apply returns a smaller copy of the model, which stays as it is, and what
	// was done. The copy has no metrics and no state of a training run, and its
	// history has one event more, as Derive makes it.
	Apply(ctx context.Context, env Env, c *checkpoint.Checkpoint) (*checkpoint.Checkpoint, Report, error)
}

// Timed reports whether a method measures times, which other work on the machine
// would falsify. One that does has a method Timed that says so.
func Timed(m Method) bool {
	t, ok := m.(interface{ Timed() bool })
	return ok && t.Timed()
}

// A Report tells what a method has done. Its JSON form is an interface.
type Report interface {
	// Lines are what a person is told: names and figures.
	Lines() [][]string
}

// A Kind is an entry of the table.
type Kind struct {
	// Name is that of the method, and of its steps in recipes. Aliases are
	// other spellings.
	Name    string
	Aliases []string
	// New returns the method with its default settings.
	New func() Method
	// Tuned says that the smaller model is to be trained again: a step of a
	// recipe does so.
	Tuned bool
}

var kinds []Kind

// Register adds an entry to the table. Two of one name are a programmer's error.
func Register(k Kind) {
	for _, name := range append([]string{k.Name}, k.Aliases...) {
		if _, ok := Find(name); ok {
			panic("compress: two methods are named " + name)
		}
	}
	kinds = append(kinds, k)
	slices.SortFunc(kinds, func(a, b Kind) int { return strings.Compare(a.Name, b.Name) })
}

// Find returns the entry of the given name or alias.
func Find(name string) (Kind, bool) {
	i := slices.IndexFunc(kinds, func(k Kind) bool { return k.Name == name || slices.Contains(k.Aliases, name) })
	if i < 0 {
		return Kind{}, false
	}
	return kinds[i], true
}

// Kinds returns the entries in the order of their names.
func Kinds() []Kind { return slices.Clone(kinds) }

// Failed adds to a method's error its name, and the model's file where it has one.
func Failed(method string, c *checkpoint.Checkpoint, err error) error {
	err = fmt.Errorf("%s: %w", method, err)
	if c.Path != "" {
		err = fmt.Errorf("%s: %w", c.Path, err)
	}
	return err
}

// Derive adds an event to the history of out, a model made of c: its kind, its
// details, and the fingerprint of c's file, where there is one.
func Derive(out, c *checkpoint.Checkpoint, kind, detail string) error {
	e := checkpoint.Event{Kind: kind, Detail: detail}
	if c.Path != "" {
		sum, err := checkpoint.Fingerprint(c.Path)
		if err != nil {
			return fmt.Errorf("%s: %w", c.Path, err)
		}
		e.Parent = sum
	}
	out.History = append(slices.Clone(c.History), e)
	return nil
}
