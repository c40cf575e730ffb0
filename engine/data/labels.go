package data

import (
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"unicode"

	"github.com/potstill/potstill/engine/data/classlist"
)

// A naming is where the pictures of a part have their classes from.
type naming int

const (
	byNothing naming = iota
	byFolder         // a folder a class
	byNumber         // the integer before "_": the study's
	byName           // the name before "_" and a number
	byFile           // a label file
)

// A labeler finds out the classes of a layout's pictures.
type labeler struct {
	*layout
	by    [numParts]naming
	why   [numParts]error           // why a part is named byNothing
	names [numParts]map[string]bool // the classes of each part
	found *labels
	force bool // the label file was asked for
}

// assignLabels gives every picture its class, part by part. Class folders, and
// numbers in names, go before a label file where they tell classes apart. Where
// they do not (one folder of all pictures, names that are no labels), the label
// file does.
func (l *layout) assignLabels(lst *listing, o Options) error {
	found, err := l.findLabels(lst, o.Labels)
	if err != nil {
		return err
	}
	b := &labeler{layout: l, found: found, force: o.Labels != "" && o.Labels != NoLabels}
	var parts [numParts][]int
	var firm [numParts]bool
	for p := range numParts {
		parts[p] = b.inPart(p)
		b.read(p)
	}
	for p := range numParts {
		firm[p] = b.firm(p)
	}
	for p, at := range parts {
		switch use := b.force || !firm[p]; {
		case len(at) == 0:
		case use && found.err != nil:
			return found.err
		case use && !found.has(at):
			b.notes = append(b.notes, found.unread...)
			found.unread = nil
		case use:
			b.use(at)
		case found.has(at):
			b.compare(at)
		}
	}
	for p := range numParts {
		b.count(p)
	}
	b.dropTest()
	l.items = slices.DeleteFunc(l.items, func(it item) bool { return it.part == partNone })
	return b.settle()
}

// inPart returns the items of a part, by number.
func (l *layout) inPart(part int) (at []int) {
	for i, it := range l.items {
		if it.part == part {
			at = append(at, i)
		}
	}
	return at
}

// read takes the classes of a part from folders or names.
func (b *labeler) read(part int) {
	at := b.inPart(part)
	flat, nested := -1, -1
	numbers, names := true, true
	for _, i := range at {
		it := &b.items[i]
		if class, _, ok := strings.Cut(inPart(it.file), "/"); ok {
			it.class, nested = class, i
			continue
		}
		if flat = i; numbers && studyLabel(it.file) < 0 {
			numbers = false
		}
		names = names && nameLabel(it.file) != ""
	}
	label := func(of func(string) string) {
		for _, i := range at {
			b.items[i].class = of(b.items[i].file)
		}
	}
	switch {
	case len(at) == 0:
	case flat >= 0 && nested >= 0:
		b.why[part] = fmt.Errorf("data: %s: some pictures lie in class folders (%s) and some do not (%s)", b.spec, b.items[nested].file, b.items[flat].file)
	case nested >= 0:
		b.by[part] = byFolder
	case numbers:
		b.by[part] = byNumber
		label(func(file string) string { return strconv.Itoa(studyLabel(file)) })
	case names:
		b.by[part] = byName
		label(nameLabel)
	default:
		i := at[slices.IndexFunc(at, func(i int) bool { return studyLabel(b.items[i].file) < 0 })]
		b.why[part] = b.unnamed(b.items[i].file)
	}
	b.count(part)
	if b.by[part] == byName && 2*len(b.names[part]) > len(at) { // names of their own
		b.by[part], b.why[part] = byNothing, b.unnamed(b.items[at[0]].file)
	}
}

// count notes the classes of a part.
func (b *labeler) count(part int) {
	b.names[part] = map[string]bool{}
	for _, i := range b.inPart(part) {
		b.names[part][classlist.Normalize(b.items[i].class)] = true
	}
}

