// Package random has counter-based random numbers: every number is a pure
// function of a seed and of what it is for, so that it does not depend on the
// goroutine that draws it, on what was drawn before, or on where a run was
// resumed.
package random

import (
	"math"
	"math/bits"
)

// Uses of random numbers. A use keeps the streams of two purposes apart that
// share a seed, an epoch and a sample. Other packages that draw numbers, such
// as layers for the initial weights, take values from UseOther upwards.
const (
	UseShuffle uint32 = 1  // order of an epoch, see [Perm]
	UseAugment uint32 = 2  // one image's augmentation
	UseMixup   uint32 = 3  // one batch's mixing weight and partners
	UseBalance uint32 = 4  // order of an epoch with every class as often
	UseOther   uint32 = 16 // first value that is free
)

// Rand is a counter-based random number generator, Philox 4x32 with 10 rounds
// (Salmon, Moraes, Dror and Shaw, "Parallel random numbers: as easy as 1, 2,
// 3", SC 2011). Its stream is a pure function of (seed, epoch, sample, use), so
// that a sample's augmentation does not depend on which goroutine draws it, on
// what was drawn before, or on where a run was resumed.
//
// A Rand is a small value; it is not safe for concurrent use.
type Rand struct {
	key  [2]uint32
	ctr  [4]uint32 // block, sample, epoch, use
	out  [4]uint32
	left int // unread words of out
}

// New returns the generator of one stream. Epoch and sample are taken
// modulo 2^32. A stream repeats after 2^34 words.
func New(seed uint64, epoch, sample int, use uint32) Rand {
	return Rand{
		key: [2]uint32{uint32(seed), uint32(seed >> 32)},
		ctr: [4]uint32{0, uint32(sample), uint32(epoch), use},
	}
}

// Philox returns the four words of Philox4x32-10 for a counter and a key
// (Salmon, Moraes, Dror and Shaw, SC 2011, section 3.3): ten rounds of two
// 32x32→64-bit multiplications, between which the Weyl constants are added to
// the key.
func Philox(c [4]uint32, k [2]uint32) [4]uint32 {
	const (
		m0, m1 = 0xD2511F53, 0xCD9E8D57
		w0, w1 = 0x9E3779B9, 0xBB67AE85
	)
	for range 10 {
		hi0, lo0 := bits.Mul32(m0, c[0])
		hi1, lo1 := bits.Mul32(m1, c[2])
		c = [4]uint32{hi1 ^ c[1] ^ k[0], lo1, hi0 ^ c[3] ^ k[1], lo0}
		k[0] += w0
		k[1] += w1
	}
	return c
}

// Uint32 returns 32 uniform bits.
func (r *Rand) Uint32() uint32 {
	if r.left == 0 {
		r.out = Philox(r.ctr, r.key)
		r.ctr[0]++
		r.left = 4
	}
	v := r.out[4-r.left]
	r.left--
	return v
}

// Uint64 returns 64 uniform bits, the earlier word in the lower half.
func (r *Rand) Uint64() uint64 {
	lo := r.Uint32()
	return uint64(r.Uint32())<<32 | uint64(lo)
}

// Float64 returns a uniform number in [0, 1) with 53 random bits.
func (r *Rand) Float64() float64 { return float64(r.Uint64()>>11) * 0x1p-53 }

// Uniform returns a uniform number in [lo, hi).
func (r *Rand) Uniform(lo, hi float64) float64 { return lo + (hi-lo)*r.Float64() }

// IntN returns a uniform integer in [0, n), without bias (Lemire, "Fast random
// integer generation in an interval", 2019). For n < 2 it returns 0 and draws
// nothing. n must be below 2^32.
func (r *Rand) IntN(n int) int {
	if n < 2 {
		return 0
	}
	m := uint32(n)
	hi, lo := bits.Mul32(r.Uint32(), m)
	if lo < m {
		for t := -m % m; lo < t; {
			hi, lo = bits.Mul32(r.Uint32(), m)
		}
	}
	return int(hi)
}

// NormFloat64 returns a standard normal number by the Box–Muller transform; of
// the pair only the cosine is used, so that a draw always costs four words.
func (r *Rand) NormFloat64() float64 {
	u, v := 1-r.Float64(), r.Float64()
	return math.Sqrt(-2*math.Log(u)) * math.Cos(2*math.Pi*v)
}

// logGamma returns the logarithm of a Gamma(a, 1) variate, a > 0, by Marsaglia
// and Tsang, "A simple method for generating gamma variables" (2000). Shapes
// below one use Gamma(a) = Gamma(a+1)·U^(1/a), in logarithms because U^(1/a)
// underflows for small a.
func (r *Rand) logGamma(a float64) float64 {
	boost := 0.0
	if a < 1 {
		boost = math.Log(1-r.Float64()) / a
		a++
	}
	d := a - 1.0/3
	c := 1 / math.Sqrt(9*d)
	for {
		x := r.NormFloat64()
		v := 1 + c*x
		if v <= 0 {
			continue
		}
		v = v * v * v
		u := 1 - r.Float64()
		if math.Log(u) < 0.5*x*x+d-d*v+d*math.Log(v) {
			return math.Log(d*v) + boost
		}
	}
}

// Beta returns a Beta(a, b) variate in [0, 1], a and b positive, as
// X/(X+Y) with X ~ Gamma(a) and Y ~ Gamma(b).
func (r *Rand) Beta(a, b float64) float64 {
	x := r.logGamma(a)
	y := r.logGamma(b)
	return 1 / (1 + math.Exp(y-x))
}

// Shuffle fills p with a uniform permutation of 0 … len(p)-1 (Fisher–Yates).
func (r *Rand) Shuffle(p []int) {
	for i := range p {
		p[i] = i
	}
	for i := len(p) - 1; i > 0; i-- {
		j := r.IntN(i + 1)
		p[i], p[j] = p[j], p[i]
	}
}

// Perm returns the order in which an epoch visits n samples: a uniform
// permutation that depends on seed and epoch alone.
func Perm(seed uint64, epoch, n int) []int {
	r := New(seed, epoch, 0, UseShuffle)
	p := make([]int, n)
	r.Shuffle(p)
	return p
}
