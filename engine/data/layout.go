package data

import (
	"bytes"
	"cmp"
	"crypto/sha256"
	"fmt"
	"log/slog"
	"math"
	"path"
	"slices"
	"strconv"
	"strings"
)

// Parts of a dataset, in the order in which they are stored.
const (
	partTrain = iota
	partVal
	partTest
	numParts
	partNone = -1
)

// partOf tells which part a folder's name means. "evaluation" is the test part
// of Food-11 as it was first published.
func partOf(name string) int {
	switch strings.ToLower(name) {
	case "training", "train":
		return partTrain
	case "validation", "val", "valid":
		return partVal
	case "testing", "test", "evaluation":
		return partTest
	}
	return partNone
}

// item is one picture with its place in the dataset.
type item struct {
	seq   int
	part  int
	label int
	class string // "" in the study's naming
	file  string // relative to the dataset's root
}

// layout is a listing understood.
type layout struct {
	items   []item
	classes []string
	skipped []skippedRecord
}

const maxClasses = 1 << 16

// arrange finds out which layout a listing has, and gives every picture its
// part and label.
func arrange(spec string, l *listing, o Options) (*layout, error) {
	if len(l.files) == 0 {
		return nil, fmt.Errorf("data: %s: no pictures in it (want .jpg, .jpeg or .png files)", spec)
	}
	l = stripRoot(l)
	items, split, err := assignParts(spec, l, o.Logger)
	if err != nil {
		return nil, err
	}
	items, err = assignLabels(spec, items, o.Logger)
	if err != nil {
		return nil, err
	}
	lay := &layout{items: items, skipped: l.skipped}
	if items[0].class != "" {
		err = lay.namedClasses(spec, l.dirs, split)
	} else {
		lay.numberedClasses()
	}
	if err != nil {
		return nil, err
	}
	if err := lay.checkTrained(spec); err != nil {
		return nil, err
	}
	if !slices.ContainsFunc(items, func(it item) bool { return it.part == partVal }) {
		lay.holdOut(o.ValFraction)
	}
	slices.SortFunc(items, func(a, b item) int {
		c := cmp.Compare(a.part, b.part)
		if a.class != "" {
			c = cmp.Or(c, cmp.Compare(a.label, b.label))
		}
		return cmp.Or(c, cmp.Compare(a.file, b.file))
	})
	return lay, nil
}

// stripRoot removes folders that hold the whole dataset, as archives have them:
// a first element that all files share, as long as it is not a part and a
// folder of folders.
func stripRoot(l *listing) *listing {
	for {
		first, _, _ := strings.Cut(l.files[0].name, "/")
		if partOf(first) != partNone {
			return l
		}
		for _, f := range l.files {
			rest, ok := strings.CutPrefix(f.name, first+"/")
			if !ok || !strings.Contains(rest, "/") {
				return l
			}
		}
		out := &listing{}
		for _, f := range l.files {
			out.files = append(out.files, listed{name: f.name[len(first)+1:], seq: f.seq})
		}
		for _, d := range l.dirs {
			if rest, ok := strings.CutPrefix(d, first+"/"); ok {
				out.dirs = append(out.dirs, rest)
			}
		}
		for _, s := range l.skipped {
			out.skipped = append(out.skipped, skippedRecord{strings.TrimPrefix(s.File, first+"/"), s.Err})
		}
		l = out
	}
}

// assignParts reads the part of each picture from its first folder. Without any
// part folders, everything is in training and split is false.
func assignParts(spec string, l *listing, log *slog.Logger) (items []item, split bool, err error) {
	var spelt [numParts]string
	for _, f := range l.files {
		first, _, nested := strings.Cut(f.name, "/")
		if p := partOf(first); nested && p != partNone {
			if spelt[p] != "" && spelt[p] != first {
				return nil, false, fmt.Errorf("data: %s: both %q and %q are there: which one is meant?", spec, spelt[p], first)
			}
			spelt[p] = first
			split = true
		}
	}
	outside := 0
	for _, f := range l.files {
		it := item{seq: f.seq, file: f.name}
		if split {
			first, _, nested := strings.Cut(f.name, "/")
			if it.part = partOf(first); !nested || it.part == partNone {
				outside++
				continue
			}
		}
		items = append(items, it)
	}
	if outside > 0 {
		log.Warn("ignored pictures outside of training, validation and testing", "dataset", spec, "files", outside)
	}
	if split && spelt[partTrain] == "" {
		return nil, false, fmt.Errorf("data: %s: no pictures in a training folder (training or train)", spec)
	}
	return items, split, nil
}

// inPart returns a file's name below its part's folder.
func inPart(file string) string {
	first, rest, nested := strings.Cut(file, "/")
	if nested && partOf(first) != partNone {
		return rest
	}
	return file
}

