package data

import (
	"cmp"
	"fmt"
	"path"
	"slices"
	"strconv"
	"strings"

	"github.com/potstill/potstill/engine/data/classlist"
)

// assignClasses numbers the classes: as classes.txt has them, where it is there;
// in the study's naming by their numbers; else in the order of their names. Names
// are compared, and kept, in one normal form.
func (l *layout) assignClasses(lst *listing) error {
	file, list, err := l.classList(lst)
	if err != nil {
		return err
	}
	if l.numbers {
		l.numberedClasses()
	} else {
		l.namedClasses()
	}
	l.printed = l.classes
	if list != nil {
		if err := l.listedClasses(file, list); err != nil {
			return err
		}
	}
	if len(l.classes) > maxClasses {
		return fmt.Errorf("data: %s: %d classes, more than %d", l.spec, len(l.classes), maxClasses)
	}
	return nil
}

// classList returns the names in the classes.txt that is nearest to the root.
func (l *layout) classList(lst *listing) (file string, names []string, err error) {
	var best *textFile
	for i, t := range lst.texts {
		if isClassList(t.name) && (best == nil || strings.Count(t.name, "/") < strings.Count(best.name, "/")) {
			best = &lst.texts[i]
		}
	}
	if best == nil {
		return "", nil, nil
	}
	names, err = classlist.Parse(best.b)
	if err != nil {
		return "", nil, fmt.Errorf("data: %s: %s: %w", l.spec, best.name, err)
	}
	return best.name, names, nil
}

// listedClasses finds each picture's class in a list: by its name, or as a number
// counted from 0 where not all of them are names. A list that changes no label
// does not change the fingerprint.
func (l *layout) listedClasses(file string, list []string) error {
	index := classlist.NewIndex(list)
	byName := true
	for _, it := range l.items {
		_, ok := index.Name(it.class)
		byName = byName && ok
	}
	for i := range l.items {
		it := &l.items[i]
		at, ok := index.Name(it.class)
		if n, number := index.Number(it.class); number && !byName {
			at, ok = n, true
		}
		if at != it.label {
			l.printed = list
		}
		if !ok {
			return fmt.Errorf("data: %s: %s has the class %q, which is none of the %d in %s: add it there, or rename the class", l.spec, it.file, it.class, len(list), file)
		}
		it.label = at
	}
	l.classes, l.listed = list, true
	return nil
}

// namedClasses numbers the classes by name; labels that are all integers, and
// come from a label file, by their size. Class folders without any picture have
// a class too, so that they are not missed.
func (l *layout) namedClasses() {
	label := map[string]int{}
	numbers := !l.folders
	for _, it := range l.items {
		label[classlist.Normalize(it.class)] = 0
		if _, err := strconv.Atoi(it.class); err != nil {
			numbers = false
		}
	}
	for _, d := range l.dirs {
		if name := l.classFolder(d); name != "" && l.folders {
			label[classlist.Normalize(name)] = 0
		}
	}
	for c := range label {
		l.classes = append(l.classes, c)
	}
	slices.SortFunc(l.classes, func(a, b string) int {
		if numbers {
			x, _ := strconv.Atoi(a) // all are
			y, _ := strconv.Atoi(b)
			return cmp.Or(cmp.Compare(x, y), cmp.Compare(a, b))
		}
		return cmp.Compare(a, b)
	})
	for i, c := range l.classes {
		label[c] = i
	}
	for i := range l.items {
		l.items[i].label = label[classlist.Normalize(l.items[i].class)]
	}
}

// classFolder returns the class that a folder is for: a folder of the root's, or
// of the training part's if there are parts. It is "" for other folders.
func (l *layout) classFolder(dir string) string {
	switch parent, name := path.Split(dir); {
	case partOf(name) != partNone:
	case !l.split && parent == "":
		return name
	case l.split && parent != "" && partOf(strings.TrimSuffix(parent, "/")) == partTrain:
		return name
	}
	return ""
}

// numberedClasses names the labels 0 … max.
func (l *layout) numberedClasses() {
	last := 0
	for i := range l.items {
		it := &l.items[i]
		it.label, _ = strconv.Atoi(it.class) // it is one
		last = max(last, it.label)
	}
	for i := range last + 1 {
		l.classes = append(l.classes, strconv.Itoa(i))
	}
}
