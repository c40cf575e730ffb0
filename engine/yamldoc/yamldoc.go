// Package yamldoc decodes YAML documents that people write by hand, more
// strictly than YAML libraries do, so that a mistake is found where it stands:
// an unknown key, a key that appears twice, a fraction for a whole number and
// a quoted number are errors, and anchors, aliases and tags are not used. Every
// error is one line, "file:line:column: reason".
//
// Structs take keys by their fields' yaml tags, fields of embedded structs as
// their own; fields without a tag take none. Strings, bools, ints, uint64s,
// float64s, pointers and slices of these are decoded as they are; a single
// string also counts as a list of one. A type that implements [NodeDecoder]
// decodes itself.
package yamldoc

import (
	"bytes"
	"errors"
	"fmt"
	"reflect"
	"slices"
	"strings"

	"github.com/goccy/go-yaml"
	"github.com/goccy/go-yaml/ast"
	"github.com/goccy/go-yaml/parser"
)

// An Error is a mistake in a document: where it stands, what it is, and what to
// do about it.
type Error struct {
	File         string
	Line, Column int // from 1
	Reason       string
}

// Error implements error: "file:line:column: reason".
func (e *Error) Error() string {
	return fmt.Sprintf("%s:%d:%d: %s", e.File, e.Line, e.Column, e.Reason)
}

// A Decoder says how errors speak of a document. Its zero value but for File
// and Document is good.
type Decoder struct {
	File     string // name of the document's file
	Document string // what the document is, one word: "recipe"

	// What errors advise. Empties ends "the recipe is empty", as in "it needs
	// steps"; Shared ends "anchors, aliases and tags are not used in recipes",
	// as in "put what steps share under defaults".
	Empties, Shared string
}

// A decoding is the decoding of one text.
type decoding struct {
	Decoder
	source *Source
}

// Decode decodes text, which holds one document of at most [MaxBytes],
// [MaxNodes] and [MaxDepth], into out, a pointer. What is wrong in the text is
// an *[Error]. The Source tells afterwards where values stand.
func (d Decoder) Decode(text []byte, out any) (*Source, error) {
	r := &decoding{d, &Source{file: d.File, pos: make(map[string]position)}}
	body, err := r.parse(bytes.TrimPrefix(text, []byte("\ufeff"))) // editors on Windows write a byte order mark
	if err != nil {
		return nil, err
	}
	if err := r.value(body, reflect.ValueOf(out).Elem(), "", nil); err != nil {
		return nil, err
	}
	return r.source, nil
}

// parse returns the only document of text, within the limits.
func (d *decoding) parse(text []byte) (ast.Node, error) {
	tokens, err := d.scan(text)
	if err != nil {
		return nil, err
	}
	f, err := parser.Parse(tokens, 0)
	if err != nil {
		return nil, d.syntax(err)
	}
	docs := slices.DeleteFunc(f.Docs, func(doc *ast.DocumentNode) bool { return doc.Body == nil })
	if len(docs) == 0 {
		return nil, d.errorf(1, 1, "the %s is empty%s", d.Document, advice(d.Empties))
	}
	if len(docs) > 1 {
		return nil, d.errAt(docs[1].Body, "a second document begins; %s is one document", d.one())
	}
	nodes := 0
	return docs[0].Body, d.measure(docs[0].Body, 0, &nodes)
}

// syntax turns an error of the parser, which quotes the text over several
// lines, into one line.
func (d *decoding) syntax(err error) error {
	line, column, reason := 1, 1, err.Error()
	var y yaml.Error
	if errors.As(err, &y) {
		reason = y.GetMessage()
		if t := y.GetToken(); t != nil && t.Position != nil {
			line, column = t.Position.Line, t.Position.Column
		}
	}
	return d.errorf(line, column, "not understood as YAML: %s", strings.Join(strings.Fields(reason), " "))
}

func (d *decoding) errorf(line, column int, format string, args ...any) error {
	return &Error{File: d.File, Line: line, Column: column, Reason: reason(format, args...)}
}

// reason formats the reason of an error. A document's keys can be of any
// length; an error is one line that can be read.
func reason(format string, args ...any) string {
	const most = 1000
	s := fmt.Sprintf(format, args...)
	if len(s) <= most {
		return s
	}
	const end = 200
	return strings.ToValidUTF8(s[:most-end], "") + "…" + strings.ToValidUTF8(s[len(s)-end:], "")
}

// errAt returns an error at a node.
func (d *decoding) errAt(n ast.Node, format string, args ...any) error {
	p := n.GetToken().Position
	return d.errorf(p.Line, p.Column, format, args...)
}

// one names the document with its article.
func (d *decoding) one() string {
	if strings.ContainsAny(d.Document[:1], "aeiou") {
		return "an " + d.Document
	}
	return "a " + d.Document
}

// unused is the reason why an anchor, an alias or a tag is refused.
func (d *decoding) unused() string {
	return fmt.Sprintf("anchors, aliases and tags are not used in %ss%s", d.Document, advice(d.Shared))
}

// advice appends what to do to an error.
func advice(s string) string {
	if s == "" {
		return ""
	}
	return "; " + s
}
