package yamldoc

import (
	"errors"
	"io"

	"github.com/goccy/go-yaml/ast"
	"github.com/goccy/go-yaml/scanner"
	"github.com/goccy/go-yaml/token"
)

// The limits of a document.
const (
	MaxBytes = 1 << 20 // of its text
	MaxNodes = 1 << 16 // mappings, lists and values
	MaxDepth = 32      // mappings and lists in one another
)

// maxTokens is what a document of MaxNodes cannot exceed: a node of a flow
// mapping has its key, a colon, its value and a comma.
const maxTokens = 4*MaxNodes + 64

// scan cuts the text into tokens. The parser recurses, so what nests too
// deeply is refused here already, as is what the decoder never takes.
func (d *decoding) scan(text []byte) (token.Tokens, error) {
	if len(text) > MaxBytes {
		return nil, d.errorf(1, 1, "the %s has %d bytes; at most %d are read", d.Document, len(text), MaxBytes)
	}
	var s scanner.Scanner
	s.Init(string(text))
	var tokens token.Tokens
	var nest nesting
	count := 0
	for {
		some, err := s.Scan()
		if errors.Is(err, io.EOF) {
			return tokens, nil
		}
		tokens.Add(some...)
		for _, t := range some {
			line, column := t.Position.Line, t.Position.Column
			switch t.Type {
			case token.CommentType:
				continue
			case token.AnchorType, token.AliasType, token.TagType:
				return nil, d.errorf(line, column, "%s", d.unused())
			}
			if count++; count > maxTokens {
				return nil, d.tooMany(line, column)
			}
			if nest.depth(t) > MaxDepth {
				return nil, d.tooDeep(line, column)
			}
		}
	}
}

func (d *decoding) tooMany(line, column int) error {
	return d.errorf(line, column, "the %s has more than %d values; make it shorter", d.Document, MaxNodes)
}

func (d *decoding) tooDeep(line, column int) error {
	return d.errorf(line, column, "more than %d mappings and lists lie in one another; make the %s flatter", MaxDepth, d.Document)
}

// A nesting follows how deeply tokens nest. In blocks a mapping or a list
// within another begins further to the right, but for a list at the column of
// its key; so the true depth is at least this, and at most twice.
type nesting struct {
	columns  []int // of the blocks around, ascending
	flow     int   // brackets and braces around
	pairs    int   // colons since the last bracket, brace or comma
	previous *token.Token
}

// depth takes the next token and returns the depth there.
func (n *nesting) depth(t *token.Token) int {
	defer func() { n.previous = t }()
	switch t.Type {
	case token.DocumentHeaderType, token.DocumentEndType:
		*n = nesting{}
	case token.SequenceStartType, token.MappingStartType:
		n.flow, n.pairs = n.flow+1, 0
	case token.SequenceEndType, token.MappingEndType:
		n.flow, n.pairs = max(n.flow-1, 0), 0
	case token.CollectEntryType:
		n.pairs = 0
	case token.SequenceEntryType, token.MappingKeyType:
		n.block(t.Position.Column)
	case token.MappingValueType:
		n.pairs++
		if p := n.previous; p != nil && p.Position.Line == t.Position.Line {
			n.block(p.Position.Column)
		} else {
			n.block(t.Position.Column)
		}
	}
	return len(n.columns) + n.flow + max(n.pairs-1, 0)
}

// block begins or continues the block at a column.
func (n *nesting) block(column int) {
	if n.flow > 0 {
		return
	}
	n.pairs = 0
	for len(n.columns) > 0 && n.columns[len(n.columns)-1] > column {
		n.columns = n.columns[:len(n.columns)-1]
	}
	if len(n.columns) == 0 || n.columns[len(n.columns)-1] < column {
		n.columns = append(n.columns, column)
	}
}

// measure holds a node, in depth mappings and lists, to the limits.
func (d *decoding) measure(n ast.Node, depth int, nodes *int) error {
	p := n.GetToken().Position
	if *nodes++; *nodes > MaxNodes {
		return d.tooMany(p.Line, p.Column)
	}
	var children []ast.Node
	switch n := n.(type) {
	case *ast.MappingNode:
		for _, pair := range n.Values {
			children = append(children, pair.Value)
		}
	case *ast.SequenceNode:
		children = n.Values
	default:
		return nil
	}
	if depth++; depth > MaxDepth {
		return d.tooDeep(p.Line, p.Column)
	}
	for _, child := range children {
		if err := d.measure(child, depth, nodes); err != nil {
			return err
		}
	}
	return nil
}
