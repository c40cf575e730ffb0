package script

import (
	"regexp"
	"strings"
)

// Make returns the makefile of a study, for any version of GNU make: a target
// step.NAME for each step, which stand for no files, and the target report, the
// first one, for all of them and the report. A step that is done with several seeds
// has a target step.NAME.SEED for each, too.
func (s *Script) Make() ([]byte, error) {
	if err := s.check(); err != nil {
		return nil, err
	}
	var l lines
	l.add("%s", Mark)
	l.add("# The study %q, of the recipe %q: make -j2 -f FILE does all steps, some at a time, and the report; make -f FILE step.NAME does", s.Study, s.Recipe)
	l.add("# one with what it needs. Nothing is done twice, here or elsewhere.")
	l.add("")
	l.add("POTSTILL ?= %s", value(quote(s.Program)))
	l.add("")
	var all, last []string
	for i := range s.Jobs {
		all = append(all, target(&s.Jobs[i]))
	}
	groups := s.groups()
	for _, g := range groups {
		all = append(all, "step."+g[0].Step)
	}
	for _, i := range s.last() {
		last = append(last, target(&s.Jobs[i]))
	}
	l.add(".PHONY: report %s", strings.Join(all, " "))
	l.add("")
	s.rule(&l, "report", last, s.Report)
	for i := range s.Jobs {
		j := &s.Jobs[i]
		var needs []string
		for _, k := range j.Needs {
			needs = append(needs, target(&s.Jobs[k]))
		}
		s.rule(&l, target(j), needs, j.Args)
	}
	for _, g := range groups {
		var of []string
		for _, j := range g {
			of = append(of, target(j))
		}
		l.add("step.%s: %s", g[0].Step, strings.Join(of, " "))
	}
	return l.Bytes(), nil
}

// groups returns the jobs of each step that has several.
func (s *Script) groups() (out [][]*Job) {
	at := make(map[string]int)
	for i := range s.Jobs {
		j := &s.Jobs[i]
		if j.Seed == "" {
			continue
		}
		k, ok := at[j.Step]
		if !ok {
			k = len(out)
			at[j.Step] = k
			out = append(out, nil)
		}
		out[k] = append(out[k], j)
	}
	return out
}

func target(j *Job) string { return "step." + j.name() }

// rule writes a target with its command, which is the program with arguments.
func (s *Script) rule(l *lines, target string, needs, args []string) {
	l.add("%s", strings.TrimSpace(target+": "+strings.Join(needs, " ")))
	l.add("\tcd %s && $(POTSTILL) %s", dollars(quote(s.Dir)), dollars(Words(args)))
	l.add("")
}

// dollars writes a text into a command of a makefile.
func dollars(text string) string { return strings.ReplaceAll(text, "$", "$$") }

var comment = regexp.MustCompile(`(\\*)#`)

// value writes a text as the value of a variable, in which # begins a comment
// unless a backslash stands before it.
func value(text string) string { return comment.ReplaceAllString(dollars(text), `${1}${1}\#`) }
