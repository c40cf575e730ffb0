package safetensors

import (
	"bytes"
	"encoding/json"
	"errors"
	"io"
	"slices"
	"strconv"
	"strings"
	"unicode/utf8"

	"github.com/potstill/potstill/layers/checkpoint/named"
)

// header is a parsed header. The tensors have no data yet; begin and end are
// the offsets of their data from the start of the data section.
type header struct {
	metadata map[string]string
	tensors  []Tensor
	spans    []span

	// sumAt is where the digits of KeySHA256 begin in the header's bytes.
	sumAt int
}

type span struct{ begin, end int }

// headerParser reads the header token by token, which needs no recursion and
// admits only the nesting that the format has.
type headerParser struct {
	raw   []byte
	dec   *json.Decoder
	names map[string]bool
	header
}

// where says which part of the header is being read. It becomes text only when
// an error needs it.
type where struct{ kind, name, part string }

func (w where) String() string {
	s := w.kind
	if w.name != "" || w.kind != "the header" {
		s += " " + named.Quote(w.name)
	}
	return s + w.part
}

func (w where) in(part string) where {
	w.part = part
	return w
}

// parseHeader parses and checks the header's bytes, but not what it says about
// the data section.
func parseHeader(raw []byte) (*header, error) {
	if !utf8.Valid(raw) {
		return nil, named.Damaged("the header is not UTF-8 text")
	}
	if len(raw) == 0 || raw[0] != '{' {
		return nil, named.Damaged("the header does not begin with a brace")
	}
	p := &headerParser{raw: raw, dec: json.NewDecoder(bytes.NewReader(raw)), names: map[string]bool{}}
	p.dec.UseNumber()
	err := p.object(where{kind: "the header"}, func(name string) error {
		if p.names[name] {
			return named.Damaged("the header has two entries %s", named.Quote(name))
		}
		p.names[name] = true
		if name == metadataKey {
			return p.parseMetadata()
		}
		return p.parseTensor(name)
	})
	if err != nil {
		return nil, err
	}
	if rest := raw[p.dec.InputOffset():]; len(bytes.Trim(rest, " ")) > 0 {
		return nil, named.Damaged("the header goes on after its closing brace")
	}
	return &p.header, nil
}

func (p *headerParser) parseMetadata() error {
	p.metadata = map[string]string{}
	return p.object(where{kind: "entry", name: metadataKey}, func(key string) error {
		if _, twice := p.metadata[key]; twice {
			return named.Damaged("the metadata have two entries %s", named.Quote(key))
		}
		value, err := p.text(where{kind: "metadata entry", name: key})
		if err != nil {
			return err
		}
		p.metadata[key] = value
		if key == KeySHA256 {
			p.sumAt = int(p.dec.InputOffset()) - 1 - len(value)
		}
		return nil
	})
}

func (p *headerParser) parseTensor(name string) error {
	at := where{kind: "tensor", name: name}
	t, s, fields := Tensor{Name: name}, []int(nil), map[string]bool{}
	err := p.object(at, func(field string) (err error) {
		if fields[field] {
			return named.Damaged("%s has two fields %s", at, named.Quote(field))
		}
		fields[field] = true
		switch field {
		case "dtype":
			var d string
			d, err = p.text(at.in(", dtype"))
			t.DType = DType(d)
		case "shape":
			t.Shape, err = p.ints(at.in(", shape"), maxRank)
		case "data_offsets":
			s, err = p.ints(at.in(", data_offsets"), 2)
		default:
			err = named.Damaged("%s has an unknown field %s", at, named.Quote(field))
		}
		return err
	})
	if err != nil {
		return err
	}
	for _, field := range []string{"dtype", "shape", "data_offsets"} {
		if !fields[field] {
			return named.Damaged("%s has no %s", at, field)
		}
	}
	if t.DType.Size() == 0 {
		e := named.Damaged("%s has the unknown type %s", at, named.Quote(string(t.DType)))
		e.Fix = "store it as one of F64 F32 F16 BF16 I64 I32 I16 I8 U64 U32 U16 U8 BOOL C64, or leave it out"
		return e
	}
	if len(s) != 2 {
		return named.Damaged("%s has %d data_offsets instead of 2", at, len(s))
	}
	p.tensors = append(p.tensors, t)
	p.spans = append(p.spans, span{s[0], s[1]})
	return nil
}

