package main

import (
	"fmt"
	"io"
	"strings"

	"github.com/alecthomas/kong"
)

// manCmd is potstill man.
type manCmd struct{}

// Help is printed below the flags' summary.
func (manCmd) Help() string {
	return `The page is made of the same texts as --help of every command.

Examples:

    potstill man | man -l -
    potstill man > ~/.local/share/man/man1/potstill.1`
}

// Run prints the page.
func (manCmd) Run(a *app) error {
	_, err := io.WriteString(a.out, manPage(a.grammar, theVersion()))
	return err
}

// manPage renders the grammar as a manual page, in the man macros of roff.
func manPage(app *kong.Application, version string) string {
	p := &page{}
	p.macro("TH", strings.ToUpper(app.Name), "1", "", app.Name+" "+version, "Potstill")
	p.macro("SH", "NAME")
	p.text(app.Name + " - train, distill and shrink image classifiers")
	p.macro("SH", "SYNOPSIS")
	p.macro("B", app.Name)
	p.text("COMMAND [ARGUMENTS] [FLAGS]")
	p.macro("SH", "DESCRIPTION")
	p.text("Figures go to standard output, as a table or, with --json, as JSON and nothing else; progress and remarks go to standard error.")
	p.macro("SH", "COMMANDS")
	for _, n := range app.Leaves(true) {
		p.command(n)
	}
	p.macro("SH", "EXIT STATUS")
	for _, s := range [][2]string{
		{"0", "Success."}, {"1", "A failure, which one line on standard error explains."},
		{"2", "The command line is not understood."},
		{"129, 130, 143", "SIGHUP, SIGINT or SIGTERM came; what can be saved was saved, and a line says how to resume. A second signal stops at once."},
	} {
		p.item(s[0], "", s[1])
	}
	p.macro("SH", "ENVIRONMENT")
	p.environment(app)
	return p.b.String()
}

// A page is roff under way.
type page struct{ b strings.Builder }

// macro writes a request with its arguments.
func (p *page) macro(name string, args ...string) {
	p.b.WriteString("." + name)
	for _, a := range args {
		p.b.WriteString(` "` + strings.ReplaceAll(roff(a), `"`, `\(dq`) + `"`)
	}
	p.b.WriteByte('\n')
}

// text writes paragraphs; lines that are indented are examples, and stay as they
// are.
func (p *page) text(s string) {
	example, empty := false, false
	for line := range strings.Lines(s) {
		line = strings.TrimRight(line, "\n ")
		if line == "" {
			empty = true
			continue
		}
		if code := strings.HasPrefix(line, "    "); code != example {
			if code {
				p.b.WriteString(".PP\n.RS 4\n.nf\n")
			} else {
				p.b.WriteString(".fi\n.RE\n.PP\n")
			}
			example = code
		} else if empty {
			p.b.WriteString(".PP\n")
		}
		empty = false
		line = roff(strings.TrimPrefix(line, "    "))
		if strings.HasPrefix(line, ".") || strings.HasPrefix(line, "'") {
			line = `\&` + line
		}
		p.b.WriteString(line + "\n")
	}
	if example {
		p.b.WriteString(".fi\n.RE\n")
	}
}

// item writes an entry of a list: a term, what it takes, and its text.
func (p *page) item(term, value, text string) {
	p.b.WriteString(".TP\n\\fB" + roff(term) + "\\fR")
	if value != "" {
		p.b.WriteString(" \\fI" + roff(value) + "\\fR")
	}
	p.b.WriteByte('\n')
	p.text(text)
}

// command writes the section of a command.
func (p *page) command(n *kong.Node) {
	title := n.Path()
	for _, v := range n.Positional {
		title += " " + v.Summary()
	}
	p.macro("SS", title)
	p.text(n.Help)
	for _, v := range n.Positional {
		p.item(v.Summary(), "", v.Help)
	}
	group := ""
	for _, f := range n.Flags {
		if f.Hidden {
			continue
		}
		if title := groupOf(f); title != group {
			group = title
			p.macro("PP")
			p.macro("I", group)
		}
		value := ""
		if !f.IsBool() {
			value = strings.Trim(f.FormatPlaceHolder(), `"`) // kong quotes defaults
		}
		p.item("--"+f.Name, value, f.Help)
	}
	if n.Detail != "" {
		p.macro("PP")
		p.text(n.Detail)
	}
}

// groupOf is the heading of a flag, "" for none.
func groupOf(f *kong.Flag) string {
	if f.Group == nil {
		return ""
	}
	return f.Group.Title
}

// environment lists the variables that stand for flags, and the others.
func (p *page) environment(app *kong.Application) {
	seen := make(map[string]bool)
	for _, n := range app.Leaves(true) {
		for _, f := range n.Flags {
			for _, name := range f.Envs {
				if !seen[name] {
					seen[name] = true
					p.item(name, "", fmt.Sprintf("The default of --%s.", f.Name))
				}
			}
		}
	}
	p.item("POTSTILL_CPU", "", "The CPU's instruction set, one of those that potstill devices lists.")
	p.item("POTSTILL_CUDA_PATH", "", "Folders in which CUDA's libraries are looked for first.")
}

// roff escapes a text.
func roff(s string) string {
	return strings.NewReplacer(`\`, `\e`, "-", `\-`, "'", `\(aq`, "`", `\(ga`, "^", `\(ha`, "~", `\(ti`).Replace(s)
}
