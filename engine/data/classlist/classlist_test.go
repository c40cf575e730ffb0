package classlist

import (
	"encoding/binary"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"unicode/utf16"
)

func encode16(s string, order binary.AppendByteOrder, mark bool) []byte {
	var b []byte
	if mark {
		b = order.AppendUint16(b, 0xFEFF)
	}
	for _, u := range utf16.Encode([]rune(s)) {
		b = order.AppendUint16(b, u)
	}
	return b
}

func TestParse(t *testing.T) {
	want := []string{"apple", "éclair", "gâteau"}
	text := "apple\néclair\ngâteau\n"
	for name, b := range map[string][]byte{
		"UTF-8":               []byte(text),
		"byte order mark":     []byte("\ufeff" + text),
		"Windows' lines":      []byte("\ufeff" + strings.ReplaceAll(text, "\n", "\r\n")),
		"old Mac's lines":     []byte(strings.ReplaceAll(text, "\n", "\r")),
		"blank lines":         []byte("\n  apple \n\n éclair\ngâteau"),
		"Latin-1":             []byte("apple\n\xe9clair\ng\xe2teau\n"),
		"UTF-16 with mark":    encode16(text, binary.LittleEndian, true),
		"UTF-16 big":          encode16(text, binary.BigEndian, true),
		"UTF-16 without mark": encode16(text, binary.LittleEndian, false),
		"big without mark":    encode16(text, binary.BigEndian, false),
		"decomposed":          []byte("apple\ne\u0301clair\nga\u0302teau\n"),
		"numbered from 0":     []byte("0 apple\n1 éclair\n2 gâteau\n"),
		"numbered from 1":     []byte("1\tapple\n2\téclair\n3\tgâteau\n"),
		"numbered by colons":  []byte("0: apple\n1: éclair\n2: gâteau\n"),
	} {
		got, err := Parse(b)
		if err != nil || !slices.Equal(got, want) {
			t.Errorf("%s: %q, %v", name, got, err)
		}
	}
	for _, same := range [][]string{{"7 up", "cola"}, {"0", "1", "2"}, {"1 a", "2 b", "4 c"}, {"10", "2"}, {"001.Albatross", "002.Auklet"}} {
		if got, err := Parse([]byte(strings.Join(same, "\n"))); err != nil || !slices.Equal(got, same) {
			t.Errorf("%q became %q, %v", same, got, err)
		}
	}
}

func TestParseErrors(t *testing.T) {
	for text, want := range map[string]string{
		"":                       "no names",
		"\ufeff\r\n":             "no names",
		"a\nb\n\na\n":            `lines 1 and 4 both name the class "a"`,
		"é\ne\u0301\n":           "lines 1 and 2 both",
		"a\nb\x1b[31mred\n":      "line 2 has the control character U+001B",
		"a\u202eb\n":             "U+202E",
		"PK\x03\x04\x00\x00\x01": "no text",
	} {
		if _, err := Parse([]byte(text)); err == nil || !strings.Contains(err.Error(), want) || strings.Contains(err.Error(), "\n") {
			t.Errorf("%q: got %v, want %q", text, err, want)
		}
	}
	if _, err := Parse([]byte(strings.Repeat("x", maxBytes+1))); err == nil {
		t.Error("a list of more than 16 MiB is read")
	}
}

// The list of shared/cases/class-list-bom.
func TestReadWindowsList(t *testing.T) {
	got, err := Read(filepath.Join("testdata", "bom.txt"))
	if err != nil || !slices.Equal(got, []string{"apple", "beer", "cake"}) {
		t.Errorf("%q, %v", got, err)
	}
	if _, err := Read(filepath.Join(t.TempDir(), "none.txt")); !os.IsNotExist(err) {
		t.Errorf("a missing list: %v", err)
	}
}

func TestIndex(t *testing.T) {
	x := NewIndex([]string{"e\u0301clair", "beer", "7"})
	for name, want := range map[string]int{"éclair": 0, "\xe9clair": 0, "beer": 1, "7": 2} {
		if i, ok := x.Name(name); !ok || i != want {
			t.Errorf("%q is class %d, %t", name, i, ok)
		}
	}
	for text, want := range map[string]bool{"0": true, "2": true, "3": false, "-1": false, "beer": false} {
		if _, ok := x.Number(text); ok != want {
			t.Errorf("the number %s: %t", text, ok)
		}
	}
}
