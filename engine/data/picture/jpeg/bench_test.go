package jpeg

import (
	"bytes"
	"image"
	"image/color"
	"image/jpeg"
	"math"
	"testing"
	"time"
)

// photo paints something like a photograph, n×n: smooth areas, edges, texture and
// noise.
func photo(n int) *image.RGBA {
	m := image.NewRGBA(image.Rect(0, 0, n, n))
	seed := uint32(1)
	for y := range n {
		for x := range n {
			seed = seed*1664525 + 1013904223
			noise := float64(seed>>24)/16 - 8
			u, v := float64(x)/float64(n), float64(y)/float64(n)
			r := 120 + 80*math.Sin(5*u+2*v) + noise
			g := 110 + 70*math.Cos(4*v-3*u) + noise
			b := 100 + 60*math.Sin(7*u*v) + noise
			if math.Hypot(u-0.6, v-0.4) < 0.25 { // an object with texture
				t := 40 * math.Sin(90*u+40*math.Sin(9*v))
				r, g, b = r/2+90+t, g/3+40+t, b/2+t
			}
			c := func(v float64) uint8 { return uint8(min(max(v, 0), 255)) }
			m.Set(x, y, color.RGBA{c(r), c(g), c(b), 255})
		}
	}
	return m
}

func photoFile(tb testing.TB, n, quality int) []byte {
	var b bytes.Buffer
	if err := jpeg.Encode(&b, photo(n), &jpeg.Options{Quality: quality}); err != nil {
		tb.Fatal(err)
	}
	return b.Bytes()
}

func BenchmarkDecode(b *testing.B) {
	file := photoFile(b, 512, 85)
	b.SetBytes(512 * 512 * 3)
	b.ReportAllocs()
	for b.Loop() {
		if _, err := Decode(file, 1e8); err != nil {
			b.Fatal(err)
		}
	}
}

// BenchmarkAgainstBefore decodes in turns by this package and by what was there
// before it: image/jpeg, and the conversion with interpolated chroma. Of each the
// fastest turn counts, which other work on the machine disturbs least.
func BenchmarkAgainstBefore(b *testing.B) {
	for _, c := range []struct {
		name       string
		n, quality int
	}{{"512-quality75", 512, 75}, {"512-quality90", 512, 90}, {"128-quality85", 128, 85}, {"32-quality85", 32, 85}} {
		b.Run(c.name, func(b *testing.B) {
			file := photoFile(b, c.n, c.quality)
			ours, before := time.Hour, time.Hour
			for b.Loop() {
				t0 := time.Now()
				if _, err := Decode(file, 1e8); err != nil {
					b.Fatal(err)
				}
				t1 := time.Now()
				m, err := jpeg.Decode(bytes.NewReader(file))
				if err != nil {
					b.Fatal(err)
				}
				out := make([]uint8, c.n*c.n*3)
				ycbcrToRGB(out, m.(*image.YCbCr))
				before = min(before, time.Since(t1))
				ours = min(ours, t1.Sub(t0))
			}
			b.ReportMetric(ours.Seconds()*1e6, "µs/ours")
			b.ReportMetric(before.Seconds()*1e6, "µs/before")
			b.ReportMetric(before.Seconds()/ours.Seconds(), "times-as-fast")
		})
	}
}
