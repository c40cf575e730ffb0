package study

import (
	"embed"
	"fmt"
	"os"
	"reflect"
	"slices"
	"strings"

	"github.com/potstill/potstill/distill/compress"
	"github.com/potstill/potstill/engine/yamldoc"

	_ "github.com/potstill/potstill/distill/lowrank" // methods that recipes name
	_ "github.com/potstill/potstill/distill/prune"
	_ "github.com/potstill/potstill/distill/quant"
)

// A RecipeError is a mistake in a recipe: where it stands, what it is, and what
// to do about it.
type RecipeError = yamldoc.Error

// A Recipe says what a study does: its steps, what they share, and the
// statements that it is to bear out. It comes from [Builtin] or [Load].
type Recipe struct {
	Study         string   `yaml:"study"`          // short name
	Title         string   `yaml:"title"`          // heading of the report
	PublishedData string   `yaml:"published_data"` // what the published figures were measured on
	Seed          uint64   `yaml:"seed"`           // of every step that names none; 1 if 0
	Seeds         int      `yaml:"seeds"`          // how many to run: seed, seed+1 and so on; 1 if 0
	Data          DataSpec `yaml:"data"`
	Defaults      Settings `yaml:"defaults"` // for every step that trains
	Steps         Steps    `yaml:"steps"`
	Checks        []Check  `yaml:"checks"`

	file    string
	text    string
	builtin string // the name under which it is built in
	source  *yamldoc.Source
}

// DataSpec says what is learned from, and how images come to the net.
type DataSpec struct {
	Source string    `yaml:"source"` // as data.Open takes it; may be left to the user
	Size   int       `yaml:"size"`   // height and width that the nets see
	Width  int       `yaml:"width"`  // width, where it is not size
	Resize int       `yaml:"resize"` // scale the shorter side first; 0: no
	Mean   []float64 `yaml:"mean"`   // normalization, per channel of pixels/255; none: no
	Std    []float64 `yaml:"std"`
	Limit  Limit     `yaml:"limit"`
}

// Limit bounds the images used, balanced over the classes; 0: all.
type Limit struct {
	Train int `yaml:"train"`
	Val   int `yaml:"val"`
	Test  int `yaml:"test" json:"-"` // no part of keys: nothing but figures depends on it
}

// The kinds of steps.
const (
	kindTrain    = "train"
	kindDistill  = "distill"
	kindEvaluate = "evaluate"
	kindImport   = "import"
	// Every compression method (package compress) is a kind too. Of prune, the
	// study knows chains, and of shrink that it trains by itself.
	kindPrune  = "prune"
	kindShrink = "shrink"
)

// A Step makes a model from data and other steps' models, or measures some.
type Step struct {
	name string
	Kind string `yaml:"kind"`

	// Of import: the model's file, of any format that checkpoint.Open takes.
	File string `yaml:"file"`
	// Of import: which of several nets in another program's file, as the command
	// line's --weights has it.
	Weights string `yaml:"weights"`
	// Of import: the size of the images of an ONNX file that leaves it open, as
	// in 3x224x224.
	Input string `yaml:"input"`

	// Of train and distill: the architecture, a family or the path of a net's
	// YAML file. The data give the classes. Of import: the file's, where it is
	// not found from the file.
	Arch   string `yaml:"arch"`
	Base   int    `yaml:"base"`
	Widths []int  `yaml:"widths"`

	// Of train: a model that is taken in place of training it.
	Pretrained Pretrained `yaml:"pretrained"`

	From    []string `yaml:"from"`    // the step whose model this starts from; several for evaluate
	Teacher []string `yaml:"teacher"` // of distill: the step, or steps, whose models teach
	Beside  []string `yaml:"beside"`  // of shrink: steps whose models its report has beside what is found

	// Of a compression method: its settings.
	method compress.Method

	// Of prune: a chain of prunes in place of one. Round k has Rate^k of the
	// first model's widths and starts from the round before.
	Rate   float64 `yaml:"rate"`
	Rounds []int   `yaml:"rounds"`

	// Of evaluate.
	Passes    int  `yaml:"passes"`    // over the images; the throughput is their median
	Confusion bool `yaml:"confusion"` // the matrix goes into the report
	Mistakes  int  `yaml:"mistakes"`  // so many pictures go into the report

	Settings

	// What the report shows of it.
	Rows  []Row  `yaml:"rows"`
	Curve string `yaml:"curve"` // of rounds: what the published curve looks like
}

// Pretrained names a model's file, as File of a step of kind import does, that a
// step takes in place of training its own where the study's images are of the
// source Data. On others the step is trained.
type Pretrained struct {
	Data string `yaml:"data"`
	File string `yaml:"file"`
}

// pretrained returns the steps of which those that name a model for images of the
// source import it.
func (all Steps) pretrained(source string) Steps {
	out := slices.Clone(all)
	for i, s := range out {
		if s.Pretrained.Data != "" && s.Pretrained.Data == source {
			out[i] = &Step{name: s.name, Kind: kindImport, File: s.Pretrained.File, Pretrained: s.Pretrained, Rows: s.Rows}
		}
	}
	return out
}

// Steps are the steps of a recipe, which are written under their names.
type Steps []*Step

