package checkpoint

import (
	"cmp"
	"encoding/json"
	"fmt"
	"os"

	"github.com/potstill/potstill/layers/checkpoint/foreign"
	"github.com/potstill/potstill/layers/checkpoint/onnxnet"
	"github.com/potstill/potstill/layers/checkpoint/onnxread"
)

// FormatONNX is the Format of ONNX files.
const FormatONNX = "ONNX"

// importedONNX makes a checkpoint of an ONNX file, which holds its own net.
func importedONNX(path string, o OpenOptions) (*Checkpoint, *opened, error) {
	switch {
	case o.Arch.Family != "" || o.Net != nil:
		return nil, nil, bad(path, "leave the architecture out", "it holds its own net")
	case o.Weights != "":
		return nil, nil, bad(path, "leave --weights out", "it holds one net only")
	}
	m, err := onnxread.Read(path)
	if err != nil {
		return nil, nil, err
	}
	r, err := onnxnet.Import(m, o.Input)
	if err != nil {
		return nil, nil, foreign.WithPath(path, err)
	}
	info, err := os.Stat(path)
	if err != nil {
		return nil, nil, err
	}
	c := &Checkpoint{Net: r.Net, State: r.State, Preprocess: importedPreprocess(r.Net), Path: path, Bytes: info.Size()}
	if size := cmp.Or(r.Height, r.Net.Input.Height); size > 0 && size == cmp.Or(r.Width, r.Net.Input.Width) {
		c.Preprocess = Preprocess{Size: size, Resize: size, Assumed: true}
	}
	notes := r.Notes
	if m.Producer == ourProducer {
		notes = append(notes, c.described(m.Metadata)...)
	}
	event := Event{Kind: KindImport, Detail: fmt.Sprintf("%s, operators of version %d", FormatONNX, m.Opset)}
	for _, n := range notes {
		event.Detail += "; " + n
	}
	if event.Parent, err = Fingerprint(path); err != nil {
		return nil, nil, err
	}
	c.History = []Event{event}
	return c, &opened{onnx: m, notes: notes}, nil
}

// ourProducer is what package onnx names as the program that writes.
const ourProducer = "potstill"

// described takes classes and preprocessing from the metadata that package onnx
// writes. What does not fit the net is left out, and the note says so.
func (c *Checkpoint) described(metadata [][2]string) (notes []string) {
	for _, e := range metadata {
		was := *c
		var err error
		switch e[0] {
		case "classes":
			err = json.Unmarshal([]byte(e[1]), &c.Classes)
		case "preprocessing":
			c.Preprocess = Preprocess{}
			err = json.Unmarshal([]byte(e[1]), &c.Preprocess)
		default:
			continue
		}
		if err = cmp.Or(err, c.check()); err != nil {
			*c = was
			notes = append(notes, "its metadata of "+e[0]+" do not fit the net and are left out")
		}
	}
	return notes
}

// onnxParts accounts for an ONNX file: its weights by type, and the rest.
func onnxParts(m *onnxread.Model, size int64) []Part {
	var t tally
	rest := size
	for _, x := range m.Constants {
		n := x.Bytes()
		if x.External {
			continue
		}
		rest -= n
		t.add("tensors in "+x.DType, n, 1)
	}
	if rest < 0 {
		return []Part{{Name: "graph and tensors", Bytes: size}}
	}
	t.sort()
	t.add("graph: nodes and names", rest, 0)
	return t
}
