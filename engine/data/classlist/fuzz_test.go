package classlist

import (
	"strings"
	"testing"
	"unicode/utf8"
)

// FuzzParse checks that no bytes make the reader panic, and that names are fit
// for files and terminals.
func FuzzParse(f *testing.F) {
	f.Add([]byte("\ufeffapple\r\nbeer\r\n"))
	f.Add([]byte("\xff\xfea\x00\n\x00b\x00"))
	f.Add([]byte("0 a\n1 \xe9\n"))
	f.Fuzz(func(t *testing.T, b []byte) {
		names, err := Parse(b)
		if err != nil {
			return
		}
		index := NewIndex(names)
		for i, name := range names {
			if at, ok := index.Name(name); name == "" || !utf8.ValidString(name) || strings.ContainsFunc(name, Unprintable) || !ok || at != i {
				t.Errorf("name %d is %q, found at %d", i, name, at)
			}
		}
	})
}
