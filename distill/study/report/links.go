package report

import (
	"fmt"
	"net/url"
	"path"
	"strings"
)

// A rowLinks is the files of one model.
type rowLinks struct {
	Model string
	Files []link
}

// A link is a file, relative to the report.
type link struct{ Text, Path string }

// links lists the files of every model of the tables, of every seed.
func (r *Results) links() []rowLinks {
	var out []rowLinks
	for _, w := range r.distinct() {
		l := rowLinks{Model: clean(textOr(w.Name, w.Step))}
		for _, run := range w.Runs {
			seed := ""
			if len(w.Runs) > 1 {
				seed = fmt.Sprintf(", seed %d", run.Seed)
			}
			for _, file := range []string{run.File, run.Metrics} {
				if file != "" {
					l.Files = append(l.Files, link{clean(path.Base(file)) + seed, file})
				}
			}
		}
		if len(l.Files) > 0 {
			out = append(out, l)
		}
	}
	return out
}

// URL is the link's address, each element of the path escaped.
func (l link) URL() string {
	parts := strings.Split(l.Path, "/")
	for i, p := range parts {
		parts[i] = url.PathEscape(p)
	}
	return strings.Join(parts, "/")
}

func (l rowLinks) markdown() string {
	var parts []string
	for _, f := range l.Files {
		parts = append(parts, fmt.Sprintf("[%s](%s)", escapeMD(f.Text), f.URL()))
	}
	return strings.Join(parts, ", ")
}
