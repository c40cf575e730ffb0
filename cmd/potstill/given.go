package main

import (
	"cmp"
	"errors"
	"fmt"
	"regexp"
	"strings"

	"github.com/alecthomas/kong"
)

// given holds the names of the flags that the command line, or the environment,
// sets.
type given map[string]bool

// flagsOf returns the flags that are given.
func flagsOf(k *kong.Context) given {
	set := make(given)
	for _, p := range k.Path {
		if p.Flag != nil {
			set[p.Flag.Name] = true
		}
	}
	return set
}

// without refuses the first of the flags that is given, for it has no effect.
func (g given) without(why string, flags ...string) error {
	for _, f := range flags {
		if g[f] {
			return fmt.Errorf("--%s has no effect %s; leave it out", f, why)
		}
	}
	return nil
}

// AfterApply refuses flags without effect.
func (c *trainCmd) AfterApply(k *kong.Context) error {
	set := flagsOf(k)
	return cmp.Or(c.runFlags.check(set), c.imageFlags.check(set), c.initFlags.check(set))
}

// AfterApply refuses flags without effect.
func (c *distillCmd) AfterApply(k *kong.Context) error {
	set := flagsOf(k)
	if err := cmp.Or(c.runFlags.check(set), c.imageFlags.check(set), c.initFlags.check(set)); err != nil {
		return err
	}
	if c.Compare != "" {
		if len(c.Teacher) == 0 {
			return errors.New("--compare takes a teacher that is trained: name it with --teacher")
		}
		if err := set.without("with --compare, which writes nothing", "out", "resume", "force", "save-every", "log-steps", "kd", "T", "alpha"); err != nil {
			return err
		}
	} else if err := set.without("without --compare", "pilot-epochs", "pilot-seeds"); err != nil {
		return err
	}
	if c.KD != "" {
		if err := set.without("with --kd, which has the settings of each method, as in kd:T=4,alpha=0.9", "T", "alpha"); err != nil {
			return err
		}
	}
	if len(c.Teacher) > 0 {
		return set.without("with --teacher, which is trained already", "teacher-arch", "teacher-base", "teacher-epochs")
	}
	return nil
}

// check refuses settings of optimizers and schedules that are not chosen.
func (f runFlags) check(set given) error {
	var err error
	why := "with --optimizer " + f.Optimizer
	switch f.Optimizer {
	case "adamw", "adam":
		err = set.without(why+", only with sgd", "momentum", "nesterov")
	case "sgd":
		err = set.without(why+", only with adamw and adam", "betas", "eps")
	case "stale":
		err = set.without(why+", which moves no weight", "momentum", "nesterov", "betas", "eps", "weight-decay", "clip-norm", "accumulate")
	}
	if err != nil {
		return err
	}
	for _, s := range []struct {
		kind  string
		flags []string
	}{{"step", []string{"step-size", "gamma"}}, {"cosine", []string{"min-lr"}}, {"onecycle", []string{"max-lr"}}} {
		if f.Schedule != s.kind {
			if err := set.without(fmt.Sprintf("with --schedule %s, only with %s", f.Schedule, s.kind), s.flags...); err != nil {
				return err
			}
		}
	}
	if f.Warmup != 0 {
		return set.without("with --warmup, which gives the same in steps", "warmup-epochs")
	}
	return nil
}

// check refuses settings of augmentation where there is none of the kind.
func (f imageFlags) check(set given) error {
	if f.NoAugment {
		return set.without("with --no-augment", "flip", "rotation", "padding", "random-resized-crop", "jitter", "perspective", "rand-augment", "erase")
	}
	if len(f.RandomResize) > 0 {
		return set.without("with --random-resized-crop, which crops within the image", "padding")
	}
	return nil
}

// check refuses descriptions of a net where it is that of a file.
func (f initFlags) check(set given) error {
	if f.Init == "" {
		return nil
	}
	return set.without("with --init, whose file holds the net", "arch", "base", "widths", "gray")
}

var negative = regexp.MustCompile(`^-[0-9.]+(e[-+]?[0-9]+)?$`)

// withNegatives joins a negative number to the flag before it, for the parser
// takes "-1" for a flag: what is wrong with the number is then said by whoever
// knows what it is for.
func withNegatives(args []string) []string {
	var out []string
	for i, arg := range args {
		if n := len(out) - 1; i > 0 && negative.MatchString(arg) && strings.HasPrefix(out[n], "--") && !strings.Contains(out[n], "=") {
			out[n] += "=" + arg
			continue
		}
		out = append(out, arg)
	}
	return out
}
