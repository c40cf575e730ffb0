package observe

import (
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"math"
	"os"
	"slices"
	"strings"
	"testing"
)

// A splitMix is SplitMix64, as scripts/golden_observers.py has it.
type splitMix uint64

func (r *splitMix) next() uint64 {
	*r += 0x9E3779B97F4A7C15
	z := uint64(*r)
	z = (z ^ z>>30) * 0xBF58476D1CE4E5B9
	z = (z ^ z>>27) * 0x94D049BB133111EB
	return z ^ z>>31
}

// bits draws a finite float32 of any size.
func (r *splitMix) bits() float32 {
	for {
		if v := math.Float32frombits(uint32(r.next() >> 32)); v-v == 0 {
			return v
		}
	}
}

// unit draws a float32 from -1 up to 1.
func (r *splitMix) unit() float32 {
	return float32(int64(r.next()>>40)-(1<<23)) / (1 << 23)
}

var kinds = []struct {
	name       string
	qmin, qmax int
}{{"int8", -128, 127}, {"int8_symmetric", -127, 127}, {"int8_reduced", -64, 64}, {"uint8", 0, 255}, {"uint8_reduced", 0, 127}, {"int4", -8, 7}}

type golden struct {
	Scales struct {
		Random  map[string]string
		Extreme string
	}
	Observers []struct {
		Batches [][]any
		Ranges  map[string][2]uint32
	}
}

func load(t *testing.T) golden {
	t.Helper()
	text, err := os.ReadFile("testdata/onnxruntime.json")
	if err != nil {
		t.Fatal(err)
	}
	var g golden
	if err := json.Unmarshal(text, &g); err != nil {
		t.Fatal(err)
	}
	return g
}

// packed returns a scale and a zero point as the script hashes them.
func packed(t *testing.T, lo, hi float32, qmin, qmax int, sym bool) []byte {
	t.Helper()
	s, z, err := Scale(lo, hi, qmin, qmax, sym)
	if err != nil {
		t.Fatal(err)
	}
	return binary.LittleEndian.AppendUint32(binary.LittleEndian.AppendUint32(nil, math.Float32bits(s)), uint32(int32(z)))
}

// Scales and zero points are those of ONNX Runtime on random ranges, bit for bit.
func TestScalesOfRandomRanges(t *testing.T) {
	g := load(t)
	for _, k := range kinds {
		for _, sym := range []bool{false, true} {
			r, h := splitMix(1), sha256.New()
			for i := range 5000 {
				draw := r.unit
				if i%2 == 0 {
					draw = r.bits
				}
				a, b := draw(), draw()
				h.Write(packed(t, min(a, b), max(a, b), k.qmin, k.qmax, sym))
			}
			key := k.name + "/" + map[bool]string{false: "False", true: "True"}[sym]
			if got := hex.EncodeToString(h.Sum(nil)); got != g.Scales.Random[key] {
				t.Errorf("%s: %s, ONNX Runtime %s", key, got, g.Scales.Random[key])
			}
		}
	}
}

// So are those of ranges with ends of 0, below the normal numbers, and at the largest.
func TestScalesOfExtremeRanges(t *testing.T) {
	sizes := []float32{0, 1e-45, 1.1754944e-38, 1e-36, 1e-20, 1, 6, 255, 1e30, math.MaxFloat32}
	type row struct{ s, z uint32 }
	var rows []row
	for _, a := range sizes {
		for _, b := range sizes {
			ranges := [][2]float32{{-a, b}, {min(a, b), max(a, b)}, {-max(a, b), -min(a, b)}}
			slices.SortFunc(ranges, func(x, y [2]float32) int { return slices.Compare(x[:], y[:]) })
			for _, r := range slices.Compact(ranges) {
				for _, k := range kinds {
					for _, sym := range []bool{false, true} {
						p := packed(t, r[0], r[1], k.qmin, k.qmax, sym)
						rows = append(rows, row{binary.LittleEndian.Uint32(p), binary.LittleEndian.Uint32(p[4:])})
					}
				}
			}
		}
	}
	slices.SortFunc(rows, func(x, y row) int {
		if x.s != y.s {
			return int(int64(x.s) - int64(y.s))
		}
		return int(int32(x.z)) - int(int32(y.z))
	})
	h := sha256.New()
	for _, r := range rows {
		h.Write(binary.LittleEndian.AppendUint32(binary.LittleEndian.AppendUint32(nil, r.s), r.z))
	}
	if got := hex.EncodeToString(h.Sum(nil)); got != load(t).Scales.Extreme {
		t.Errorf("%d ranges: %s", len(rows), got)
	}
}

// shapes are the script's.
var shapes = map[string]func(u float32) float32{
	"cube":     func(u float32) float32 { return float32(u*u) * u },
	"peak":     func(u float32) float32 { return u / (1.001 - float32(u*u)) },
	"relu":     func(u float32) float32 { return max(float32(u*u)*u, 0) },
	"positive": func(u float32) float32 { return float32(u*u) + 1 },
	"negative": func(u float32) float32 { return -float32(u * u) },
	"steps":    func(u float32) float32 { return float32(math.Floor(float64(u*4))) / 4 },
	"zero":     func(u float32) float32 { return u * 0 },
	"constant": func(u float32) float32 { return u*0 + 0.3 },
}

// Ranges are those of ONNX Runtime's calibrators, bit for bit.
func TestRanges(t *testing.T) {
	for n, c := range load(t).Observers {
		r := splitMix(100 + n)
		var batches [][]float32
		for _, b := range c.Batches {
			values := make([]float32, int(b[1].(float64)))
			for i := range values {
				values[i] = shapes[b[0].(string)](r.unit()) * float32(b[2].(float64))
			}
			batches = append(batches, values)
		}
		for key, want := range c.Ranges {
			part := strings.Split(key, "/")
			o := Options{Symmetric: part[1] == "True"}
			if len(part) > 2 {
				fmt.Sscan(part[2], &o.Bins)
				fmt.Sscan(part[3], &o.Percentile)
			}
			x, err := New(part[0], o)
			if err != nil {
				t.Fatal(err)
			}
			for _, b := range batches {
				if err := x.Add(b); err != nil {
					t.Fatal(err)
				}
			}
			lo, hi, err := x.Range()
			if wantLo, wantHi := math.Float32frombits(want[0]), math.Float32frombits(want[1]); err != nil || lo != wantLo || hi != wantHi {
				t.Errorf("%v %s: [%v, %v], ONNX Runtime [%v, %v] (%v)", c.Batches, key, lo, hi, wantLo, wantHi, err)
			}
		}
	}
}
