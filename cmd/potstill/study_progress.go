package main

import "fmt"

// studyProgress shows a study's progress on the console.
type studyProgress struct {
	console *console
	open    map[string]*task // the steps under way
}

// Begin implements study.Progress.
func (p *studyProgress) Begin(step string, i, n, total int) {
	if p.open == nil {
		p.open = make(map[string]*task)
		p.console.end() // the images have been read
	}
	p.open[step] = p.console.start(fmt.Sprintf("[%d/%d] %s", i, n, step), total)
}

// Advance implements study.Progress.
func (p *studyProgress) Advance(step string, done int, note string) {
	if t := p.open[step]; t != nil {
		p.console.advanceTask(t, done, note)
	}
}

// End implements study.Progress.
func (p *studyProgress) End(step string, note string, cached bool) {
	t := p.open[step]
	if t == nil {
		return
	}
	delete(p.open, step)
	if cached {
		note += " (done before)"
	}
	p.console.finish(t, t.text+": "+note)
}
