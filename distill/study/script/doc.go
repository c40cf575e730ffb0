// Package script writes the steps of a study for other programs to run: as a
// makefile, or as a shell script that submits jobs to Slurm. Both say what each
// step needs, so that the programs do them in an order that works, several at a
// time. Paths and arguments may hold any characters but control characters.
package script

import (
	"bytes"
	"fmt"
	"path/filepath"
	"regexp"
	"strings"
	"unicode"
)

// Mark stands in the first two lines of every script.
const Mark = "# written by potstill study export"

// A Script is a study's steps as commands.
type Script struct {
	Study   string   // its short name
	Recipe  string   // where the recipe is from, for people
	Dir     string   // the folder in which the commands run, an absolute path
	Program string   // the name or the path of potstill
	Logs    string   // folder for what the jobs of Slurm write; made if need be
	Jobs    []Job    // each after those that it needs
	Report  []string // arguments of the command that is run when all jobs are done
}

// A Job is a command that does a step.
type Job struct {
	Step  string // letters, digits, - and _
	Seed  string // where the step is done with several seeds by jobs of their own
	Args  []string
	Needs []int // other jobs, by number
	Alone bool  // it measures times, and is to have a machine for itself
}

// name is the step's, with the seed if it has one.
func (j *Job) name() string {
	if j.Seed == "" {
		return j.Step
	}
	return j.Step + "." + j.Seed
}

// last returns the jobs that no other needs: where these are done, all are.
func (s *Script) last() (out []int) {
	needed := make(map[int]bool)
	for _, j := range s.Jobs {
		for _, k := range j.Needs {
			needed[k] = true
		}
	}
	for i := range s.Jobs {
		if !needed[i] {
			out = append(out, i)
		}
	}
	return out
}

// timed reports whether some job is to run alone.
func (s *Script) timed() bool {
	for _, j := range s.Jobs {
		if j.Alone {
			return true
		}
	}
	return false
}

// check reports what cannot be written.
func (s *Script) check() error {
	all := append([]string{s.Study, s.Dir, s.Program, s.Logs}, s.Report...)
	for _, j := range s.Jobs {
		all = append(all, j.Args...)
	}
	for _, text := range all {
		if strings.ContainsFunc(text, unicode.IsControl) {
			return fmt.Errorf("%q has a control character, which a script cannot hold; choose another name", text)
		}
	}
	if !filepath.IsAbs(s.Dir) {
		return fmt.Errorf("the folder %q of the commands is not an absolute path", s.Dir)
	}
	return nil
}

var plainWord = regexp.MustCompile(`^[A-Za-z0-9_./=:,+@%-]+$`)

// quote writes a word for a POSIX shell.
func quote(word string) string {
	if plainWord.MatchString(word) {
		return word
	}
	return "'" + strings.ReplaceAll(word, "'", `'\''`) + "'"
}

// Words writes arguments for a POSIX shell.
func Words(args []string) string {
	var out []string
	for _, a := range args {
		out = append(out, quote(a))
	}
	return strings.Join(out, " ")
}

// A writer of lines.
type lines struct{ bytes.Buffer }

func (l *lines) add(format string, args ...any) { fmt.Fprintf(l, format+"\n", args...) }
