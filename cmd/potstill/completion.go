package main

import (
	_ "embed"
	"fmt"
	"io"
	"reflect"
	"strings"

	"github.com/alecthomas/kong"

	"github.com/potstill/potstill/distill/study"
	"github.com/potstill/potstill/layers"
	"github.com/potstill/potstill/layers/checkpoint"
)

// completionCmd is potstill completion.
type completionCmd struct {
	Shell string `arg:"" enum:"bash,zsh,fish" help:"bash, zsh or fish."`
}

// Help is printed below the flags' summary.
func (completionCmd) Help() string {
	return `The script asks potstill itself what can stand at the cursor, so it need not be made again for a new version.

Examples:

    potstill completion bash > ~/.local/share/bash-completion/completions/potstill
    potstill completion zsh  > ~/.zfunc/_potstill       (a folder of $fpath)
    potstill completion fish > ~/.config/fish/completions/potstill.fish`
}

// The scripts call the program with completeWord.
var (
	//go:embed completion.bash
	bashScript string
	//go:embed completion.zsh
	zshScript string
	//go:embed completion.fish
	fishScript string
)

// Run prints the script.
func (c *completionCmd) Run(a *app) error {
	script := map[string]string{"bash": bashScript, "zsh": zshScript, "fish": fishScript}[c.Shell]
	_, err := io.WriteString(a.out, script)
	return err
}

// completeWord is the first argument when a shell's script asks what can stand
// at the cursor. The words before the cursor follow, and the last one is the one
// that is being typed.
const completeWord = "__complete"

// filesToo is the line that says that names of files can stand there too.
const filesToo = ":files"

// A candidate is what can stand at the cursor.
type candidate struct{ text, help string }

// complete writes a line for each candidate, its help behind a tab, and filesToo.
func complete(w io.Writer, app *kong.Application, words []string) error {
	found, files := candidates(app.Node, words)
	for _, c := range found {
		help, _, _ := strings.Cut(c.help, "\n")
		if _, err := fmt.Fprintf(w, "%s\t%s\n", c.text, help); err != nil {
			return err
		}
	}
	if files {
		_, err := fmt.Fprintln(w, filesToo)
		return err
	}
	return nil
}

// candidates returns what the last word can become, and whether it can be the
// name of a file.
func candidates(n *kong.Node, words []string) (found []candidate, files bool) {
	words = joined(words)
	if len(words) == 0 {
		words = []string{""}
	}
	last := words[len(words)-1]
	var wants *kong.Flag // the flag whose value comes next
	var given []string   // arguments
	flags := true
	for _, w := range words[:len(words)-1] {
		switch {
		case wants != nil:
			wants = nil
		case flags && w == "--":
			flags = false
		case flags && strings.HasPrefix(w, "-"):
			if f := flagOf(n, w); f != nil && !f.IsBool() && !strings.Contains(w, "=") {
				wants = f
			}
		default:
			if child := childOf(n, w); child != nil {
				n = child
			} else {
				given = append(given, w)
			}
		}
	}
	name, typed, ok := strings.Cut(last, "=")
	switch {
	case wants != nil:
		found, files = valuesOf(wants.Value, wants.PlaceHolder)
	case flags && ok && strings.HasPrefix(last, "--"):
		f := flagOf(n, name)
		if f == nil {
			return nil, false
		}
		found, files = valuesOf(f.Value, f.PlaceHolder)
		found = matching(found, typed)
		for i := range found {
			found[i].text = name + "=" + found[i].text
		}
		return found, files
	case flags && strings.HasPrefix(last, "-"):
		found = flagNames(n)
	default:
		found, files = argumentsOf(n, given)
	}
	return matching(found, last), files
}

// joined undoes what bash does to words: it takes = and : for words of their
// own.
func joined(words []string) (all []string) {
	glue := false // the next word belongs to the last one
	for i, w := range words {
		n := len(all)
		switch {
		case glue:
			all[n-1] += w
			glue = false
		case w == ":" && n > 0:
			all[n-1] += w
			glue = true
		case w != "=" || n == 0 || !strings.HasPrefix(all[n-1], "--"):
			all = append(all, w)
		case i == len(words)-1:
			all = append(all, "")
		}
	}
	return all
}

