package data

import "fmt"

// same counts pictures of other parts that are in training too, byte for byte.
type same struct {
	Val   int    `json:"val,omitempty"`
	Test  int    `json:"test,omitempty"`
	File  string `json:"file,omitempty"`  // the first of them
	Train string `json:"train,omitempty"` // and its twin
}

// findSame looks for them among the pictures that are read.
func findSame(lay *layout, sums []summed, failed []error) (s same) {
	train := make(map[digest]int)
	for i, it := range lay.items {
		if it.part == partTrain && failed[i] == nil {
			if _, ok := train[sums[i].sum]; !ok {
				train[sums[i].sum] = i
			}
		}
	}
	for i, it := range lay.items {
		twin, ok := train[sums[i].sum]
		if !ok || it.part == partTrain || failed[i] != nil {
			continue
		}
		if s.File == "" {
			s.File, s.Train = it.file, lay.items[twin].file
		}
		if it.part == partVal {
			s.Val++
		} else {
			s.Test++
		}
	}
	return s
}

// line reports them; it is "" if there are none.
func (s same) line() string {
	of := fmt.Sprintf("%d of the validation pictures", s.Val)
	switch {
	case s.Val+s.Test == 0:
		return ""
	case s.Val == 0:
		of = fmt.Sprintf("%d of the test pictures", s.Test)
	case s.Test > 0:
		of += fmt.Sprintf(" and %d of the test pictures", s.Test)
	}
	return fmt.Sprintf("%s are in training too, which makes accuracies look better than they are (the first is %s, the same as %s)", of, s.File, s.Train)
}
