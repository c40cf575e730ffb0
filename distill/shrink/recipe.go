package shrink

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"

	"github.com/goccy/go-yaml"

	"github.com/potstill/potstill/distill/compress"
	"github.com/potstill/potstill/engine/atomicfile"
	"github.com/potstill/potstill/layers/checkpoint"
)

// RecipeFile is the name of the recipe beside the result.
const RecipeFile = "recipe.yaml"

// recipeVersion is that of the recipe's form.
const recipeVersion = 1

// A Recipe is what repeats a result without the search: the moves that were accepted,
// and how the net is trained between them and at the end.
type Recipe struct {
	Version  int      `json:"potstill_shrink"`
	Start    Source   `json:"start"`
	Teachers []Source `json:"teachers"`
	// Data is the fingerprint of the images.
	Data    string  `json:"data"`
	Options Options `json:"options"`
	Rounds  []Round `json:"rounds"`
}

// A Round is one of those that a search has accepted.
type Round struct {
	Round  int     `json:"round"`
	Name   string  `json:"name"`
	Target float64 `json:"target"`
	Moves  []Move  `json:"moves"`
}

// A Source is a net that a search began with, or was taught by.
type Source struct {
	File   string `json:"file,omitempty"` // its name, without folders
	SHA256 string `json:"sha256,omitempty"`
}

func sourceOf(c *checkpoint.Checkpoint) (Source, error) {
	if c.Path == "" {
		return Source{}, nil
	}
	sum, err := checkpoint.Fingerprint(c.Path)
	return Source{filepath.Base(c.Path), sum}, err
}

func fingerprints(all []Source) (sums []string) {
	for _, x := range all {
		sums = append(sums, x.SHA256)
	}
	return sums
}

// recipe returns that of what the search has accepted.
func (s *search) recipe() *Recipe {
	r := &Recipe{Version: recipeVersion, Start: s.sources[0], Teachers: s.sources[1:], Data: s.env.Data.Fingerprint, Options: s.o}
	r.Options.Train.Workers = 0
	for _, t := range s.journal.Trials {
		if t.Accepted && t.Name != "start" {
			r.Rounds = append(r.Rounds, Round{t.Round, t.Name, t.Target, t.Moves})
		}
	}
	return r
}

// save writes the recipe as YAML.
func (r *Recipe) save(path string) error {
	text, err := json.Marshal(r)
	if err != nil {
		return err
	}
	if text, err = yaml.JSONToYAML(text); err != nil {
		return fmt.Errorf("%s: %w", path, err)
	}
	head := "# Repeats what a search has found, without the search:\n#   potstill shrink --repeat " + RecipeFile + " --model … --teacher … --data …\n"
	return atomicfile.Write(path, append([]byte(head), text...), 0o666)
}

// mostRecipe bounds the size of a recipe.
const mostRecipe = 16 << 20

// ReadRecipe reads a recipe.
func ReadRecipe(path string) (*Recipe, error) {
	info, err := os.Stat(path)
	if err != nil {
		return nil, err
	}
	if info.Size() > mostRecipe {
		return nil, fmt.Errorf("%s: %d bytes are too many for a recipe of potstill shrink", path, info.Size())
	}
	text, err := os.ReadFile(path)
	if err != nil {
		return nil, err
	}
	r, err := parseRecipe(text)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	return r, nil
}

func parseRecipe(text []byte) (*Recipe, error) {
	const not = "it is no recipe of potstill shrink: "
	text, err := yaml.YAMLToJSON(text)
	if err != nil {
		return nil, errors.New(not + yaml.FormatError(err, false, false))
	}
	r := new(Recipe)
	d := json.NewDecoder(bytes.NewReader(text))
	d.DisallowUnknownFields()
	if err := d.Decode(r); err != nil {
		return nil, fmt.Errorf(not+"%w", err)
	}
	if r.Version != recipeVersion {
		return nil, fmt.Errorf(not+"its potstill_shrink is %d, want %d", r.Version, recipeVersion)
	}
	if err := r.Options.Validate(); err != nil {
		return nil, err
	}
	return r, nil
}

// Repeat makes the net of a recipe, in the folder env.Dir, from the same start net, under
// the same teachers, with the same images: the same file. Progress and Train.Workers are
// taken from o. What an earlier process has done in the folder is not done again.
func Repeat(ctx context.Context, env compress.Env, start *checkpoint.Checkpoint, teachers []*checkpoint.Checkpoint, r *Recipe, o Options) (*Outcome, error) {
	all := r.Options
	all.Progress, all.Train.Workers = o.Progress, o.Train.Workers
	s, err := newSearch(env, start, teachers, all.withDefaults())
	if err != nil {
		return nil, err
	}
	want := append([]Source{r.Start}, r.Teachers...)
	if len(want) != len(s.sources) {
		return nil, fmt.Errorf("shrink: the recipe was made under %d teachers, here are %d", len(want)-1, len(s.sources)-1)
	}
	for i, w := range want {
		if is := s.sources[i]; w.SHA256 != is.SHA256 {
			return nil, fmt.Errorf("shrink: the recipe was made with %s of sha256 %.12s…, and %s has %.12s…", w.File, w.SHA256, is.File, is.SHA256)
		}
	}
	if r.Data != env.Data.Fingerprint {
		return nil, errors.New("shrink: the recipe was made with other images; give the same --data, split in the same way")
	}
	if len(s.journal.Trials) == 0 {
		for _, x := range r.Rounds {
			s.journal.Trials = append(s.journal.Trials, Trial{Round: x.Round, Name: x.Name, Target: x.Target, Moves: x.Moves, Accepted: true})
		}
		s.journal.Done = true
		if err := s.save(); err != nil {
			return nil, err
		}
	}
	return s.run(ctx)
}
