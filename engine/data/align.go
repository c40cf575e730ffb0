package data

import (
	"fmt"

	"github.com/potstill/potstill/engine/data/classlist"
)

// Numbered reports whether classes are 0, 1, … for a dataset whose classes.txt
// has as many names: what a model was told that was made before that file was
// read. Its labels are the dataset's.
func (d *Dataset) Numbered(classes []string) bool {
	return d.listed && len(d.Classes) == len(classes) && numbered(classes)
}

// Align gives the images the labels that their classes have in another list,
// that of a model, which then is the dataset's. Classes are found by name, in any
// normal form; a dataset whose classes are all numbers, and not all names in the
// list, by number, counted from 0. A list of all numbers 0, 1, … names nothing: a
// dataset with as many names in its classes.txt keeps them, and its labels. A
// class with images that is not in the list is an error; classes of the list need
// no images. The fingerprint stays.
func (d *Dataset) Align(classes []string) error {
	if d.Numbered(classes) {
		return nil
	}
	index := classlist.NewIndex(classes)
	used := make([]bool, len(d.Classes))
	for _, it := range d.st.idx.Items {
		used[it.Label] = true
	}
	to := make([]int, len(d.Classes))
	missing, byName, byNumber := -1, true, true
	for c, name := range d.Classes {
		if !used[c] {
			continue
		}
		var ok bool
		if to[c], ok = index.Name(name); !ok {
			byName = false
			if missing < 0 {
				missing = c
			}
		}
		_, ok = index.Number(name)
		byNumber = byNumber && ok
	}
	switch {
	case byName:
	case byNumber:
		for c, name := range d.Classes {
			to[c], _ = index.Number(name)
		}
	default:
		return fmt.Errorf("the class %q of the data is none of the model's %d classes", d.Classes[missing], len(classes))
	}
	for i := range d.st.idx.Items {
		it := &d.st.idx.Items[i]
		it.Label = to[it.Label]
	}
	d.Classes = classes
	for _, s := range []*Split{d.Train, d.Val, d.Test} {
		if s != nil {
			s.classes = len(classes)
		}
	}
	return nil
}
