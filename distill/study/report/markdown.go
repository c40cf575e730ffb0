package report

import (
	"fmt"
	"strconv"
	"strings"
)

// renderMarkdown returns report.md: GitHub's Markdown, with the chart beside
// it as chart.png.
func renderMarkdown(r *Results) []byte {
	var b strings.Builder
	para := func(s string) {
		if s != "" {
			b.WriteString(s + "\n\n")
		}
	}
	para("# " + escapeMD(clean(r.title())))
	para(escapeMD(r.summary()))
	if len(r.Checks) > 0 {
		para("## Checks")
		writeMDTable(&b, checksTable(r.Checks))
	}
	para("## Models")
	for _, t := range r.Tables() {
		para("### " + escapeMD(t.Title))
		writeMDTable(&b, t)
	}
	para(escapeMD(r.AccuracyNote()))
	if r.samePublished() {
		para(escapeMD(r.publishedNote()))
	}
	if links := r.links(); len(links) > 0 {
		for _, l := range links {
			fmt.Fprintf(&b, "- %s: %s\n", escapeMD(l.Model), l.markdown())
		}
		b.WriteString("\n")
	}
	for _, t := range r.moreTables() {
		para("### " + escapeMD(t.Title))
		writeMDTable(&b, t)
		para(escapeMD(t.Caption))
	}
	para("## Size against accuracy")
	para("![Model size against validation accuracy, one line per pruning rate](chart.png)")
	para(escapeMD(newSizeChart(r, true).note))
	if t := trainingTable(r); len(t.Rows) > 0 {
		para("## Training")
		para(r.firstSeed())
		writeMDTable(&b, t)
	}
	if len(r.Confusions) > 0 {
		para("## Confusion")
		para("Rows are true classes, columns predictions.")
	}
	for _, c := range r.Confusions {
		para("### " + escapeMD(r.nameOf(c.Step)))
		para(r.confusionCaption(c) + ".")
		writeMDTable(&b, r.confusionTable(c))
	}
	if len(r.Mistakes) > 0 {
		para("## Mistakes")
		writeMDTable(&b, r.mistakesTable())
	}
	para("## How it was made")
	for _, f := range r.facts() {
		fmt.Fprintf(&b, "- %s: %s\n", f.Name, escapeMD(f.Value))
	}
	b.WriteString("\n")
	para(fence(r.Command, "sh"))
	para(fence(r.Recipe, "yaml"))
	return []byte(strings.TrimRight(b.String(), "\n") + "\n")
}

func checksTable(checks []Check) Table {
	t := Table{Columns: []Column{{Name: "Check"}, {Name: "Wanted"}, {Name: "Measured"}, {Name: "Outcome"}}}
	for _, c := range checks {
		outcome := "failed"
		if c.Pass {
			outcome = "passed"
		}
		t.Rows = append(t.Rows, []string{clean(c.Name), clean(c.Want), clean(c.Got), outcome})
	}
	return t
}

func trainingTable(r *Results) Table {
	t := Table{Columns: []Column{{Name: "Step"}, {Name: "Epochs", Right: true}, {Name: "Best epoch", Right: true},
		{Name: "Best val. accuracy", Right: true}, {Name: "Last training loss", Right: true}, {Name: "Images/s", Right: true}}}
	for _, h := range r.Training {
		if len(h.Epochs) == 0 {
			continue
		}
		last, epoch, accuracy := h.Epochs[len(h.Epochs)-1], dash, dash
		if e := bestEpoch(h); e != nil {
			epoch, accuracy = strconv.Itoa(e.Epoch), percent(*e.ValAccuracy)
		}
		t.Rows = append(t.Rows, []string{r.nameOf(h.Step), commas(int64(len(h.Epochs))), epoch, accuracy,
			fmt.Sprintf("%.4f", last.TrainLoss), rate(last.ImagesPerSecond)})
	}
	return t
}

func (r *Results) confusionTable(c Confusion) Table {
	t := Table{Columns: []Column{{Name: "true \\ predicted"}}}
	classes := c.classes()
	for i, row := range c.Matrix {
		t.Columns = append(t.Columns, Column{Name: r.className(i), Right: true})
		cells := []string{r.className(i)}
		for _, n := range row {
			cells = append(cells, commas(int64(n)))
		}
		k := classes[i]
		t.Rows = append(t.Rows, append(cells, percentOf(k.Recall), percentOf(k.Precision), percentOf(k.F1)))
	}
	for _, name := range []string{"recall", "precision", "F1"} {
		t.Columns = append(t.Columns, Column{Name: name, Right: true})
	}
	return t
}

func (r *Results) mistakesTable() Table {
	t := Table{Columns: []Column{{Name: "Model"}, {Name: "File"}, {Name: "True"}, {Name: "Predicted"},
		{Name: "Probability", Right: true}}}
	for _, m := range r.Mistakes {
		t.Rows = append(t.Rows, []string{r.nameOf(m.Step), clean(m.File), clean(m.True), clean(m.Predicted), percent(m.Prob)})
	}
	return t
}

// writeMDTable writes t as a pipe table; a row's note follows its first cell.
func writeMDTable(b *strings.Builder, t Table) {
	b.WriteString("|")
	for _, c := range t.Columns {
		name := c.Name
		if c.Group != "" {
			name += ", " + c.Group
		}
		b.WriteString(" " + escapeMD(name) + " |")
	}
	b.WriteString("\n|")
	for _, c := range t.Columns {
		if c.Right {
			b.WriteString(" ---: |")
		} else {
			b.WriteString(" :--- |")
		}
	}
	b.WriteString("\n")
	for i, row := range t.Rows {
		b.WriteString("|")
		for j, cell := range row {
			cell = escapeMD(cell)
			if j == 0 && i < len(t.Notes) && t.Notes[i] != "" {
				cell += " (" + escapeMD(t.Notes[i]) + ")"
			}
			b.WriteString(" " + cell + " |")
		}
		b.WriteString("\n")
	}
	b.WriteString("\n")
}

// mdEscaper keeps text from being read as Markdown or HTML.
var mdEscaper = strings.NewReplacer(
	`\`, `\\`, `|`, `\|`, "`", "\\`", `*`, `\*`, `_`, `\_`, `[`, `\[`, `]`, `\]`, `#`, `\#`, `~`, `\~`,
	`&`, `&amp;`, `<`, `&lt;`, `>`, `&gt;`,
)

func escapeMD(s string) string { return mdEscaper.Replace(s) }

// fence is text as a code block, fenced by more backticks than it contains.
func fence(text, language string) string {
	text = strings.Trim(text, "\r\n")
	if strings.TrimSpace(text) == "" {
		return ""
	}
	ticks := "```"
	for strings.Contains(text, ticks) {
		ticks += "`"
	}
	return ticks + language + "\n" + text + "\n" + ticks
}
