package data

import (
	"encoding/json"
	"os"
	"slices"
	"testing"

	"github.com/potstill/potstill/engine/random"
)

// The goldens are made by scripts/golden_data.py with torchvision and PIL.
type goldenPic struct {
	H, W int
	Pix  []byte
}

type goldenFile struct {
	Pictures []goldenPic
	Cases    []struct {
		Op   string
		Src  int
		Args []float64
		Out  goldenPic
	}
	Pads []struct {
		N, Pad, Size int
		Line         []int
	}
	Normalize struct {
		Src       int
		Mean, Std []float32
		Out       []float32
	}
	ToTensor []float32 `json:"to_tensor"`
	Central  [][6]int
	Files    []struct {
		Name string
		File []byte
		Out  goldenPic
	}
}

func goldens(t testing.TB) *goldenFile {
	t.Helper()
	b, err := os.ReadFile("testdata/golden.json")
	if err != nil {
		t.Fatal(err)
	}
	g := new(goldenFile)
	if err := json.Unmarshal(b, g); err != nil {
		t.Fatal(err)
	}
	return g
}

// diff returns the largest difference and how many bytes differ.
func diff(t *testing.T, got, want []byte) (worst, n int) {
	t.Helper()
	if len(got) != len(want) {
		t.Fatalf("%d bytes, want %d", len(got), len(want))
	}
	for i := range got {
		d := int(got[i]) - int(want[i])
		if d < 0 {
			d = -d
		}
		if d > 0 {
			n++
		}
		worst = max(worst, d)
	}
	return worst, n
}

func toBytes(f []float32) []byte {
	b := make([]byte, len(f))
	for i, v := range f {
		b[i] = byte(v*255 + 0.5)
	}
	return b
}

// runGolden computes one deterministic stage through the code that Apply uses.
func runGolden(op string, args []float64, p goldenPic) []byte {
	src := Image{Pix: slices.Clone(p.Pix), H: p.H, W: p.W}
	s := new(scratch)
	s.prepareLUT(nil, nil)
	size := p.H * p.W * 3
	switch op {
	case "center_crop":
		n := int(args[0])
		dst := make([]float32, n*n*3)
		EvalTransform(n).Apply(dst, src, nil)
		return toBytes(dst)
	case "resize":
		tr := Transform{Resize: int(args[0])}
		h, w := tr.OutSize(p.H, p.W)
		dst := make([]float32, h*w*3)
		tr.Apply(dst, src, nil)
		return toBytes(dst)
	case "rotate":
		n := int(args[1])
		v := viewOf(src).sub(0, 0, n, n)
		s.identity(n, n)
		dst, b := make([]float32, n*n*3), make([]byte, n*n*3)
		s.gatherFloatRotated(dst, v, n, n, args[0])
		s.gatherRotated(b, v, n, n, args[0])
		if !slices.Equal(b, toBytes(dst)) {
			panic("the two rotations differ")
		}
		return b
	case "brightness":
		adjustBrightness(src.Pix, args[0])
	case "contrast":
		adjustContrast(src.Pix, args[0])
	case "saturation":
		adjustSaturation(src.Pix, args[0])
	case "hue":
		adjustHue(src.Pix, args[0])
	case "perspective":
		w, h := p.W, p.H
		var to [4]point
		for i := range to {
			to[i] = point{int(args[2*i]), int(args[2*i+1])}
		}
		c := perspectiveCoeffs([4]point{{0, 0}, {w - 1, 0}, {w - 1, h - 1}, {0, h - 1}}, to)
		dst := make([]byte, size)
		perspective(dst, src.Pix, h, w, c)
		return dst
	case "resized_crop":
		dst := make([]byte, 16*16*3)
		v := viewOf(src).sub(int(args[0]), int(args[1]), int(args[2]), int(args[3]))
		s.resize(dst, v, 16, 16)
		return dst
	}
	return src.Pix
}

func TestAgainstTorchvision(t *testing.T) {
	g := goldens(t)
	for _, c := range g.Cases {
		got := runGolden(c.Op, c.Args, g.Pictures[c.Src])
		if worst, n := diff(t, got, c.Out.Pix); worst > 0 {
			t.Errorf("%s%v of picture %d: %d of %d bytes differ, by at most %d", c.Op, c.Args, c.Src, n, len(got), worst)
		}
	}
}

func TestNormalizeAgainstTorchvision(t *testing.T) {
	g := goldens(t)
	p := g.Pictures[g.Normalize.Src]
	dst := make([]float32, len(p.Pix))
	src := Image{Pix: p.Pix, H: p.H, W: p.W}
	Transform{}.Apply(dst, src, nil)
	if !slices.Equal(dst, g.ToTensor) {
		t.Error("pixels/255 differ from ToTensor")
	}
	Transform{Mean: g.Normalize.Mean, Std: g.Normalize.Std}.Apply(dst, src, nil)
	for i, v := range dst {
		if d := v - g.Normalize.Out[i]; d > 1e-6 || d < -1e-6 {
			t.Fatalf("normalized value %d is %g, want %g", i, v, g.Normalize.Out[i])
		}
	}
}

// TestSymmetricPadding holds every crop that can be drawn from a padded line to
// the line that torchvision pads.
func TestSymmetricPadding(t *testing.T) {
	for _, p := range goldens(t).Pads {
		seen := map[int]bool{}
		for sample := range 400 {
			r := random.New(1, 0, sample, random.UseAugment)
			idx := symmetricLine(p.N, p.Size, p.Pad, &r)
			again := random.New(1, 0, sample, random.UseAugment)
			start := again.IntN(len(p.Line) - p.Size + 1)
			seen[start] = true
			for i, v := range idx {
				if int(v) != p.Line[start+i] {
					t.Fatalf("n=%d pad=%d size=%d start=%d: sample %d is %d, want %d", p.N, p.Pad, p.Size, start, i, v, p.Line[start+i])
				}
			}
		}
		if want := len(p.Line) - p.Size + 1; len(seen) != want {
			t.Errorf("n=%d pad=%d size=%d: %d places drawn of %d", p.N, p.Pad, p.Size, len(seen), want)
		}
	}
}

func TestRandomResizedCropFallback(t *testing.T) {
	c := ScaleRatio{Scale: [2]float64{4, 4}, Ratio: [2]float64{3.0 / 4, 4.0 / 3}}
	for _, v := range goldens(t).Central {
		r := random.New(0, 0, 0, random.UseAugment)
		y, x, h, w := c.draw(v[0], v[1], &r)
		if got := [6]int{v[0], v[1], y, x, h, w}; got != v {
			t.Errorf("got %v, want %v", got, v)
		}
	}
}

// TestDecodeAgainstPIL holds all formats to the bit.
func TestDecodeAgainstPIL(t *testing.T) {
	for _, f := range goldens(t).Files {
		m, err := DecodeImage(f.File)
		if err != nil {
			t.Errorf("%s: %v", f.Name, err)
			continue
		}
		if m.H != f.Out.H || m.W != f.Out.W {
			t.Errorf("%s: %dx%d, want %dx%d", f.Name, m.H, m.W, f.Out.H, f.Out.W)
			continue
		}
		if worst, n := diff(t, m.Pix, f.Out.Pix); n > 0 {
			t.Errorf("%s: %d of %d bytes differ, by up to %d", f.Name, n, len(m.Pix), worst)
		}
	}
}
