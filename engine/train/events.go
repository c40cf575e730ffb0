package train

import (
	"encoding/binary"
	"fmt"
	"hash/crc32"
	"io"
	"maps"
	"math"
	"slices"
	"time"

	"google.golang.org/protobuf/encoding/protowire"
)

// An EventWriter writes scalars in the format that TensorBoard reads: TFRecord
// frames, each with an Event message (tensorflow/core/util/event.proto). Each
// scalar is one Write.
type EventWriter struct {
	w   io.Writer
	now func() time.Time
	buf []byte
	err error
}

// EventFileName returns the name that TensorBoard looks for in a run's folder:
// events.out.tfevents.<unix seconds>.<host>.
func EventFileName(t time.Time, host string) string {
	return fmt.Sprintf("events.out.tfevents.%010d.%s", t.Unix(), host)
}

// NewEventWriter writes the file's first record, its version, to w. Now gives
// the wall time of records; nil means time.Now.
func NewEventWriter(w io.Writer, now func() time.Time) (*EventWriter, error) {
	if now == nil {
		now = time.Now
	}
	e := &EventWriter{w: w, now: now}
	ev := e.event(0)
	ev = protowire.AppendTag(ev, fieldFileVersion, protowire.BytesType)
	ev = protowire.AppendString(ev, "brain.Event:2")
	return e, e.record(ev)
}

// The field numbers of Event, Summary and Summary.Value.
const (
	fieldWallTime    = 1 // double
	fieldStep        = 2 // int64
	fieldFileVersion = 3 // string
	fieldSummary     = 5 // Summary
	fieldValue       = 1 // repeated Value
	fieldTag         = 1 // string
	fieldSimple      = 2 // float
)

// event starts an Event with its wall time, in seconds since 1970, and step.
func (e *EventWriter) event(step int) []byte {
	wall := float64(e.now().UnixMicro()) / 1e6
	b := protowire.AppendTag(nil, fieldWallTime, protowire.Fixed64Type)
	b = protowire.AppendFixed64(b, math.Float64bits(wall))
	b = protowire.AppendTag(b, fieldStep, protowire.VarintType)
	return protowire.AppendVarint(b, uint64(step))
}

// Scalar writes the value of tag ("loss/train") at a step.
func (e *EventWriter) Scalar(tag string, step int, value float64) error {
	v := protowire.AppendTag(nil, fieldTag, protowire.BytesType)
	v = protowire.AppendString(v, tag)
	v = protowire.AppendTag(v, fieldSimple, protowire.Fixed32Type)
	v = protowire.AppendFixed32(v, math.Float32bits(float32(value)))
	s := protowire.AppendTag(nil, fieldValue, protowire.BytesType)
	s = protowire.AppendBytes(s, v)
	ev := protowire.AppendTag(e.event(step), fieldSummary, protowire.BytesType)
	return e.record(protowire.AppendBytes(ev, s))
}

// Epoch writes an epoch's figures, at the number of steps done: loss/train,
// accuracy/train, loss/val, accuracy/val, lr, images_per_second and, with
// clipping, grad_norm. A loss of several terms has one loss/train/NAME for each.
func (e *EventWriter) Epoch(i EpochInfo) error {
	type scalar struct {
		tag   string
		value float64
	}
	scalars := []scalar{
		{"loss/train", i.TrainLoss}, {"accuracy/train", i.TrainAccuracy}, {"loss/val", i.ValLoss},
		{"accuracy/val", i.ValAccuracy}, {"lr", i.LR}, {"images_per_second", i.ImagesPerSecond}, {"grad_norm", i.GradNorm},
	}
	if i.GradNorm == 0 {
		scalars = scalars[:len(scalars)-1]
	}
	for _, name := range slices.Sorted(maps.Keys(i.Terms)) {
		scalars = append(scalars, scalar{"loss/train/" + name, i.Terms[name]})
	}
	for _, s := range scalars {
		if err := e.Scalar(s.tag, i.Step, s.value); err != nil {
			return err
		}
	}
	return nil
}

// record writes one TFRecord: the length (uint64, little endian), its masked
// checksum, the data, their masked checksum. After an error it refuses all
// further ones, for the file would be cut in the middle of a record.
func (e *EventWriter) record(data []byte) error {
	if e.err != nil {
		return e.err
	}
	b := binary.LittleEndian.AppendUint64(e.buf[:0], uint64(len(data)))
	b = binary.LittleEndian.AppendUint32(b, maskedCRC(b))
	b = append(b, data...)
	b = binary.LittleEndian.AppendUint32(b, maskedCRC(data))
	e.buf = b
	if _, err := e.w.Write(b); err != nil {
		e.err = fmt.Errorf("tensorboard events: %w", err)
	}
	return e.err
}

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// maskedCRC is TFRecord's checksum: CRC-32C, rotated right by 15 bits, plus a
// constant, so that the checksum of data that hold checksums is a good one.
func maskedCRC(b []byte) uint32 {
	c := crc32.Checksum(b, castagnoli)
	return (c>>15 | c<<17) + 0xa282ead8
}
