package data

import (
	"bytes"
	"cmp"
	"crypto/sha256"
	"fmt"
	"math"
	"path"
	"slices"
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
	class string // the class's name as the source has it, or the label in digits
	file  string // relative to the dataset's root
}

// layout is a listing understood.
type layout struct {
	spec    string
	items   []item
	classes []string
	printed []string // the classes' names in the fingerprint
	listed  bool     // the names and their order are those of classes.txt
	skipped []skippedRecord
	left    leftOut  // what is not in the dataset though the listing has it
	notes   []string // what else is to be said
	held    int      // pictures held out from training for validation
	numbers bool     // labels are numbers in the files' names: the study's naming
	dirs    []string
	split   bool // there are folders for parts
	folders bool // of one part at least there are folders for classes
}

const maxClasses = 1 << 16

// arrange finds out which layout a listing has, and gives every picture its
// part and label. It goes by what is there, not by what a use needs: see
// Dataset.check.
func arrange(spec string, l *listing, o Options) (*layout, error) {
	if len(l.files) == 0 {
		return nil, noPictures(spec, l)
	}
	l = stripRoot(l)
	lay := &layout{spec: spec, skipped: l.skipped, dirs: l.dirs}
	if err := lay.assignParts(l); err != nil {
		return nil, err
	}
	if len(lay.items) == 0 {
		return nil, fmt.Errorf("data: %s: %s", spec, Summarize(lay.left))
	}
	if err := lay.assignLabels(l, o); err != nil {
		return nil, err
	}
	if err := lay.assignClasses(l); err != nil {
		return nil, err
	}
	in := func(part int) bool {
		return slices.ContainsFunc(lay.items, func(it item) bool { return it.part == part })
	}
	if in(partTrain) && !in(partVal) {
		lay.holdOut(o.ValFraction)
	}
	slices.SortFunc(lay.items, func(a, b item) int {
		c := cmp.Compare(a.part, b.part)
		if !lay.numbers {
			c = cmp.Or(c, cmp.Compare(a.label, b.label))
		}
		return cmp.Or(c, cmp.Compare(a.file, b.file))
	})
	return lay, nil
}

// noPictures says what is there instead.
func noPictures(spec string, l *listing) error {
	left := slices.Clone(l.left)
	for _, t := range l.texts {
		left.addKind(t.name)
	}
	left.merge(skippedLeft(l.skipped))
	text := fmt.Sprintf("data: %s: no pictures in it (want files of .jpg, .png and other formats)", spec)
	for _, e := range left {
		for _, ext := range []string{".zip", ".tar", ".gz", ".tgz", ".bz2"} {
			if e.Kinds[ext] > 0 {
				return fmt.Errorf("%s, but there are archives (%s): name one of them, or unpack them", text, ext)
			}
		}
	}
	if len(left) > 0 {
		text += "; " + Summarize(left)
	}
	return fmt.Errorf("%s", text)
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
		out := &listing{left: l.left}
		for _, f := range l.files {
			out.files = append(out.files, listed{name: f.name[len(first)+1:], seq: f.seq})
		}
		for _, d := range l.dirs {
			if rest, ok := strings.CutPrefix(d, first+"/"); ok {
				out.dirs = append(out.dirs, rest)
			}
		}
		for _, t := range l.texts {
			out.texts = append(out.texts, textFile{strings.TrimPrefix(t.name, first+"/"), t.b})
		}
		for _, s := range l.skipped {
			out.skipped = append(out.skipped, skippedRecord{strings.TrimPrefix(s.File, first+"/"), s.Err})
		}
		l = out
	}
}

// assignParts reads the part of each picture from its first folder. Without any
// part folders, everything is in training.
func (l *layout) assignParts(lst *listing) error {
	var spelt [numParts]string
	for _, f := range lst.files {
		first, _, nested := strings.Cut(f.name, "/")
		if p := partOf(first); nested && p != partNone {
			if spelt[p] != "" && spelt[p] != first {
				return fmt.Errorf("data: %s: both %q and %q are there: which one is meant?", l.spec, spelt[p], first)
			}
			spelt[p] = first
			l.split = true
		}
	}
	for _, f := range lst.files {
		it := item{seq: f.seq, file: f.name}
		if l.split {
			first, _, nested := strings.Cut(f.name, "/")
			if it.part = partOf(first); !nested || it.part == partNone {
				l.left.add(whyOutside, f.name)
				continue
			}
		}
		l.items = append(l.items, it)
	}
	return nil
}

// inPart returns a file's name below its part's folder.
func inPart(file string) string {
	first, rest, nested := strings.Cut(file, "/")
	if nested && partOf(first) != partNone {
		return rest
	}
	return file
}

// below reports whether a file lies in a folder; "." holds all.
func below(file, dir string) bool { return dir == "." || strings.HasPrefix(file, dir+"/") }

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
		l.held += n
	}
}

// stem is a file's name without folders and extension.
func stem(file string) string {
	base := path.Base(file)
	return strings.TrimSuffix(base, path.Ext(base))
}