func matching(all []candidate, prefix string) (found []candidate) {
	for _, c := range all {
		if strings.HasPrefix(c.text, prefix) {
			found = append(found, c)
		}
	}
	return found
}

// flagOf finds the flag that a word gives.
func flagOf(n *kong.Node, word string) *kong.Flag {
	name, _, _ := strings.Cut(word, "=")
	for _, group := range n.AllFlags(false) {
		for _, f := range group {
			if name == "--"+f.Name || f.Short != 0 && name == "-"+string(f.Short) {
				return f
			}
			for _, alias := range f.Aliases {
				if name == "--"+alias {
					return f
				}
			}
		}
	}
	return nil
}

func flagNames(n *kong.Node) (all []candidate) {
	for _, group := range n.AllFlags(true) {
		for _, f := range group {
			all = append(all, candidate{"--" + f.Name, f.Help})
		}
	}
	return all
}

// childOf finds the command that a word names.
func childOf(n *kong.Node, word string) *kong.Node {
	for _, c := range n.Children {
		if c.Name == word {
			return c
		}
		for _, alias := range c.Aliases {
			if alias == word {
				return c
			}
		}
	}
	return nil
}

// argumentsOf returns the commands below n, or what its next argument can be.
func argumentsOf(n *kong.Node, words []string) (found []candidate, files bool) {
	for _, c := range n.Children {
		if !c.Hidden {
			found = append(found, candidate{c.Name, c.Help})
		}
	}
	given := len(words)
	if k := len(n.Positional); k > 0 && given >= k && n.Positional[k-1].IsSlice() {
		given = k - 1
	}
	if given < len(n.Positional) {
		if n.Positional[given].Name == "step" {
			return stepsOf(words[0]), false
		}
		more, ok := valuesOf(n.Positional[given], "")
		found, files = append(found, more...), ok
	}
	return found, files
}

// stepsOf returns the names of a recipe's steps.
func stepsOf(name string) (found []candidate) {
	r, err := recipe(name)
	if err != nil {
		return nil
	}
	for _, s := range r.Steps {
		found = append(found, candidate{s.Name(), s.Kind})
	}
	return found
}

// valuesOf returns what a flag's or an argument's value can be: what its type
// allows, and the words of its placeholder. The others are files, but for
// numbers.
func valuesOf(v *kong.Value, placeholder string) (found []candidate, files bool) {
	for _, s := range v.EnumSlice() {
		if s = strings.TrimSpace(s); s != "" {
			found = append(found, candidate{text: s})
		}
	}
	if len(found) > 0 {
		return found, false
	}
	add := func(words ...string) {
		for _, w := range words {
			found = append(found, candidate{text: w})
		}
	}
	for part := range strings.SplitSeq(placeholder, "|") {
		switch {
		case part == "FAMILY":
			add(layers.Families()...)
		case part == "cuda:N":
			add("cuda:0")
		case part != "" && part != "-" && part == strings.ToLower(part):
			add(part)
		}
	}
	families := func() {
		for _, g := range layers.FamilyGroups() {
			for _, f := range g.Families {
				found = append(found, candidate{f, g.Title})
			}
		}
	}
	switch v.Name {
	case "arch":
		families()
	case "model":
		if v.Flag == nil { // summary and explain take a family too
			families()
		}
		add(checkpoint.Builtin()...)
	case "teacher", "init":
		add(checkpoint.Builtin()...)
	case "data":
		add("builtin:fashion")
	case "recipe":
		add(study.BuiltinNames()...)
	case "command":
		return found, false
	}
	switch v.Target.Kind() {
	case reflect.String, reflect.Slice:
		return found, v.Name != "device" && v.Name != "against" && !numbers(v.Target.Type())
	}
	return found, false
}

// numbers reports whether t is a slice of other things than text.
func numbers(t reflect.Type) bool {
	return t.Kind() == reflect.Slice && t.Elem().Kind() != reflect.String
}
