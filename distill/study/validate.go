package study

import (
	"cmp"
	"fmt"
	"reflect"
	"slices"
	"strings"

	"github.com/potstill/potstill/distill/compress"
	"github.com/potstill/potstill/distill/prune"
	"github.com/potstill/potstill/distill/shrink"
	"github.com/potstill/potstill/engine/yamldoc"
	"github.com/potstill/potstill/layers"
	"github.com/potstill/potstill/layers/checkpoint/onnxnet"
)

func (r *Recipe) validateData() error {
	d := r.Data
	if len(d.Mean) != len(d.Std) || len(d.Mean) != 0 && len(d.Mean) != 3 {
		return r.errAt("data.mean", "mean and std are three numbers each, or left out; here are %d and %d", len(d.Mean), len(d.Std))
	}
	return nil
}

// validateStep checks what can be said of a step alone.
func (r *Recipe) validateStep(s *Step) error {
	at := yamldoc.Join("steps", s.name)
	if !validName(s.name) {
		return r.errAt(at+"#", "the step's name %q becomes that of a folder: use letters, digits, - and _", s.name)
	}
	if s.method == nil && !slices.Contains(kinds(), s.Kind) {
		return r.errAt(yamldoc.Join(at, "kind"), "step %s is of kind %q; the kinds are %s", s.name, s.Kind, strings.Join(kinds(), ", "))
	}
	if err := r.validateKeys(s, at); err != nil {
		return err
	}
	for i, w := range s.Rows {
		if a := w.Published; a != nil && a.Accuracy != nil && !(*a.Accuracy >= 0 && *a.Accuracy <= 1) {
			return r.errAt(fmt.Sprintf("%s.rows[%d].published.accuracy", at, i), "an accuracy is a fraction between 0 and 1, not %g", *a.Accuracy)
		}
	}
	if s.Kind != kindEvaluate && len(s.From) > 1 {
		return r.errAt(yamldoc.Join(at, "from"), "step %s can start from one model, not from %d", s.name, len(s.From))
	}
	if p := s.Pretrained; (p.Data == "") != (p.File == "") {
		return r.errAt(yamldoc.Join(at, "pretrained"), "step %s: give both data:, the source of the images, and file:, the model that is taken on them in place of training", s.name)
	}
	switch s.Kind {
	case kindTrain, kindDistill:
		return r.validateArch(s, at)
	case kindImport:
		return r.validateImport(s, at)
	case kindPrune:
		return r.validatePrune(s, at)
	case kindEvaluate:
		if s.Passes < 0 || s.Passes > 1000 || s.Mistakes > 24 {
			return r.errAt(at, "passes go up to 1000 and mistakes to 24, not %d and %d", s.Passes, s.Mistakes)
		}
	}
	if m, ok := s.method.(*shrink.Method); ok && m.Start != "" {
		if len(s.From) > 0 {
			return r.errAt(yamldoc.Join(at, "start"), "step %s starts from the model of %s; remove start or from", s.name, s.From[0])
		}
		return r.validateMethod(s, at)
	}
	if len(s.From) == 0 {
		return r.errAt(at+"#", "step %s needs a model to work on; add from: and the name of a step", s.name)
	}
	if s.method != nil {
		return r.validateMethod(s, at)
	}
	return nil
}

// validateMethod reports settings of a compression method that make no sense, at the
// one without which they would, or at the first without which the error is another.
func (r *Recipe) validateMethod(s *Step, at string) error {
	err := s.method.Validate()
	if err == nil {
		return nil
	}
	var keys []string // those that are given
	for _, key := range yamldoc.Keys(reflect.TypeOf(s.method).Elem()) {
		if r.source.Has(yamldoc.Join(at, key)) {
			keys = append(keys, key)
		}
	}
	if len(keys) == 0 {
		return r.errAt(at+"#", "step %s: %v", s.name, err)
	}
	blamed := ""
	for _, key := range keys {
		other := without(s.method, key).Validate()
		if other == nil {
			blamed = key
			break
		}
		if blamed == "" && other.Error() != err.Error() {
			blamed = key
		}
	}
	return r.errAt(yamldoc.Join(at, cmp.Or(blamed, keys[0])), "step %s: %v", s.name, err)
}

// without returns a method's settings but for one key, which is left out.
func without(m compress.Method, key string) compress.Method {
	out := reflect.New(reflect.TypeOf(m).Elem())
	out.Elem().Set(reflect.ValueOf(m).Elem())
	for i := range out.Elem().NumField() {
		if out.Elem().Type().Field(i).Tag.Get("yaml") == key {
			out.Elem().Field(i).SetZero()
		}
	}
	return out.Interface().(compress.Method)
}

