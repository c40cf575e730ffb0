package safetensors

import (
	"bytes"
	"cmp"
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"slices"
	"strconv"
	"strings"
	"unicode/utf8"

	"github.com/potstill/potstill/layers/checkpoint/named"
)

// Encode writes f to w as a sealed file. The same content gives the same bytes.
// Nothing is written where f cannot be stored: a tensor whose data do not have
// the length that its shape and type ask for, an unknown type, a name used
// twice or reserved, or text that is not UTF-8.
func (f *File) Encode(w io.Writer) error { return f.encode(w, true) }

// EncodePlain is [File.Encode] without the seal, for other tools: a file that
// they may edit. Its metadata are f's alone.
func (f *File) EncodePlain(w io.Writer) error { return f.encode(w, false) }

func (f *File) encode(w io.Writer, seal bool) error {
	head, order, err := f.layout(seal)
	if err != nil {
		return err
	}
	if _, err := w.Write(head); err != nil {
		return err
	}
	for _, i := range order {
		if _, err := w.Write(f.Tensors[i].Data); err != nil {
			return err
		}
	}
	return nil
}

// layout returns everything before the data section, sealed if asked for, and
// the order in which the tensors' data follow.
func (f *File) layout(seal bool) (head []byte, order []int, err error) {
	if err := f.check(); err != nil {
		return nil, nil, err
	}
	order = make([]int, len(f.Tensors))
	for i := range order {
		order[i] = i
	}
	slices.SortStableFunc(order, func(a, b int) int {
		return cmp.Compare(f.Tensors[b].DType.Size(), f.Tensors[a].DType.Size())
	})
	spans, at := make([]span, len(f.Tensors)), 0
	for _, i := range order {
		spans[i] = span{at, at + len(f.Tensors[i].Data)}
		at = spans[i].end
	}
	head, sumAt := f.header(spans, seal)
	if len(head)-8 > maxHeader {
		return nil, nil, fmt.Errorf("safetensors: the header would have %d bytes, more than the %d allowed; store fewer tensors or less metadata", len(head)-8, maxHeader)
	}
	if !seal {
		return head, order, nil
	}
	hash := sha256.New()
	hash.Write(head)
	for _, i := range order {
		hash.Write(f.Tensors[i].Data)
	}
	hex.Encode(head[sumAt:], hash.Sum(nil))
	return head, order, nil
}

// header returns the length and the header, with zeros for the sum where it is
// to be sealed, and where the sum belongs.
func (f *File) header(spans []span, seal bool) (head []byte, sumAt int) {
	metadata := maps.Clone(f.Metadata)
	if metadata == nil {
		metadata = map[string]string{}
	}
	if seal {
		metadata[KeyFormat] = formatValue
		metadata[KeySHA256] = strings.Repeat("0", digestLen)
	}

	b := bytes.NewBuffer(make([]byte, 8))
	b.WriteString(`{"` + metadataKey + `":{`)
	for i, key := range slices.Sorted(maps.Keys(metadata)) {
		if i > 0 {
			b.WriteByte(',')
		}
		writeText(b, key)
		b.WriteByte(':')
		if key == KeySHA256 {
			sumAt = b.Len() + 1
		}
		writeText(b, metadata[key])
	}
	b.WriteByte('}')
	for i, t := range f.Tensors {
		b.WriteByte(',')
		writeText(b, t.Name)
		fmt.Fprintf(b, `:{"dtype":"%s","shape":[`, t.DType)
		for j, n := range t.Shape {
			if j > 0 {
				b.WriteByte(',')
			}
			b.WriteString(strconv.Itoa(n))
		}
		fmt.Fprintf(b, `],"data_offsets":[%d,%d]}`, spans[i].begin, spans[i].end)
	}
	b.WriteByte('}')
	for b.Len()%8 != 0 {
		b.WriteByte(' ')
	}
	head = b.Bytes()
	binary.LittleEndian.PutUint64(head, uint64(len(head)-8))
	return head, sumAt
}

// writeText writes a JSON string. The text is UTF-8, for which encoding/json
// has no error.
func writeText(b *bytes.Buffer, s string) {
	text, _ := json.Marshal(s)
	b.Write(text)
}

// check says why f cannot be stored, if so.
func (f *File) check() error {
	for _, key := range slices.Sorted(maps.Keys(f.Metadata)) {
		if key == KeyFormat || key == KeySHA256 {
			return fmt.Errorf("safetensors: the metadata key %q is reserved for the seal; use another", key)
		}
		if !utf8.ValidString(key) || !utf8.ValidString(f.Metadata[key]) {
			return fmt.Errorf("safetensors: the metadata entry %s is not UTF-8 text", named.Quote(key))
		}
	}
	names := make(map[string]bool, len(f.Tensors))
	for i := range f.Tensors {
		t := &f.Tensors[i]
		switch {
		case t.Name == metadataKey:
			return fmt.Errorf("safetensors: the tensor name %q is reserved for the metadata; use another", t.Name)
		case !utf8.ValidString(t.Name):
			return fmt.Errorf("safetensors: the tensor name %s is not UTF-8 text", named.Quote(t.Name))
		case names[t.Name]:
			return fmt.Errorf("safetensors: two tensors are named %s", named.Quote(t.Name))
		}
		names[t.Name] = true
		if err := t.check(); err != nil {
			return err
		}
	}
	return nil
}

// check says whether the tensor's type is known and its data have the length
// that type and shape ask for.
func (t *Tensor) check() error {
	if t.DType.Size() == 0 {
		return fmt.Errorf("safetensors: tensor %s has the unknown type %s", named.Quote(t.Name), named.Quote(string(t.DType)))
	}
	if len(t.Shape) > maxRank {
		return fmt.Errorf("safetensors: tensor %s has %d dimensions, more than %d", named.Quote(t.Name), len(t.Shape), maxRank)
	}
	size, ok := byteLen(t.DType, t.Shape)
	if !ok {
		return fmt.Errorf("safetensors: tensor %s has the impossible shape %v", named.Quote(t.Name), t.Shape)
	}
	if size != len(t.Data) {
		return fmt.Errorf("safetensors: tensor %s has %d bytes of data, but %s%v needs %d", named.Quote(t.Name), len(t.Data), t.DType, t.Shape, size)
	}
	return nil
}