// assignLabels reads classes from folders or, where the pictures lie flat in
// their part, labels from names.
func assignLabels(spec string, items []item, log *slog.Logger) ([]item, error) {
	for i := range items {
		it := &items[i]
		if class, _, ok := strings.Cut(inPart(it.file), "/"); ok {
			it.class = class
		} else {
			it.label = studyLabel(it.file)
		}
	}
	items = dropUnlabelledTest(spec, items, log)
	flat := slices.IndexFunc(items, func(it item) bool { return it.class == "" })
	nested := slices.IndexFunc(items, func(it item) bool { return it.class != "" })
	if flat >= 0 && nested >= 0 {
		return nil, fmt.Errorf("data: %s: some pictures lie in class folders (%s) and some do not (%s)", spec, items[nested].file, items[flat].file)
	}
	for _, it := range items {
		if it.class == "" && it.label < 0 {
			return nil, fmt.Errorf("data: %s: no class in the name %q (want <class>_<n>.jpg, as in 3_17.jpg, or a folder for each class)", spec, it.file)
		}
	}
	return items, nil
}

// dropUnlabelledTest removes the test part where not one of its pictures has a
// label, as competitions publish them: it cannot be evaluated.
func dropUnlabelledTest(spec string, items []item, log *slog.Logger) []item {
	tests := 0
	for _, it := range items {
		if it.part != partTest {
			continue
		}
		if it.class != "" || it.label >= 0 {
			return items
		}
		tests++
	}
	if tests > 0 {
		log.Warn("the test part has no labels and is left out", "dataset", spec, "files", tests)
		items = slices.DeleteFunc(items, func(it item) bool { return it.part == partTest })
	}
	return items
}

// studyLabel returns the integer before "_" in a file's name, or -1.
func studyLabel(file string) int {
	digits, _, ok := strings.Cut(path.Base(file), "_")
	if !ok || strings.TrimLeft(digits, "0123456789") != "" {
		return -1
	}
	n, err := strconv.Atoi(digits)
	if err != nil || n >= maxClasses {
		return -1
	}
	return n
}

// namedClasses numbers the class folders by name. An empty class folder is an
// error.
func (l *layout) namedClasses(spec string, dirs []string, split bool) error {
	label := map[string]int{}
	filled := map[string]bool{}
	for _, it := range l.items {
		label[it.class] = 0
		filled[classDir(it.file, split)] = true
	}
	for _, d := range dirs {
		if classDir(d+"/", split) == d && !filled[d] {
			return fmt.Errorf("data: %s: class folder %q has no images: fill or remove it", spec, d)
		}
	}
	for c := range label {
		l.classes = append(l.classes, c)
	}
	slices.Sort(l.classes)
	for i, c := range l.classes {
		label[c] = i
	}
	for i := range l.items {
		l.items[i].label = label[l.items[i].class]
	}
	return nil
}

// classDir returns the class folder that a path below it belongs to: its first
// element, or its first two under a part. It is "" for other folders.
func classDir(file string, split bool) string {
	first, rest, _ := strings.Cut(file, "/")
	if !split {
		return first
	}
	class, _, ok := strings.Cut(rest, "/")
	if partOf(first) == partNone || !ok {
		return ""
	}
	return first + "/" + class
}

// numberedClasses names the labels 0 … max.
func (l *layout) numberedClasses() {
	last := 0
	for _, it := range l.items {
		last = max(last, it.label)
	}
	for i := range last + 1 {
		l.classes = append(l.classes, strconv.Itoa(i))
	}
}

// checkTrained reports the first class without a training picture.
func (l *layout) checkTrained(spec string) error {
	in := make([][numParts]int, len(l.classes))
	for _, it := range l.items {
		in[it.label][it.part]++
	}
	for c, n := range in {
		switch {
		case n[partTrain] > 0:
		case n[partVal]+n[partTest] > 0:
			return fmt.Errorf("data: %s: class %q has images for validation or testing but none for training", spec, l.classes[c])
		default:
			return fmt.Errorf("data: %s: class %q has no images (labels run from 0 to %d)", spec, l.classes[c], len(l.classes)-1)
		}
	}
	return nil
}

// holdOut moves a share of each class's training pictures to validation: those
// whose names' hashes are smallest, at least one of two.
func (l *layout) holdOut(fraction float64) {
	by := make([][]int, len(l.classes))
	sum := make([][sha256.Size]byte, len(l.items))
	for i, it := range l.items {
		sum[i] = sha256.Sum256([]byte(it.file))
		if it.part == partTrain {
			by[it.label] = append(by[it.label], i)
		}
	}
	for _, c := range by {
		if len(c) < 2 {
			continue
		}
		slices.SortFunc(c, func(a, b int) int { return bytes.Compare(sum[a][:], sum[b][:]) })
		n := min(max(int(math.Round(fraction*float64(len(c)))), 1), len(c)-1)
		for _, i := range c[:n] {
			l.items[i].part = partVal
		}
	}
}
