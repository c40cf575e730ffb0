package data

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path"
	"slices"
	"strings"

	"github.com/potstill/potstill/engine/data/classlist"
)

// NoLabels is the value of Options.Labels for going by folders and names alone.
const NoLabels = "none"

// labels are what label files say of a layout's pictures.
type labels struct {
	of     map[int]labeled // by item
	err    error           // two rows that contradict each other, or a name that is two pictures'
	rows   []rowsLeft      // that name no picture
	unread []string        // why other tables are no label files
}

type labeled struct {
	class string
	part  int // or partNone
	file  string
	line  int
}

// rowsLeft are rows of a label file whose pictures are not there.
type rowsLeft struct {
	file, first string
	n, of       int
}

// has reports whether any of the items has a label.
func (f *labels) has(items []int) bool {
	return slices.ContainsFunc(items, func(i int) bool { _, ok := f.of[i]; return ok })
}

// findLabels reads the label files of a source, or the one that is asked for.
func (l *layout) findLabels(lst *listing, want string) (*labels, error) {
	f := &labels{of: map[int]labeled{}}
	if want == NoLabels {
		return f, nil
	}
	tables := lst.texts
	if want != "" {
		t, err := namedTable(lst, want)
		if err != nil {
			return nil, fmt.Errorf("data: %s: %w", l.spec, err)
		}
		tables = []textFile{t}
	}
	var m *matcher
	for _, t := range tables {
		if !isLabelFile(t.name) && want == "" {
			continue
		}
		table, err := parseLabels(t)
		if err == nil {
			if m == nil {
				m = newMatcher(l)
			}
			m.match(f, table)
			continue
		}
		if want != "" {
			return nil, fmt.Errorf("data: the label file %s: %w", want, err)
		}
		f.unread = append(f.unread, fmt.Sprintf("%s is no label file: %v", t.name, err))
	}
	switch {
	case want == "":
	case f.err != nil:
		return nil, f.err
	case len(f.of) == 0:
		return nil, fmt.Errorf("data: the label file %s names no picture of %s", want, l.spec)
	}
	return f, nil
}

// namedTable is a file on disk or, by its name, of the source.
func namedTable(lst *listing, want string) (textFile, error) {
	b, err := os.ReadFile(want)
	if err == nil {
		return textFile{path.Base(strings.ReplaceAll(want, `\`, "/")), b}, nil
	}
	for _, t := range lst.texts {
		if t.name == want || path.Base(t.name) == want {
			return t, nil
		}
	}
	if errors.Is(err, fs.ErrNotExist) {
		return textFile{}, fmt.Errorf("no label file %q, there or on disk", want)
	}
	return textFile{}, fmt.Errorf("the label file: %w", err)
}

// A matcher finds the pictures that rows name. A row may give a picture's path
// from the root or from any folder above or below it, and may leave out the
// extension.
type matcher struct {
	*layout
	ends map[string][]int // by every end of a path that begins at a folder
}

func newMatcher(l *layout) *matcher {
	m := &matcher{layout: l, ends: map[string][]int{}}
	for i, it := range l.items {
		for end, ok := it.file, true; ok; _, end, ok = strings.Cut(end, "/") {
			key := classlist.Normalize(end)
			m.ends[key] = append(m.ends[key], i)
			key = strings.TrimSuffix(key, path.Ext(key))
			m.ends[key] = append(m.ends[key], i)
		}
	}
	return m
}

// match adds what a table says.
func (m *matcher) match(f *labels, t *labelFile) {
	lost := rowsLeft{file: t.name, of: len(t.rows)}
	for _, r := range t.rows {
		i, err := m.find(t, r)
		if err != nil && f.err == nil {
			f.err = err
		}
		if i < 0 {
			if lost.n++; lost.n == 1 {
				lost.first = r.file
			}
			continue
		}
		if r.label == "" {
			continue
		}
		e := labeled{r.label, r.part, t.name, r.line}
		if e.part == partNone && !m.split {
			e.part = t.part
		}
		if old, ok := f.of[i]; ok && old.class != e.class && f.err == nil {
			f.err = fmt.Errorf("data: %s: %s is of class %q by line %d of %s and %q by line %d of %s: leave one of them",
				m.spec, m.items[i].file, old.class, old.line, old.file, e.class, e.line, e.file)
		}
		f.of[i] = e
	}
	if lost.n > 0 && lost.n < lost.of {
		f.rows = append(f.rows, lost)
	}
}

// find returns the picture that a row names, or -1.
func (m *matcher) find(t *labelFile, r labelRow) (int, error) {
	name := path.Clean(strings.TrimLeft(strings.ReplaceAll(r.file, `\`, "/"), "/"))
	for strings.HasPrefix(name, "../") {
		name = name[3:]
	}
	name = classlist.Normalize(name)
	hits := m.ends[name]
	for end, ok := name, true; len(hits) == 0 && ok; { // a path from further up
		if _, end, ok = strings.Cut(end, "/"); ok {
			hits = slices.DeleteFunc(slices.Clone(m.ends[end]), func(i int) bool {
				file := classlist.Normalize(m.items[i].file)
				return file != end && strings.TrimSuffix(file, path.Ext(file)) != end
			})
		}
	}
	part := r.part
	if part == partNone {
		part = t.part
	}
	for _, keep := range []func(i int) bool{
		func(i int) bool { return below(m.items[i].file, t.dir) },
		func(i int) bool { return part == partNone || m.items[i].part == part },
		func(i int) bool { return classlist.Normalize(m.items[i].file) == name },
	} {
		if some := slices.DeleteFunc(slices.Clone(hits), func(i int) bool { return !keep(i) }); len(hits) > 1 && len(some) > 0 {
			hits = some
		}
	}
	switch len(hits) {
	case 0:
		return -1, nil
	case 1:
		return hits[0], nil
	}
	return -1, fmt.Errorf("data: %s: line %d of %s names %q, which may be %s or %s: write its path",
		m.spec, r.line, t.name, r.file, m.items[hits[0]].file, m.items[hits[1]].file)
}

// use gives the items the classes, and the parts, of the label file.
func (b *labeler) use(at []int) {
	from := ""
	for _, i := range at {
		e, ok := b.found.of[i]
		if !ok {
			b.left.add(whyUnlabeled, b.items[i].file)
			b.items[i].part = partNone
			continue
		}
		b.items[i].class, from = e.class, e.file
		if e.part != partNone {
			b.items[i].part = e.part
		}
		b.by[b.items[i].part] = byFile
	}
	if note := "the labels are those of " + from; !slices.Contains(b.notes, note) {
		b.notes = append(b.notes, note)
	}
	for _, r := range b.found.rows {
		b.notes = append(b.notes, fmt.Sprintf("%d of the %d rows of %s name no picture that is there (the first is %q)", r.n, r.of, r.file, r.first))
	}
	b.found.rows = nil
}

// compare notes where a label file that is not used contradicts the folders.
func (b *labeler) compare(at []int) {
	file := map[string]string{} // by the folders' class
	folder := map[string]string{}
	for _, i := range at {
		e, ok := b.found.of[i]
		if !ok {
			continue
		}
		c := b.items[i].class
		if was, ok := file[c]; ok && was != e.class || folder[e.class] != "" && folder[e.class] != c {
			b.notes = append(b.notes, fmt.Sprintf("%s gives %s another class (%q) than its folder or name (%q) and is not used: name it as the label file to go by it", e.file, b.items[i].file, e.class, c))
			return
		}
		file[c], folder[e.class] = e.class, c
	}
}