// object reads an object, and calls member after each key to read its value.
func (p *headerParser) object(at where, member func(key string) error) error {
	if err := p.delim(at, '{'); err != nil {
		return err
	}
	for p.dec.More() {
		key, err := p.text(at.in(", key"))
		if err != nil {
			return err
		}
		if err := member(key); err != nil {
			return err
		}
	}
	return p.delim(at, '}')
}

// ints reads an array of at most limit non-negative integers.
func (p *headerParser) ints(at where, limit int) ([]int, error) {
	if err := p.delim(at, '['); err != nil {
		return nil, err
	}
	list := []int{}
	for p.dec.More() {
		tok, err := p.token(at)
		if err != nil {
			return nil, err
		}
		number, ok := tok.(json.Number)
		if !ok {
			return nil, named.Damaged("%s holds something other than numbers", at)
		}
		n, err := strconv.Atoi(number.String())
		if err != nil || strings.HasPrefix(number.String(), "-") {
			return nil, named.Damaged("%s: %s is not a size", at, named.Quote(number.String()))
		}
		if len(list) == limit {
			return nil, named.Damaged("%s has more than %d numbers", at, limit)
		}
		list = append(list, n)
	}
	return list, p.delim(at, ']')
}

func (p *headerParser) text(at where) (string, error) {
	tok, err := p.token(at)
	if err != nil {
		return "", err
	}
	s, ok := tok.(string)
	if !ok {
		return "", named.Damaged("%s is not a string", at)
	}
	return s, nil
}

func (p *headerParser) delim(at where, want json.Delim) error {
	tok, err := p.token(at)
	if err != nil {
		return err
	}
	if tok != want {
		return named.Damaged("%s lacks %s", at, named.Quote(want.String()))
	}
	return nil
}

func (p *headerParser) token(at where) (json.Token, error) {
	tok, err := p.dec.Token()
	if errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) {
		return nil, named.Damaged("the header ends within %s", at)
	}
	if err != nil {
		return nil, named.Damaged("the header is not valid JSON at byte %d, in %s: %v", 8+p.dec.InputOffset(), at, err)
	}
	return tok, nil
}

// place checks that the tensors' data fill a data section of n bytes without
// gap or overlap, each with as many bytes as its shape asks for.
func (h *header) place(n int) error {
	order := make([]int, len(h.tensors))
	for i := range order {
		order[i] = i
		t, s := &h.tensors[i], h.spans[i]
		size, ok := byteLen(t.DType, t.Shape)
		switch {
		case !ok:
			return named.Damaged("tensor %s has the impossible shape %v", named.Quote(t.Name), t.Shape)
		case s.end < s.begin:
			return named.Damaged("the data of tensor %s end at byte %d before they begin at %d", named.Quote(t.Name), s.end, s.begin)
		case s.end > n:
			return named.Damaged("the data of tensor %s end at byte %d, but the file holds %d bytes of data", named.Quote(t.Name), s.end, n)
		case s.end-s.begin != size:
			return named.Damaged("tensor %s has %d bytes of data, but %s%v needs %d", named.Quote(t.Name), s.end-s.begin, t.DType, t.Shape, size)
		}
	}
	slices.SortFunc(order, func(a, b int) int {
		if d := h.spans[a].begin - h.spans[b].begin; d != 0 {
			return d
		}
		return h.spans[a].end - h.spans[b].end
	})
	at := 0
	for _, i := range order {
		switch s := h.spans[i]; {
		case s.begin > at:
			return named.Damaged("%d bytes before tensor %s belong to no tensor", s.begin-at, named.Quote(h.tensors[i].Name))
		case s.begin < at:
			return named.Damaged("the data of tensor %s overlap another's", named.Quote(h.tensors[i].Name))
		default:
			at = s.end
		}
	}
	if at < n {
		return named.Damaged("%d bytes follow the last tensor", n-at)
	}
	return nil
}
