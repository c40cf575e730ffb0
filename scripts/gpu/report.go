package main

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"time"
)

// printed is how many characters are printed at most.
const printed = 10_000

// summary is the text of all parts so far, the verdicts last.
func (v *visit) summary() string {
	var b strings.Builder
	for _, r := range v.done {
		if len(r.Lines) > 0 {
			fmt.Fprintf(&b, "== %s\n%s\n", r.Part, strings.Join(r.Lines, "\n"))
		}
	}
	fmt.Fprintf(&b, "== verdicts, %s, %.0f s\n", v.begin.UTC().Format(time.DateTime), time.Since(v.begin).Seconds())
	for _, r := range v.done {
		fmt.Fprintf(&b, "%-10s %-8s %5.0f s  %s\n", r.Part, r.Verdict, r.Seconds, r.Why)
	}
	return b.String()
}

// cut leaves the end of a text, in whole lines.
func cut(text string, most int) string {
	if len(text) <= most {
		return text
	}
	const said = "(the beginning is in summary.txt)\n"
	rest := text[len(text)-most+len(said):]
	if _, after, ok := strings.Cut(rest, "\n"); ok {
		rest = after
	}
	return said + rest
}

// write writes the summary and the results, each whole or not at all.
func (v *visit) write() error {
	text, err := json.MarshalIndent(map[string]any{"begin": v.begin.UTC(), "rehearsal": v.rehearsal, "parts": v.done}, "", " ")
	if err != nil {
		return err
	}
	if err := v.log.Sync(); err != nil {
		return err
	}
	for name, content := range map[string][]byte{"summary.txt": []byte(v.summary()), "results.json": append(text, '\n')} {
		path := filepath.Join(v.out, name)
		if err := os.WriteFile(path+".new", content, 0o644); err != nil {
			return err
		}
		if err := os.Rename(path+".new", path); err != nil {
			return err
		}
	}
	return nil
}
