package onnx

import (
	"bufio"
	"fmt"
	"io"
	"math"

	"github.com/potstill/potstill/layers/checkpoint"
	"github.com/potstill/potstill/layers/checkpoint/safetensors"
	"google.golang.org/protobuf/encoding/protowire"
)

// The versions that are written: of the format, of the standard operators.
const (
	irVersion    = 8
	opsetVersion = 17
)

// Write stores c at path as ONNX and returns the file's size in bytes. It is
// atomic: a reader finds the old file or the whole new one. Equal checkpoints
// and options make equal files.
func Write(path string, c *checkpoint.Checkpoint, o Options) (bytes int64, err error) {
	x, err := export(c, o)
	if err != nil {
		return 0, fmt.Errorf("write %s: %w", path, err)
	}
	return safetensors.WriteAtomic(path, x.encode)
}

// Encode writes c to w as ONNX.
func Encode(w io.Writer, c *checkpoint.Checkpoint, o Options) error {
	x, err := export(c, o)
	if err != nil {
		return err
	}
	return x.encode(w)
}

// encode writes the ModelProto. The graph, by far the largest part, is written
// piece by piece.
func (x *exporter) encode(w io.Writer) error {
	var head, graphHead, tail message
	head.int(1, irVersion)
	head.string(2, producer)
	if x.o.Version != "" {
		head.string(3, x.o.Version)
	}
	parts := make([]message, 0, len(x.nodes)+len(x.tensors)+1)
	size := 0
	add := func(field protowire.Number, body message) {
		head := protowire.AppendTag(nil, field, protowire.BytesType)
		head = protowire.AppendVarint(head, uint64(len(body)))
		parts = append(parts, head, body)
		size += len(head) + len(body)
	}
	for _, n := range x.nodes {
		add(1, n.encode())
	}
	graphHead.string(2, x.model.String())
	parts, size = append(parts, graphHead), size+len(graphHead)
	for _, t := range x.tensors {
		add(5, t.encode())
	}
	add(11, batchOf(inputName, x.arch.InChannels, x.size, x.size))
	add(12, batchOf(outputName, x.arch.Classes))

	var opset message
	opset.string(1, "") // the standard operators
	opset.int(2, opsetVersion)
	tail.bytes(8, opset)
	for _, e := range x.metadata {
		var entry message
		entry.string(1, e[0])
		entry.string(2, e[1])
		tail.bytes(14, entry)
	}
	if size > math.MaxInt32-len(head)-len(tail)-16 {
		return fmt.Errorf("the model has %d bytes; an ONNX file of one piece holds at most 2 GiB", size)
	}
	head = protowire.AppendTag(head, 7, protowire.BytesType)
	head = protowire.AppendVarint(head, uint64(size))

	buffer := bufio.NewWriterSize(w, 1<<16)
	for _, p := range append(append([]message{head}, parts...), tail) {
		if _, err := buffer.Write(p); err != nil {
			return err
		}
	}
	return buffer.Flush()
}