// DecodeNode implements yamldoc.NodeDecoder.
func (s *Steps) DecodeNode(n *yamldoc.Node) error {
	return n.Each(func(name string, v *yamldoc.Node) error {
		step := &Step{name: name}
		*s = append(*s, step)
		if _, err := v.Key("kind", &step.Kind); err != nil {
			return err
		}
		kind, ok := compress.Find(step.Kind)
		if !ok {
			return v.Decode(step, others(reflect.TypeFor[Step]())...)
		}
		step.method = kind.New()
		settings := reflect.TypeOf(step.method).Elem()
		if err := v.Decode(step.method, others(settings)...); err != nil {
			return err
		}
		return v.Decode(step, others(reflect.TypeFor[Step](), yamldoc.Keys(settings)...)...)
	})
}

// stepKeys returns the keys that some kind of step takes.
func stepKeys() []string {
	all := yamldoc.Keys(reflect.TypeFor[Step]())
	for _, k := range compress.Kinds() {
		for _, key := range yamldoc.Keys(reflect.TypeOf(k.New()).Elem()) {
			if !slices.Contains(all, key) {
				all = append(all, key)
			}
		}
	}
	return all
}

// others returns the keys of steps that a type has no field for, and more.
func others(t reflect.Type, more ...string) []string {
	own := yamldoc.Keys(t)
	return append(slices.DeleteFunc(stepKeys(), func(key string) bool { return slices.Contains(own, key) }), more...)
}

// Name returns the step's name.
func (s *Step) Name() string { return s.name }

// Row is a line of a table of the report.
type Row struct {
	Table     string     `yaml:"table"`
	Name      string     `yaml:"name"`
	Method    string     `yaml:"method"`
	Notes     string     `yaml:"notes"`
	Published *Published `yaml:"published"`
}

// Published holds published figures, the accuracy as a fraction.
type Published struct {
	Bytes    int      `yaml:"bytes"`
	Accuracy *float64 `yaml:"accuracy"`
	Notes    string   `yaml:"notes"`
}

// Check is a statement about a figure of a step.
type Check struct {
	Name    string `yaml:"name"`
	Step    string `yaml:"step"`
	Metric  string `yaml:"metric"` // accuracy (the default: of the test part, or of the validation part where there is none), bytes or params
	AtLeast *Bound `yaml:"at_least"`
	AtMost  *Bound `yaml:"at_most"`
}

// Bound is a figure: Value; or the same metric of the step Of, times Share,
// plus Points hundredths.
type Bound struct {
	Of     string   `yaml:"of"`
	Share  *float64 `yaml:"share"`
	Points float64  `yaml:"points"`
	Value  *float64 `yaml:"value"`
}

//go:embed recipes/*.yaml
var recipes embed.FS

// Builtins returns the names of the recipes that are built in.
func Builtins() []string { return []string{"hw7"} }

// QuickSuffix marks the quick form of a built-in recipe in BuiltinNames.
const QuickSuffix = "-quick"

// BuiltinNames are the names of the built-in recipes in both forms.
func BuiltinNames() (names []string) {
	for _, name := range Builtins() {
		names = append(names, name, name+QuickSuffix)
	}
	return names
}

// Builtin returns the recipe that is built in under name; quick selects its
// form for a few minutes on two cores.
func Builtin(name string, quick bool) (*Recipe, error) {
	if !slices.Contains(Builtins(), name) {
		return nil, fmt.Errorf("no built-in recipe %q: there is %s; name a file to use a recipe of your own", name, strings.Join(Builtins(), ", "))
	}
	file := name + ".yaml"
	if quick {
		file = name + QuickSuffix + ".yaml"
	}
	text, err := recipes.ReadFile("recipes/" + file)
	if err != nil {
		return nil, err
	}
	r, err := Parse(file, text)
	if err == nil {
		r.builtin = name
	}
	return r, err
}

// Load reads the recipe in the file at path. What is wrong in it is a
// *RecipeError.
func Load(path string) (*Recipe, error) {
	text, err := os.ReadFile(path)
	if err != nil {
		return nil, fmt.Errorf("recipe %s: %w; name a recipe file or one of the built-in %s", path, bare(err), strings.Join(BuiltinNames(), ", "))
	}
	return Parse(path, text)
}

// Parse reads a recipe from its text; file is its name in errors.
func Parse(file string, text []byte) (*Recipe, error) {
	r := &Recipe{file: file, text: string(text)}
	d := yamldoc.Decoder{File: file, Document: "recipe", Empties: "it needs steps", Shared: "put what steps share under defaults"}
	var err error
	if r.source, err = d.Decode(text, r); err != nil {
		return nil, err
	}
	if r.Seed == 0 {
		r.Seed = 1
	}
	if r.Study == "" {
		return nil, r.errAt("study", "the recipe has no name; add a line such as study: mine")
	}
	if err := checkSeeds(r.Seeds); err != nil {
		return nil, r.errAt("seeds", "%v", err)
	}
	if _, err := r.plan(); err != nil {
		return nil, err
	}
	if err := r.validateChecks(); err != nil {
		return nil, err
	}
	return r, nil
}

// maxSeeds bounds how many seeds a study is run with.
const maxSeeds = 100

func checkSeeds(n int) error {
	if n < 0 || n > maxSeeds {
		return fmt.Errorf("a study is run with 1 to %d seeds, not %d", maxSeeds, n)
	}
	return nil
}

// Text returns the recipe as it was written.
func (r *Recipe) Text() string { return r.text }

// errAt returns the error for what stands at a path, or, where that is left
// out, at the nearest part around it.
func (r *Recipe) errAt(path, format string, args ...any) error {
	return r.source.Errorf(path, format, args...)
}

// step returns the step of that name.
func (r *Recipe) step(name string) *Step {
	for _, s := range r.Steps {
		if s.name == name {
			return s
		}
	}
	return nil
}
