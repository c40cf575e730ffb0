package main

import (
	"io"
	"slices"
	"strconv"
	"strings"

	"github.com/potstill/potstill/distill/study"
)

// studyCmd is potstill study.
type studyCmd struct {
	Run    studyRunCmd    `cmd:"" help:"Run a study, or resume it."`
	Step   studyStepCmd   `cmd:"" help:"Do single steps of a study."`
	Export studyExportCmd `cmd:"" help:"Write a study's steps for GNU make, or for Slurm."`
	List   studyListCmd   `cmd:"" help:"List the built-in recipes."`
	Show   studyShowCmd   `cmd:"" help:"Print a recipe."`
}

// recipe returns the built-in recipe of that name, or the one in the file.
func recipe(name string) (*study.Recipe, error) {
	if slices.Contains(study.BuiltinNames(), name) {
		base, quick := strings.CutSuffix(name, study.QuickSuffix)
		return study.Builtin(base, quick)
	}
	return study.Load(name)
}

// studyListCmd is potstill study list.
type studyListCmd struct{ jsonFlag }

// Help is printed below the flags' summary.
func (studyListCmd) Help() string {
	return `Example:

    potstill study list`
}

// A studyInfo is a built-in recipe.
type studyInfo struct {
	Name  string `json:"name"`
	Title string `json:"title"`
	Steps int    `json:"steps"`
	Data  string `json:"data"` // "" where the user must name them
}

// Run lists the recipes.
func (c *studyListCmd) Run(a *app) error {
	var list []studyInfo
	rows := [][]string{{"name", "steps", "data", "title"}}
	for _, name := range study.BuiltinNames() {
		r, err := recipe(name)
		if err != nil {
			return err
		}
		i := studyInfo{Name: name, Title: r.Title, Steps: len(r.Steps), Data: r.Data.Source}
		list = append(list, i)
		if i.Data == "" {
			i.Data = "(--data)"
		}
		rows = append(rows, []string{i.Name, strconv.Itoa(i.Steps), i.Data, i.Title})
	}
	if c.JSON {
		return printJSON(a.out, list)
	}
	return table(a.out, rows)
}

// studyShowCmd is potstill study show.
type studyShowCmd struct {
	Name string `arg:"" name:"recipe" help:"hw7, hw7-quick, or a recipe's file."`
}

// Help is printed below the flags' summary.
func (studyShowCmd) Help() string {
	return `A recipe of your own starts best from a built-in one.

Example:

    potstill study show hw7-quick > mine.yaml`
}

// Run prints the recipe.
func (c *studyShowCmd) Run(a *app) error {
	r, err := recipe(c.Name)
	if err != nil {
		return err
	}
	_, err = io.WriteString(a.out, r.Text())
	return err
}
