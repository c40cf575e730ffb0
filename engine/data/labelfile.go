package data

import (
	"bufio"
	"bytes"
	"encoding/csv"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"path"
	"slices"
	"strings"
	"unicode"

	"github.com/potstill/potstill/engine/data/classlist"

	"github.com/potstill/potstill/engine/data/picture"
)

// A labelFile is a table of pictures and their labels: CSV, TSV or JSON lines.
type labelFile struct {
	name string
	dir  string // the folder that it lies in; "." is the root
	part int    // the part that its name means, as train.csv's does, or partNone
	rows []labelRow

	guessed bool // the column of labels was found by leaving out the others
	split   bool // the column of parts is called split and nothing else is meant
}

type labelRow struct {
	line  int
	file  string
	label string
	split string // what the column for the part says
	part  int    // of split, or partNone
}

// The names of columns, as they are without spaces, "_" and "-", the best first.
var (
	fileColumns  = []string{"file", "filename", "filepath", "filenames", "filepaths", "path", "paths", "image", "images", "imagename", "imagepath", "imagefile", "imageid", "img", "imgname", "imgpath", "imgid", "picture", "photo", "id"}
	labelColumns = []string{"classname", "labelname", "categoryname", "label", "labels", "class", "classes", "category", "target", "classid", "labelid", "categoryid", "classindex", "labelindex", "y"}
	partColumns  = []string{"split", "set", "subset", "partition", "dataset", "phase"}
)

// column is a column's name in the form of the lists above.
func column(name string) string {
	return strings.ToLower(strings.NewReplacer(" ", "", "_", "", "-", "").Replace(name))
}

// columns finds those of a header; -1 are not there.
func (f *labelFile) columns(header []string) (file, label, part int) {
	find := func(names []string) int {
		for _, n := range names {
			if i := slices.IndexFunc(header, func(h string) bool { return column(h) == n }); i >= 0 {
				return i
			}
		}
		return -1
	}
	file, label, part = find(fileColumns), find(labelColumns), find(partColumns)
	if file >= 0 && label < 0 {
		label, f.guessed = other(len(header), file, part), true
	}
	f.split = part >= 0 && column(header[part]) == "split"
	return file, label, part
}

// other returns the only column of n that is neither a nor b, or -1.
func other(n, a, b int) int {
	at := -1
	for i := range n {
		switch {
		case i == a || i == b:
		case at >= 0:
			return -1
		default:
			at = i
		}
	}
	return at
}

// parseLabels reads a label file by its extension.
func parseLabels(t textFile) (*labelFile, error) {
	text, err := classlist.Text(t.b)
	if err != nil {
		return nil, err
	}
	f := &labelFile{name: t.name, dir: path.Dir(t.name), part: partOfName(t.name)}
	switch strings.ToLower(path.Ext(t.name)) {
	case ".jsonl", ".ndjson":
		err = f.readJSON(text)
	case ".tsv":
		err = f.readTable(text, '\t')
	default:
		err = f.readTable(text, separator(text))
	}
	if err == nil {
		err = f.check()
	}
	return f, err
}

// check looks at all rows together.
func (f *labelFile) check() error {
	distinct := map[string]bool{}
	parts := true
	for i := range f.rows {
		r := &f.rows[i]
		distinct[r.label] = true
		r.part = partOf(r.split)
		if r.part != partNone || r.split == "" {
			continue
		}
		if parts = false; f.split {
			return fmt.Errorf("line %d: the part %q is none of train, val and test", r.line, r.split)
		}
	}
	for i := range f.rows {
		if !parts { // a column of something else
			f.rows[i].part = partNone
		}
	}
	switch {
	case len(f.rows) == 0:
		return errors.New("it has no rows")
	case f.guessed && 2*len(distinct) > len(f.rows): // captions, or coordinates
		return errNoColumns
	}
	return nil
}

var errNoColumns = errors.New("it names no columns for files and labels (want a first line such as file,label)")

// partOfName tells which part a label file is of, as train.csv and val_labels.csv
// say.
func partOfName(file string) int {
	part := partNone
	for _, word := range strings.FieldsFunc(stem(file), func(r rune) bool { return !unicode.IsLetter(r) }) {
		if p := partOf(word); p != partNone {
			if part != partNone && part != p {
				return partNone // train_test_split.csv
			}
			part = p
		}
	}
	return part
}

