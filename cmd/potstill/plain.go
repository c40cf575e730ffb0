package main

import (
	"fmt"
	"io"
	"strings"
	"unicode/utf8"

	"github.com/potstill/potstill/engine/data/classlist"
)

// plain returns a text that does nothing to a terminal: control characters, and
// those that turn the direction of text, become \uXXXX. Names of files and
// classes can hold them.
func plain(s string) string {
	if utf8.ValidString(s) && !strings.ContainsFunc(s, classlist.Unprintable) {
		return s
	}
	var b strings.Builder
	for _, r := range s { // invalid bytes are U+FFFD
		escape(&b, r)
	}
	return b.String()
}

func escape(b *strings.Builder, r rune) {
	if classlist.Unprintable(r) {
		fmt.Fprintf(b, `\u%04x`, r) // none is beyond U+FFFF; in JSON it is the same character
	} else {
		b.WriteRune(r)
	}
}

// A plainWriter makes all that is written through it plain, but for line ends
// and tabs. JSON stays the same JSON.
type plainWriter struct {
	w    io.Writer
	rest []byte // the beginning of a character
}

// Write implements io.Writer.
func (p *plainWriter) Write(text []byte) (int, error) {
	var b strings.Builder
	buf := append(p.rest, text...)
	for len(buf) > 0 && utf8.FullRune(buf) {
		r, n := utf8.DecodeRune(buf)
		if buf = buf[n:]; r == '\n' || r == '\t' {
			b.WriteRune(r)
		} else {
			escape(&b, r)
		}
	}
	p.rest = append([]byte(nil), buf...)
	if _, err := io.WriteString(p.w, b.String()); err != nil {
		return 0, err
	}
	return len(text), nil
}
