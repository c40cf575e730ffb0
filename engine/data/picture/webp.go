package picture

import (
	"bytes"
	"encoding/binary"
	"image"

	"golang.org/x/image/webp"
)

func isWebP(b []byte) bool {
	return len(b) >= 12 && string(b[:4]) == "RIFF" && string(b[8:12]) == "WEBP"
}

// riffChunk is a chunk of a WebP file.
type riffChunk struct {
	kind string
	data []byte
}

// riffChunks returns the whole chunks in b.
func riffChunks(b []byte) (chunks []riffChunk) {
	for len(b) >= 8 {
		n := int64(binary.LittleEndian.Uint32(b[4:]))
		if n > int64(len(b)-8) {
			break
		}
		chunks = append(chunks, riffChunk{string(b[:4]), b[8 : 8+n]})
		b = b[min(8+n+n&1, int64(len(b))):]
	}
	return chunks
}

// webp decodes a WebP; of an animation, its first frame on black.
func (d *decoder) webp() (Image, error) {
	chunks := riffChunks(d.file[12:])
	for _, c := range chunks {
		if c.kind == "EXIF" {
			d.orientation = orientation(bytes.TrimPrefix(c.data, []byte("Exif\x00\x00")))
		}
	}
	for _, c := range chunks {
		if c.kind == "ANMF" && len(c.data) >= 16 && len(chunks[0].data) >= 10 && chunks[0].kind == "VP8X" {
			return d.frameWebP(chunks[0].data, c.data)
		}
	}
	return d.stillWebP(d.file)
}

func (d *decoder) stillWebP(file []byte) (Image, error) {
	c, err := webp.DecodeConfig(bytes.NewReader(file))
	if err != nil {
		return Image{}, foreign("WebP", err)
	}
	if err := d.check("WebP", c.Width, c.Height); err != nil {
		return Image{}, err
	}
	m, err := webp.Decode(bytes.NewReader(file))
	if err != nil {
		return Image{}, foreign("WebP", err)
	}
	switch m := m.(type) {
	case *image.YCbCr:
		return fromVP8(m), nil
	case *image.NYCbCrA:
		return fromVP8(&m.YCbCr), nil
	}
	return d.rgb(m), nil
}

// frameWebP decodes a frame of an animation, by making a file of its own of it,
// and lays it on the canvas.
func (d *decoder) frameWebP(canvas, frame []byte) (Image, error) {
	u24 := func(b []byte) int { return int(b[0]) | int(b[1])<<8 | int(b[2])<<16 }
	w, h := u24(canvas[4:])+1, u24(canvas[7:])+1
	if err := d.check("WebP", w, h); err != nil {
		return Image{}, err
	}
	x, y, size := 2*u24(frame), 2*u24(frame[3:]), frame[6:12]
	if x+u24(size)+1 > w || y+u24(size[3:])+1 > h {
		return Image{}, damaged("WebP", "its first frame is larger than its canvas")
	}
	file := []byte("RIFF\x00\x00\x00\x00WEBPVP8X\x0a\x00\x00\x00\x00\x00\x00\x00")
	if bytes.HasPrefix(frame[16:], []byte("ALPH")) {
		file[20] = 0x10
	}
	file = append(append(file, size...), frame[16:]...)
	binary.LittleEndian.PutUint32(file[4:], uint32(len(file)-8))
	part, err := d.stillWebP(file)
	if err != nil || part.W == w && part.H == h {
		return part, err
	}
	m := Image{Pix: make([]uint8, 3*w*h), H: h, W: w}
	for i := range min(part.H, h-y) {
		copy(m.Pix[3*((y+i)*w+x):3*(y+i+1)*w], part.Pix[3*i*part.W:3*(i+1)*part.W])
	}
	return m, nil
}

// fromVP8 converts the planes of a lossy WebP as libwebp does: chroma is
// interpolated (¾ of the nearer and ¼ of the farther sample on each axis, by way
// of the diagonals' means), and YUV is of the range of video, in which black is
// 16 and white is 235.
func fromVP8(m *image.YCbCr) Image {
	r := m.Bounds()
	out := Image{H: r.Dy(), W: r.Dx(), Pix: make([]uint8, r.Dx()*r.Dy()*3)}
	u, v := make([]int32, out.W+2), make([]int32, out.W+2)
	rows := (out.H + 1) / 2
	for y := range out.H {
		near := y / 2
		far := min(max(near-1+2*(y&1), 0), rows-1)
		vp8Chroma(u, m.Cb, m.CStride, near, far, out.W)
		vp8Chroma(v, m.Cr, m.CStride, near, far, out.W)
		dst := out.Pix[3*y*out.W:][:3*out.W]
		for x, l := range m.Y[y*m.YStride:][:out.W] {
			p := dst[3*x : 3*x+3 : 3*x+3]
			k := int32(l) * 19077 >> 8
			p[0] = vp8Clip(k + v[x]*26149>>8 - 14234)
			p[1] = vp8Clip(k - u[x]*6419>>8 - v[x]*13320>>8 + 8708)
			p[2] = vp8Clip(k + u[x]*33050>>8 - 17685)
		}
	}
	return out
}

// vp8Chroma interpolates a row of a chroma plane, from the rows near and far, to
// width w.
func vp8Chroma(dst []int32, plane []uint8, stride, near, far, w int) {
	n := (w + 1) / 2
	a, b := plane[near*stride:][:n], plane[far*stride:][:n]
	dst[0] = (3*int32(a[0]) + int32(b[0]) + 2) >> 2
	for x := 1; x < n; x++ {
		a0, a1, b0, b1 := int32(a[x-1]), int32(a[x]), int32(b[x-1]), int32(b[x])
		sum := a0 + a1 + b0 + b1 + 8
		dst[2*x-1] = ((sum+2*(a1+b0))>>3 + a0) >> 1
		dst[2*x] = ((sum+2*(a0+b1))>>3 + a1) >> 1
	}
	dst[2*n-1] = (3*int32(a[n-1]) + int32(b[n-1]) + 2) >> 2
}

// vp8Clip rounds down from 6 fractional bits and limits to 0…255.
func vp8Clip(v int32) uint8 { return uint8(min(max(v>>6, 0), 255)) }
