package report

import (
	"bytes"
	"fmt"
	"html/template"
	"slices"
)

// shrinkPage is what the template of a search shows.
type shrinkPage struct {
	Title, Summary     string
	CSS                template.CSS
	Checks             []Check
	ChecksPassed       string
	Nets, Path, Layers tableView
	Differences        tableView
	HasNets, HasLayers bool
	Chart, LayerChart  template.HTML
	ChartNote          string
	Notes              []string
	Facts              []fact
	Command, Recipe    string
}

// renderShrink returns report.html of a search.
func renderShrink(s *Shrink) ([]byte, error) {
	css, err := templates.ReadFile("templates/report.css")
	if err != nil {
		return nil, err
	}
	svg, err := inlineSVG(newFrontChart(s), "Chart of every candidate's cost against its validation accuracy.")
	if err != nil {
		return nil, err
	}
	p := shrinkPage{
		Title: clean(s.Model) + " under " + clean(s.Budget), Summary: s.summary(), CSS: template.CSS(css), Checks: s.Checks(),
		Nets: viewOf(s.nets()), Differences: viewOf(s.differences()), Path: viewOf(s.path()), Layers: viewOf(s.layers()), HasNets: len(s.Nets) > 0, HasLayers: len(s.Layers) > 0,
		Chart: template.HTML(svg), Command: s.Command, Recipe: s.Recipe,
		ChartNote: fmt.Sprintf("%s trained for a short time and measured on %s validation images, on which the search decides.",
			plural(len(s.Candidates), "candidate was", "candidates were"), commas(int64(s.ValImages))),
	}
	if s.timed() {
		p.ChartNote += " " + wholeTimes
	}
	if p.HasLayers {
		svg, err := inlineSVG(newLayerChart(s), "Chart of the final net's layers: channels, bytes and time. The table holds the same figures.")
		if err != nil {
			return nil, err
		}
		p.LayerChart = template.HTML(svg)
	}
	passed := 0
	for _, c := range p.Checks {
		if c.Pass {
			passed++
		}
	}
	p.ChecksPassed = fmt.Sprintf("%d of %d met", passed, len(p.Checks))
	for _, n := range s.Notes {
		p.Notes = append(p.Notes, sentence(n))
	}
	for _, f := range []fact{
		{"Start net", s.Model}, {"Teacher", s.Teacher}, {"Data", s.Data}, {"Device", s.Device}, {"Seed", fmt.Sprint(s.Seed)}, {"Time", seconds(s.Seconds)},
	} {
		if f.Value = clean(f.Value); f.Value != "" && f.Value != dash {
			p.Facts = append(p.Facts, f)
		}
	}
	var b bytes.Buffer
	err = pageTemplate.ExecuteTemplate(&b, "shrink.html.tmpl", p)
	return b.Bytes(), err
}

// summary says in a sentence or two what came out.
func (s *Shrink) summary() string {
	if len(s.Nets) == 0 {
		return "The search has not come to an end."
	}
	n := s.Nets[0]
	text := fmt.Sprintf("The final net has %s bytes", commas(n.Bytes))
	if n.MS > 0 {
		text += " and takes " + msOf(n.MS)
	}
	switch {
	case n.TestAccuracy != nil:
		text += fmt.Sprintf("; it gets %s of the test images right", percent(*n.TestAccuracy))
	case n.ValAccuracy != nil:
		text += fmt.Sprintf("; it gets %s of the validation images right", percent(*n.ValAccuracy))
	}
	if slices.ContainsFunc(s.Checks(), func(c Check) bool { return !c.Pass }) {
		text += ". The budget is not met: this is the nearest net to it"
	}
	return text + "."
}
