package train

import (
	"bytes"
	"encoding/binary"
	"encoding/json"
	"errors"
	"hash/crc32"
	"math"
	"slices"
	"strings"
	"testing"
	"time"

	"google.golang.org/protobuf/encoding/protowire"
)

var someEpoch = EpochInfo{Epoch: 2, Step: 80, TrainLoss: 1.5, TrainAccuracy: 0.5, ValLoss: 1.25, ValAccuracy: 0.625,
	LR: 0.001, ImagesPerSecond: 400, Seconds: 3, Best: true, Confusion: NewConfusion(2)}

// The names of the fields are an interface.
func TestMetricsLines(t *testing.T) {
	var b bytes.Buffer
	w := NewMetricsWriter(&b)
	clipped := someEpoch
	clipped.GradNorm = 7
	for _, e := range []EpochInfo{someEpoch, clipped} {
		if err := w.Epoch(e); err != nil {
			t.Fatal(err)
		}
	}
	want := `{"epoch":2,"step":80,"train_loss":1.5,"train_accuracy":0.5,"val_loss":1.25,"val_accuracy":0.625,` +
		`"lr":0.001,"images_per_second":400,"seconds":3,"best":true}` + "\n"
	want += strings.Replace(want, `"best"`, `"grad_norm":7,"best"`, 1)
	if b.String() != want {
		t.Errorf("got\n%swant\n%s", b.String(), want)
	}
	var back EpochInfo
	if err := json.Unmarshal([]byte(strings.SplitN(want, "\n", 2)[0]), &back); err != nil || back.ValLoss != 1.25 {
		t.Errorf("%+v: %v", back, err)
	}
}

func TestMaskedCRC(t *testing.T) {
	// RFC 3720 gives the CRC-32C of "123456789"; the mask is TFRecord's.
	c := uint32(0xe3069283)
	if crc32.Checksum([]byte("123456789"), castagnoli) != c {
		t.Fatal("not CRC-32C")
	}
	if want := (c>>15 | c<<17) + 0xa282ead8; maskedCRC([]byte("123456789")) != want {
		t.Errorf("%#x, want %#x", maskedCRC([]byte("123456789")), want)
	}
	// Event files begin with a record of 24 bytes: 18 00 00 00 00 00 00 00 a3 7f 4b 22.
	if got := maskedCRC([]byte{24, 0, 0, 0, 0, 0, 0, 0}); got != 0x224b7fa3 {
		t.Errorf("%#x", got)
	}
}

// fields decodes one level of a message: number → raw values.
func fields(t *testing.T, b []byte) map[protowire.Number][]any {
	t.Helper()
	out := make(map[protowire.Number][]any)
	for len(b) > 0 {
		num, typ, n := protowire.ConsumeTag(b)
		if n < 0 {
			t.Fatal(protowire.ParseError(n))
		}
		b = b[n:]
		var v any
		switch typ {
		case protowire.VarintType:
			v, n = protowire.ConsumeVarint(b)
		case protowire.Fixed64Type:
			v, n = protowire.ConsumeFixed64(b)
		case protowire.Fixed32Type:
			v, n = protowire.ConsumeFixed32(b)
		case protowire.BytesType:
			v, n = protowire.ConsumeBytes(b)
		}
		if n < 0 {
			t.Fatal(protowire.ParseError(n))
		}
		out[num] = append(out[num], v)
		b = b[n:]
	}
	return out
}

// records takes TFRecord frames apart and checks their checksums.
func records(t *testing.T, b []byte) (out [][]byte) {
	t.Helper()
	for len(b) > 0 {
		n := int(binary.LittleEndian.Uint64(b))
		data := b[12 : 12+n]
		if binary.LittleEndian.Uint32(b[8:]) != maskedCRC(b[:8]) || binary.LittleEndian.Uint32(b[12+n:]) != maskedCRC(data) {
			t.Fatal("wrong checksum")
		}
		out = append(out, data)
		b = b[16+n:]
	}
	return out
}

func TestEventFile(t *testing.T) {
	now := time.Unix(1700000000, 500e6)
	var b bytes.Buffer
	w, err := NewEventWriter(&b, func() time.Time { return now })
	if err != nil {
		t.Fatal(err)
	}
	clipped := someEpoch
	clipped.GradNorm = 7
	if err := errors.Join(w.Epoch(someEpoch), w.Epoch(clipped)); err != nil {
		t.Fatal(err)
	}
	rs := records(t, b.Bytes())
	if v := fields(t, rs[0])[3]; len(v) != 1 || string(v[0].([]byte)) != "brain.Event:2" {
		t.Fatalf("first record: %v", v)
	}
	var tags []string
	values := map[string]float32{}
	for _, r := range rs[1:] {
		ev := fields(t, r)
		if ev[2][0].(uint64) != 80 || math.Float64frombits(ev[1][0].(uint64)) != 1700000000.5 {
			t.Errorf("step and time: %v", ev)
		}
		v := fields(t, fields(t, ev[5][0].([]byte))[1][0].([]byte))
		tag := string(v[1][0].([]byte))
		tags = append(tags, tag)
		values[tag] = math.Float32frombits(v[2][0].(uint32))
	}
	want := []string{"loss/train", "accuracy/train", "loss/val", "accuracy/val", "lr", "images_per_second"}
	if !slices.Equal(tags, append(append(want, want...), "grad_norm")) {
		t.Errorf("tags %v", tags)
	}
	if values["loss/val"] != 1.25 || values["accuracy/val"] != 0.625 || values["grad_norm"] != 7 || values["lr"] != 0.001 {
		t.Errorf("values %v", values)
	}
	if got := EventFileName(now, "host"); got != "events.out.tfevents.1700000000.host" {
		t.Error(got)
	}
}

// shortWriter fails at its second write.
type shortWriter struct{ n int }

func (w *shortWriter) Write(b []byte) (int, error) {
	w.n++
	if w.n == 2 {
		return len(b) / 2, errors.New("disk full")
	}
	return len(b), nil
}

func TestEventWriterStopsAfterAnError(t *testing.T) {
	s := &shortWriter{}
	w, err := NewEventWriter(s, nil)
	if err != nil {
		t.Fatal(err)
	}
	for range 2 {
		if err := w.Scalar("x", 1, 1); err == nil || !strings.Contains(err.Error(), "disk full") {
			t.Error(err)
		}
	}
	if s.n != 2 {
		t.Errorf("%d writes", s.n)
	}
}