// separator is the one of comma, semicolon and tab that the first line has most
// of.
func separator(text string) rune {
	line, _, _ := strings.Cut(text, "\n")
	best := ','
	for _, r := range ";\t" {
		if strings.Count(line, string(r)) > strings.Count(line, string(best)) {
			best = r
		}
	}
	return best
}

// readTable reads rows of columns, with a header or without one.
func (f *labelFile) readTable(text string, comma rune) error {
	r := csv.NewReader(strings.NewReader(text))
	r.Comma, r.FieldsPerRecord, r.LazyQuotes, r.TrimLeadingSpace, r.ReuseRecord = comma, -1, comma == '\t', true, true
	file, label, part := -1, -1, -1
	for n := 0; ; n++ {
		rec, err := r.Read()
		if err == io.EOF {
			return nil
		}
		var bad *csv.ParseError
		if errors.As(err, &bad) {
			return fmt.Errorf("line %d: %w", bad.Line, bad.Err)
		}
		if err != nil {
			return err
		}
		line, _ := r.FieldPos(0)
		if n == 0 {
			if file, label, part = f.columns(rec); file >= 0 && label >= 0 {
				continue
			}
			if file, label, part = guessed(rec); file < 0 || label < 0 {
				return errNoColumns
			}
		}
		if max(file, label) >= len(rec) {
			return fmt.Errorf("line %d has %d columns, fewer than the first", line, len(rec))
		}
		row := labelRow{line: line, file: rec[file], label: rec[label]}
		if part >= 0 && part < len(rec) {
			row.split = rec[part]
		}
		f.add(row)
	}
}

// guessed finds the columns by the first row of a table without a header: the
// file is the one with the name of a picture, the part the one that names a part.
func guessed(rec []string) (file, label, part int) {
	file = slices.IndexFunc(rec, picture.IsPicture)
	part = slices.IndexFunc(rec, func(s string) bool { return partOf(strings.TrimSpace(s)) != partNone })
	return file, other(len(rec), file, part), part
}

// readJSON reads an object a line.
func (f *labelFile) readJSON(text string) error {
	s := bufio.NewScanner(strings.NewReader(text))
	s.Buffer(nil, 16<<20)
	for line := 1; s.Scan(); line++ {
		if strings.TrimSpace(s.Text()) == "" {
			continue
		}
		var v map[string]any
		d := json.NewDecoder(bytes.NewReader(s.Bytes()))
		d.UseNumber()
		if err := d.Decode(&v); err != nil {
			return fmt.Errorf("line %d is no JSON object", line)
		}
		keys := make([]string, 0, len(v))
		for k := range v {
			keys = append(keys, k)
		}
		slices.Sort(keys)
		file, label, part := f.columns(keys)
		if file < 0 || label < 0 {
			return fmt.Errorf("line %d has no keys for a file and a label (want such as file and label)", line)
		}
		row := labelRow{line: line}
		for _, c := range []struct {
			to *string
			at int
		}{{&row.file, file}, {&row.label, label}, {&row.split, part}} {
			if c.at < 0 {
				continue
			}
			var err error
			if *c.to, err = cell(v[keys[c.at]]); err != nil {
				return fmt.Errorf("line %d: %w", line, err)
			}
		}
		f.add(row)
	}
	return s.Err()
}

// cell is a value as text.
func cell(v any) (string, error) {
	switch v := v.(type) {
	case nil:
		return "", nil
	case string:
		return v, nil
	case json.Number, bool:
		return fmt.Sprint(v), nil
	}
	return "", errors.New("a file or label is neither a text nor a number")
}

// add keeps a row. Numbers such as 3.0, which spreadsheets make, are integers.
func (f *labelFile) add(r labelRow) {
	r.file, r.label, r.split = strings.TrimSpace(r.file), strings.TrimSpace(r.label), strings.TrimSpace(r.split)
	if digits, ok := strings.CutSuffix(r.label, ".0"); ok && digits != "" && strings.Trim(digits, "0123456789") == "" {
		r.label = digits
	}
	if r.file != "" {
		f.rows = append(f.rows, r)
	}
}
