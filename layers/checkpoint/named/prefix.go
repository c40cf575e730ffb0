package named

import (
	"fmt"
	"strings"
)

// wrappers are the prefixes that a wrapped model gives to every name: of
// DataParallel and DistributedDataParallel, and of torch.compile.
var wrappers = []string{"module.", "_orig_mod."}

// Unwrap removes the prefixes that wrapped models have, where every name has
// them, and notes it.
func (f *File) Unwrap() {
	for again := len(f.Tensors) > 0; again; {
		again = false
		for _, prefix := range wrappers {
			if f.allBegin(prefix) {
				for i := range f.Tensors {
					f.Tensors[i].Name = f.Tensors[i].Name[len(prefix):]
				}
				f.Notes = append(f.Notes, fmt.Sprintf("the prefix %q was removed from every name", prefix))
				again = true
			}
		}
	}
}

func (f *File) allBegin(prefix string) bool {
	for i := range f.Tensors {
		if name := f.Tensors[i].Name; !strings.HasPrefix(name, prefix) || name == prefix {
			return false
		}
	}
	return true
}
