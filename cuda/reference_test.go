//go:build linux && cgo

package cuda

import (
	"encoding/binary"
	"math"
	"math/rand/v2"
	"testing"
	"unsafe"
)

// A sum is a reference's element: its value, and the sum of its products'
// absolute values, to which errors are held.
type sum struct{ v, abs float64 }

func (s *sum) add(a, b float64) { s.v += a * b; s.abs += math.Abs(a * b) }

// bf16 rounds to the nearest bfloat16, of two to the even one.
func bf16(f float32) float32 {
	b := math.Float32bits(f)
	b += 0x7fff + b>>16&1
	return math.Float32frombits(b &^ 0xffff)
}

// numbers are n random ones, which bfloat16 holds if it is meant to.
func numbers(rng *rand.Rand, n int, half bool) []float32 {
	f := make([]float32, n)
	for i := range f {
		f[i] = float32(rng.NormFloat64())
		if half {
			f[i] = bf16(f[i])
		}
	}
	return f
}

// encode is how a device holds the numbers.
func encode(f []float32, half bool) []byte {
	if !half {
		return asBytes(f)
	}
	b := make([]byte, 2*len(f))
	for i, v := range f {
		binary.LittleEndian.PutUint16(b[2*i:], uint16(math.Float32bits(v)>>16))
	}
	return b
}

func decode(b []byte, half bool) []float32 {
	if !half {
		return unsafe.Slice((*float32)(unsafe.Pointer(unsafe.SliceData(b))), len(b)/4)
	}
	f := make([]float32, len(b)/2)
	for i := range f {
		f[i] = math.Float32frombits(uint32(binary.LittleEndian.Uint16(b[2*i:])) << 16)
	}
	return f
}

// upload puts the numbers in new memory of the device.
func upload(t testing.TB, s *Stream, f []float32, half bool) Ptr {
	t.Helper()
	b := encode(f, half)
	p := must[Ptr](t)(s.c.Alloc(len(b)))
	check(t, s.Write(p, b))
	return p
}

// spoil makes every number NaN.
func spoil(t testing.TB, s *Stream, p Ptr, n int, half bool) {
	t.Helper()
	bytes := 4 * n
	if half {
		bytes = 2 * n
	}
	check(t, s.Fill(p, 0xff, bytes))
}

func fetch(t testing.TB, s *Stream, p Ptr, n int, half bool) []float32 {
	t.Helper()
	bytes := 4 * n
	if half {
		bytes = 2 * n
	}
	b := make([]byte, bytes)
	check(t, s.Read(b, p))
	return decode(b, half)
}

// near fails the test unless got is want within what summing in float32 allows,
// and rounding to bfloat16 where it is stored so. It returns the largest error
// relative to the products' absolute values.
func near(t testing.TB, what string, got []float32, want []sum, half bool) (worst float64) {
	t.Helper()
	for i, w := range want {
		bound := 1e-5 * (w.abs + 1e-30)
		if half {
			bound += math.Abs(w.v) / 256
		}
		e := math.Abs(float64(got[i]) - w.v)
		if !(e <= bound) {
			t.Fatalf("%s: element %d is %v, want %v within %.3g", what, i, got[i], w.v, bound)
		}
		worst = max(worst, e/(w.abs+1e-30))
	}
	return worst
}

// convolve is the definition of the three passes: x, w and y as ConvShape has
// them, y being dy where it is read.
func convolve(s ConvShape, p ConvPass, x, w, y []float32) []sum {
	size := [3]int{Forward: len(y), BackwardData: len(x), BackwardFilter: len(w)}[p]
	to := make([]sum, size)
	cg, og := s.C/s.Groups, s.O/s.Groups
	for n := range s.N {
		for i := range s.OH {
			for j := range s.OW {
				for o := range s.O {
					iy := ((n*s.OH+i)*s.OW+j)*s.O + o
					for p1 := range s.KH {
						for q := range s.KW {
							h, v := i*s.Stride[0]-s.Pad[0]+p1*s.Dilation[0], j*s.Stride[1]-s.Pad[1]+q*s.Dilation[1]
							if h < 0 || h >= s.H || v < 0 || v >= s.W {
								continue
							}
							for c := range cg {
								ix := ((n*s.H+h)*s.W+v)*s.C + o/og*cg + c
								iw := ((o*s.KH+p1)*s.KW+q)*cg + c
								switch p {
								case Forward:
									to[iy].add(float64(x[ix]), float64(w[iw]))
								case BackwardData:
									to[ix].add(float64(y[iy]), float64(w[iw]))
								case BackwardFilter:
									to[iw].add(float64(y[iy]), float64(x[ix]))
								}
							}
						}
					}
				}
			}
		}
	}
	return to
}

// columnSums returns those of op(B).
func columnSums(s MatmulShape, b []float32) []sum {
	to := make([]sum, s.N)
	for j := range s.N {
		for k := range s.K {
			if s.TransB {
				to[j].add(float64(b[j*s.K+k]), 1)
			} else {
				to[j].add(float64(b[k*s.N+j]), 1)
			}
		}
	}
	return to
}

// product is the definition of a matmul.
func product(s MatmulShape, a, b, bias []float32) []sum {
	to := make([]sum, s.M*s.N)
	for i := range s.M {
		for j := range s.N {
			c := &to[i*s.N+j]
			for k := range s.K {
				ia, ib := i*s.K+k, k*s.N+j
				if s.TransA {
					ia = k*s.M + i
				}
				if s.TransB {
					ib = j*s.K + k
				}
				c.add(float64(a[ia]), float64(b[ib]))
			}
			if s.Bias {
				c.add(float64(bias[j]), 1)
			}
		}
	}
	return to
}
