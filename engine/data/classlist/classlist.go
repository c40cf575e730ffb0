// Package classlist reads lists of class names: text files with a name a line,
// as editors of any system write them.
//
// A list may be in UTF-8, with or without a byte order mark, in UTF-16, or in
// Latin-1 (read as Windows-1252, which has the same letters). Line ends may be
// those of Unix, Windows or the first Macs. Names are brought to Unicode's
// normal form C (Unicode Standard Annex 15), so that "é" is one name whether a
// system writes it as one character, as Linux and Windows do, or as two, as
// macOS does in archives.
package classlist

import (
	"errors"
	"fmt"
	"io"
	"os"
	"strconv"
	"strings"
	"unicode"
	"unicode/utf8"

	"golang.org/x/text/encoding/charmap"
	"golang.org/x/text/unicode/norm"
)

const (
	maxBytes = 16 << 20 // of a list
	maxNames = 1 << 16
)

// Read returns the names in the file at path. Errors name the file.
func Read(path string) ([]string, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	b, err := io.ReadAll(io.LimitReader(f, maxBytes+1))
	if err != nil {
		return nil, err
	}
	names, err := Parse(b)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	return names, nil
}

// Parse returns the names in a list's bytes, in their order. Blank lines are
// passed over, and so are numbers before the names, if every line has one and
// they count up from 0 or 1 ("0 apple", "1 beer"). An empty list, a name that is
// there twice, and a name with control characters are errors, which name the
// line.
func Parse(b []byte) ([]string, error) {
	if len(b) > maxBytes {
		return nil, fmt.Errorf("a list of classes has at most %d MiB", maxBytes>>20)
	}
	text, err := Text(b)
	if err != nil {
		return nil, err
	}
	var names []string
	var at []int // the line of each name, from 1
	for i, line := range strings.Split(text, "\n") {
		name := strings.TrimSpace(strings.ReplaceAll(line, "\t", " "))
		if name == "" {
			continue
		}
		if c := strings.IndexFunc(name, Unprintable); c >= 0 {
			r, _ := utf8.DecodeRuneInString(name[c:])
			return nil, fmt.Errorf("line %d has the control character %U: remove it", i+1, r)
		}
		names, at = append(names, Normalize(name)), append(at, i+1)
	}
	switch {
	case len(names) == 0:
		return nil, errors.New("there are no names in it: give one a line")
	case len(names) > maxNames:
		return nil, fmt.Errorf("it has %d names, more than %d", len(names), maxNames)
	}
	unnumber(names)
	seen := make(map[string]int, len(names))
	for i, name := range names {
		if first, ok := seen[name]; ok {
			return nil, fmt.Errorf("lines %d and %d both name the class %q: remove or rename one", first, at[i], name)
		}
		seen[name] = at[i]
	}
	return names, nil
}

// unnumber removes numbers before the names, if they count the lines.
func unnumber(names []string) {
	rest := make([]string, len(names))
	from := 0
	for i, name := range names {
		digits := strings.IndexFunc(name, func(r rune) bool { return r < '0' || r > '9' })
		if digits < 1 || !strings.ContainsRune(" :,;", rune(name[digits])) {
			return
		}
		n, err := strconv.Atoi(name[:digits])
		if i == 0 {
			from = n
		}
		if err != nil || n != from+i || from > 1 {
			return
		}
		if rest[i] = strings.TrimLeft(name[digits:], " :,;"); rest[i] == "" {
			return
		}
	}
	copy(names, rest)
}

// Text decodes the bytes of a text file to UTF-8 with "\n" at the line ends. A
// byte order mark is removed. Bytes that are no text are an error.
func Text(b []byte) (string, error) {
	if order, ok := utf16Order(b); ok {
		s, err := unicode16(order).String(string(b))
		return lines(s), err
	}
	s := strings.TrimPrefix(string(b), "\ufeff")
	if !utf8.ValidString(s) {
		s = Latin1(s)
	}
	if strings.ContainsRune(s, 0) {
		return "", errors.New("it holds zero bytes and is no text: save it as UTF-8")
	}
	return lines(s), nil
}

var lineEnds = strings.NewReplacer("\r\n", "\n", "\r", "\n")

func lines(s string) string { return lineEnds.Replace(s) }

// Latin1 decodes Windows-1252, which has the letters of ISO 8859-1 and some
// more. Bytes that it does not define become U+FFFD.
func Latin1(s string) string {
	out, err := charmap.Windows1252.NewDecoder().String(s)
	if err != nil {
		return strings.ToValidUTF8(s, "\ufffd")
	}
	return out
}

// Normalize returns the form of a class's name in which names are compared:
// Unicode's normal form C. A name that is not UTF-8, as old archives and file
// systems have them, is taken for Latin-1.
func Normalize(name string) string {
	if !utf8.ValidString(name) {
		name = Latin1(name)
	}
	return norm.NFC.String(name)
}

// Unprintable reports the characters that no name should have and no terminal
// should get: control characters, those that separate lines, and those that
// turn the direction of the text around them.
func Unprintable(r rune) bool {
	return unicode.IsControl(r) || r == '\u2028' || r == '\u2029' || r >= '\u202a' && r <= '\u202e' || r >= '\u2066' && r <= '\u2069'
}

// An Index finds classes by name.
type Index struct {
	at map[string]int
	n  int
}

// NewIndex returns an index of a model's or a list's classes.
func NewIndex(classes []string) Index {
	x := Index{at: make(map[string]int, len(classes)), n: len(classes)}
	for i, name := range classes {
		x.at[Normalize(name)] = i
	}
	return x
}

// Name returns the place of the class with the given name, in any normal form.
func (x Index) Name(name string) (i int, ok bool) {
	i, ok = x.at[Normalize(name)]
	return i, ok
}

// Number returns the place that an integer names, counted from 0.
func (x Index) Number(text string) (i int, ok bool) {
	i, err := strconv.Atoi(text)
	return i, err == nil && i >= 0 && i < x.n
}
