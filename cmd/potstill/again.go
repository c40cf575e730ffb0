package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/alecthomas/kong"
)

// commandFile is the file in a run's folder that holds the flags it was begun
// with, as a JSON array of the words of its command line.
const commandFile = "command.json"

// ofTheMoment lists flags that belong to a call, not to a run.
var ofTheMoment = []string{"resume", "force", "out", "json", "log-steps", "verbose"}

// again adds to the command line of a run that is resumed the flags that it was
// begun with, where they are not given again. Other command lines are returned as
// they are.
func (a *app) again(args []string) ([]string, error) {
	if len(args) == 0 || args[0] != "train" && args[0] != "distill" {
		return args, nil
	}
	i := slices.IndexFunc(a.grammar.Children, func(n *kong.Node) bool { return n.Name == args[0] })
	if i < 0 {
		return args, nil
	}
	node := a.grammar.Children[i]
	given := flagGroups(node, args[1:])
	if !slices.ContainsFunc(given, func(g flagGroup) bool { return g.name == "resume" }) {
		return args, nil
	}
	out := outFlags{Resume: true}
	for _, g := range given {
		if g.name == "out" {
			out.Out = g.value()
		}
	}
	if err := out.choose(a, "out/"+args[0]); err != nil {
		return nil, err
	}
	path := filepath.Join(out.Out, commandFile)
	text, err := os.ReadFile(path)
	if errors.Is(err, fs.ErrNotExist) {
		return args, nil // a run of an earlier version, or none
	}
	var begun []string
	if err == nil {
		err = json.Unmarshal(text, &begun)
	}
	if err != nil {
		return nil, fmt.Errorf("%s: the flags of the run cannot be read: %w; remove the file and give them again", path, err)
	}
	for _, g := range flagGroups(node, begun) {
		if !slices.ContainsFunc(given, func(h flagGroup) bool { return h.name == g.name }) && !slices.Contains(ofTheMoment, g.name) {
			args = append(slices.Clone(args), g.words...)
		}
	}
	return args, nil
}

// keepCommand writes the flags of the run into its folder.
func (a *app) keepCommand(dir string) error {
	if len(a.args) == 0 {
		return nil
	}
	i := slices.IndexFunc(a.grammar.Children, func(n *kong.Node) bool { return n.Name == a.args[0] })
	if i < 0 {
		return nil
	}
	words := []string{}
	for _, g := range flagGroups(a.grammar.Children[i], a.args[1:]) {
		if !slices.Contains(ofTheMoment, g.name) {
			words = append(words, g.words...)
		}
	}
	text, err := json.MarshalIndent(words, "", "\t")
	if err != nil {
		return err
	}
	return os.WriteFile(filepath.Join(dir, commandFile), append(text, '\n'), 0o666)
}

// A flagGroup is one flag on a command line.
type flagGroup struct {
	name  string   // of the flag, without its dashes and its aliases
	words []string // the flag with its value
}

// value is that of the flag.
func (g flagGroup) value() string {
	if _, v, ok := strings.Cut(g.words[0], "="); ok {
		return v
	}
	if len(g.words) > 1 {
		return g.words[1]
	}
	return ""
}

// flagGroups cuts a command line without positional arguments into its flags.
func flagGroups(n *kong.Node, args []string) (all []flagGroup) {
	names := make(map[string]*kong.Flag)
	for _, group := range n.AllFlags(false) {
		for _, f := range group {
			for _, name := range append([]string{f.Name}, f.Aliases...) {
				names["--"+name] = f
			}
			if f.Short != 0 {
				names["-"+string(f.Short)] = f
			}
		}
	}
	for i := 0; i < len(args); i++ {
		word, _, whole := strings.Cut(args[i], "=")
		g := flagGroup{name: word, words: args[i : i+1]}
		if f := names[word]; f != nil {
			g.name = f.Name
			if !whole && !f.IsBool() && i+1 < len(args) {
				g.words = args[i : i+2]
				i++
			}
		}
		all = append(all, g)
	}
	return all
}
