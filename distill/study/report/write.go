package report

import (
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"

	"github.com/potstill/potstill/engine/atomicfile"
)

// Paths names the files that [WriteAll] wrote.
type Paths struct {
	JSON     string // results.json
	Markdown string // report.md
	HTML     string // report.html
	PNG      string // chart.png
	SVG      string // chart.svg
}

// output is one file: its content and where it goes.
type output struct {
	path    string
	content []byte
	temp    string
}

// WriteAll renders r into results.json, report.md, report.html, chart.png and
// chart.svg in dir, which it creates if need be, and replaces what files of
// those names are there.
//
// Everything is rendered before anything is written; each file is written
// beside its destination, flushed to disk, and renamed when all are complete. A
// failure removes what was written so far and returns an error that names the
// file. Results that hold a NaN, an infinity or anything else that
// [Results.Validate] refuses are not written at all.
func WriteAll(dir string, r *Results) (Paths, error) {
	if err := r.Validate(); err != nil {
		return Paths{}, err
	}
	p := Paths{
		JSON: filepath.Join(dir, "results.json"), Markdown: filepath.Join(dir, "report.md"),
		HTML: filepath.Join(dir, "report.html"), PNG: filepath.Join(dir, "chart.png"), SVG: filepath.Join(dir, "chart.svg"),
	}
	chart := newSizeChart(r, true)
	var files []*output
	for _, f := range []struct {
		path   string
		render func() ([]byte, error)
	}{
		{p.PNG, func() ([]byte, error) { return renderPNG(chart) }},
		{p.SVG, func() ([]byte, error) { return renderSVG(chart) }},
		{p.Markdown, func() ([]byte, error) { return renderMarkdown(r), nil }},
		{p.HTML, func() ([]byte, error) { return renderHTML(r) }},
		{p.JSON, func() ([]byte, error) { return renderJSON(r) }},
	} {
		content, err := f.render()
		if err != nil {
			return Paths{}, fmt.Errorf("report: rendering %s: %w", f.path, err)
		}
		files = append(files, &output{path: f.path, content: content})
	}
	if err := writeFiles(dir, files); err != nil {
		return Paths{}, err
	}
	return p, nil
}

// writeFiles makes the folder and writes all files, or none.
func writeFiles(dir string, files []*output) error {
	if err := os.MkdirAll(dir, 0o777); err != nil {
		return fmt.Errorf("report: making the folder %s: %w; choose another output folder", dir, bare(err))
	}
	return replaceAll(files, createTemp)
}

// replaceAll writes every file under a temporary name, made by create, and
// then renames all of them.
func replaceAll(files []*output, create func(path string) (tempFile, error)) (err error) {
	defer func() {
		if err == nil {
			return
		}
		for _, f := range files {
			if f.temp != "" {
				_ = os.Remove(f.temp)
			}
		}
	}()
	for _, f := range files {
		if info, statErr := os.Stat(f.path); statErr == nil && info.IsDir() {
			return fmt.Errorf("report: writing %s: a folder of that name is in the way", f.path)
		}
		if err := f.stage(create); err != nil {
			return fmt.Errorf("report: writing %s: %w; free some space or choose another output folder", f.path, bare(err))
		}
	}
	for _, f := range files {
		if err := os.Rename(f.temp, f.path); err != nil {
			return fmt.Errorf("report: moving %s into place: %w", f.path, bare(err))
		}
		f.temp = ""
	}
	return nil
}

// tempFile is what replaceAll needs of an *os.File.
type tempFile interface {
	io.WriteCloser
	Name() string
	Sync() error
}

// createTemp makes a new file next to path.
func createTemp(path string) (tempFile, error) { return atomicfile.Create(path, 0o666) }

// stage writes and flushes the temporary file of f.
func (f *output) stage(create func(path string) (tempFile, error)) error {
	t, err := create(f.path)
	if err != nil {
		return err
	}
	f.temp = t.Name()
	_, err = t.Write(f.content)
	if err == nil {
		err = t.Sync()
	}
	if closeErr := t.Close(); err == nil {
		err = closeErr
	}
	return err
}

// bare strips the path off an error of package os: the message around it names
// the file already.
func bare(err error) error {
	var pathError *os.PathError
	if errors.As(err, &pathError) {
		return pathError.Err
	}
	var linkError *os.LinkError
	if errors.As(err, &linkError) {
		return linkError.Err
	}
	return err
}