// validateKeys refuses keys that would have no effect.
func (r *Recipe) validateKeys(s *Step, at string) error {
	if s.Kind == kindImport && s.Pretrained.File != "" {
		return nil // its keys are those of the train step that it was
	}
	allowed := append([]string{"kind", "rows"}, kindKeys[s.Kind]...)
	if s.method != nil {
		allowed = append(append(allowed, "from"), yamldoc.Keys(reflect.TypeOf(s.method).Elem())...)
		if trains(s.Kind) {
			allowed = append(allowed, "teacher")
		}
	}
	if trains(s.Kind) {
		settings := yamldoc.Keys(reflect.TypeFor[Settings]())
		var without []string
		switch {
		case s.Kind == kindShrink:
			allowed = append(allowed, "beside")
			without = []string{"freeze", "lr_scale", "sparsity", "sparsity_by", "sparsity_growth"}
		case s.Kind != kindDistill && len(s.Teacher) == 0:
			without = []string{"kd", "dot", "temperature", "alpha", "teacher_precision", "teacher_shares"}
		}
		settings = slices.DeleteFunc(settings, func(k string) bool { return slices.Contains(without, k) })
		allowed = append(allowed, settings...)
	}
	for _, key := range stepKeys() {
		if k := yamldoc.Join(at, key) + "#"; r.source.Has(k) && !slices.Contains(allowed, key) {
			return r.errAt(k, "%q has no effect in a step of kind %s; remove it", key, s.Kind)
		}
	}
	return nil
}

func (r *Recipe) validateArch(s *Step, at string) error {
	if s.Kind == kindDistill && len(s.Teacher) == 0 {
		return r.errAt(at+"#", "step %s distills but names no teacher; add teacher: and the name of a step", s.name)
	}
	if len(s.From) > 0 {
		if s.Arch != "" || s.Base != 0 || s.Widths != nil {
			return r.errAt(at+"#", "step %s starts from the model of %s, which has its own arch, base and widths; remove these or from", s.name, s.From[0])
		}
		return nil
	}
	if s.Arch == "" {
		return r.errAt(at+"#", "step %s names no architecture; add arch: and a family, as resnet18 (potstill summary --help lists them), or a YAML file of a net", s.name)
	}
	if _, err := layers.Open(s.arch(2)); err != nil {
		return r.errAt(yamldoc.Join(at, "arch"), "step %s: %v", s.name, err)
	}
	return nil
}

func (r *Recipe) validateImport(s *Step, at string) error {
	if s.File == "" {
		return r.errAt(at+"#", "step %s imports no file; add file: and the path of a model", s.name)
	}
	if s.Arch != "" && !layers.IsYAML(s.Arch) && !slices.Contains(layers.Families(), s.Arch) {
		return r.errAt(yamldoc.Join(at, "arch"), "step %s: unknown model family %q; %s", s.name, s.Arch, layers.NearFamilies(s.Arch))
	}
	if s.Input != "" {
		if err := new(onnxnet.Options).UnmarshalText([]byte(s.Input)); err != nil {
			return r.errAt(yamldoc.Join(at, "input"), "step %s: %v", s.name, err)
		}
	}
	return nil
}

func (r *Recipe) validatePrune(s *Step, at string) error {
	chain := s.Rate != 0 || s.Rounds != nil
	o := s.method.(*prune.Options)
	switch {
	case chain && o.Ranked():
		return r.errAt(yamldoc.Join(at, "rate"), "step %s has rate and rounds, the study's chain by γ, beside a criterion; write a step for each round, from: the one before", s.name)
	case chain && (o.Mult != 0 || o.Widths != nil):
		return r.errAt(yamldoc.Join(at, "mult"), "step %s has both mult, for one prune, and rate and rounds, for a chain; choose", s.name)
	case chain && !(s.Rate > 0 && s.Rate < 1):
		return r.errAt(yamldoc.Join(at, "rate"), "step %s: the rate must lie between 0 and 1, not be %g", s.name, s.Rate)
	case chain && len(s.Rounds) == 0:
		return r.errAt(at+"#", "step %s has a rate but no rounds; add rounds: [1, 2, 3]", s.name)
	case !chain && !o.Ranked() && o.Widths == nil && !(o.Mult > 0 && o.Mult <= 1):
		return r.errAt(yamldoc.Join(at, "mult"), "step %s: mult must lie between 0 and 1, not be %g", s.name, o.Mult)
	}
	for i, k := range s.Rounds {
		if k < 1 || k > 1000 || i > 0 && k <= s.Rounds[i-1] {
			return r.errAt(fmt.Sprintf("%s.rounds[%d]", at, i), "rounds are ascending whole numbers from 1 to 1000; %d is out of line", k)
		}
	}
	if len(s.From) == 0 {
		return r.errAt(at+"#", "step %s needs a model to prune; add from: and the name of a step", s.name)
	}
	if chain {
		return nil
	}
	return r.validateMethod(s, at)
}

func validName(name string) bool {
	return name != "" && len(name) <= 64 && !strings.ContainsFunc(name, func(c rune) bool {
		return !(c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c >= '0' && c <= '9' || c == '-' || c == '_')
	})
}