// unnamed is the error of a picture without a class.
func (b *labeler) unnamed(file string) error {
	text := fmt.Sprintf("data: %s: no class in the name %q (want a folder for each class, <class>_<n>.jpg as in 3_17.jpg, or a label file such as labels.csv)", b.spec, file)
	for _, why := range b.found.unread {
		text += "; " + why
	}
	return errors.New(text)
}

// firm reports whether folders or numbers tell a part's classes apart: there are
// several of them, or the one is a class of another part that has several.
func (b *labeler) firm(part int) bool {
	if b.by[part] != byFolder && b.by[part] != byNumber {
		return false
	}
	if len(b.names[part]) > 1 {
		return true
	}
	for p := range numParts {
		for name := range b.names[part] {
			if p != part && len(b.names[p]) > 1 && b.names[p][name] {
				return true
			}
		}
	}
	return false
}

// dropTest leaves the test part out where nothing labels its pictures, as
// competitions publish them: no names or one folder that is no class.
func (b *labeler) dropTest() {
	at := b.inPart(partTest)
	if len(at) == 0 || len(at) == len(b.items) {
		return
	}
	known := false
	for name := range b.names[partTest] {
		known = known || b.names[partTrain][name] || b.names[partVal][name]
	}
	switch b.by[partTest] {
	case byNothing:
		if slices.ContainsFunc(at, func(i int) bool { return b.items[i].class != "" }) {
			return // some have a class: that is an error
		}
	case byName:
		if known {
			return
		}
	case byFolder:
		if known || len(b.names[partTest]) > 1 {
			return
		}
	default:
		return
	}
	for _, i := range at {
		b.left.add(whyTest, b.items[i].file)
		b.items[i].part = partNone
	}
	b.by[partTest], b.why[partTest] = byNothing, nil
}

// settle reports parts without classes, and says where classes come from if it
// is not plain to see.
func (b *labeler) settle() error {
	b.numbers = true
	for p := range numParts {
		at := b.inPart(p)
		if len(at) == 0 {
			continue
		}
		if b.by[p] == byNothing && b.why[p] != nil {
			return b.why[p]
		}
		b.numbers = b.numbers && b.by[p] == byNumber
		b.folders = b.folders || b.by[p] == byFolder
	}
	if len(b.items) == 0 {
		return fmt.Errorf("data: %s: no pictures with labels in it; %s", b.spec, Summarize(b.left))
	}
	for p := range numParts {
		if at := b.inPart(p); b.by[p] == byName && len(at) > 0 {
			it := b.items[at[0]]
			b.notes = append(b.notes, fmt.Sprintf("the classes are those in the names of the pictures: %s is of class %q", it.file, it.class))
			break
		}
	}
	return nil
}

// studyLabel returns the integer before "_" in a file's name, or -1.
func studyLabel(file string) int {
	digits, _, ok := strings.Cut(stem(file), "_")
	if !ok || strings.TrimLeft(digits, "0123456789") != "" {
		return -1
	}
	n, err := strconv.Atoi(digits)
	if err != nil || n >= maxClasses {
		return -1
	}
	return n
}

// cameras are what cameras and programs put before the number of a picture; none
// of them is a class.
var cameras = []string{
	"img", "image", "images", "pic", "picture", "photo", "foto", "scan", "frame", "file", "page", "screenshot", "shot", "train", "val", "test",
	"dsc", "dscn", "dscf", "pxl", "mvimg", "wp", "imag", "gopr", "dji", "vid", "sam", "cimg", "p", "im", "sample", "n",
}

// nameLabel returns the class in a name such as daisy_0.jpg or cat.12.jpg: what
// comes before a separator and a number. It is "" where the name is not of that
// form.
func nameLabel(file string) string {
	s := stem(file)
	class := strings.TrimRight(s, "0123456789")
	if class == s || class == "" || !strings.ContainsRune("_-.", rune(class[len(class)-1])) {
		return ""
	}
	class = strings.TrimRight(class, "_-. ")
	if !strings.ContainsFunc(class, unicode.IsLetter) || slices.Contains(cameras, strings.ToLower(class)) {
		return ""
	}
	return class
}
