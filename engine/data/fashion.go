package data

import (
	"bytes"
	"compress/gzip"
	"context"
	"crypto/sha256"
	_ "embed"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
)

// fashionGz is made by scripts/fashion.sh; its format is in fashion/NOTICE.
//
//go:embed fashion/fashion.gz
var fashionGz []byte

// FashionLicense is the license of builtin:fashion, which every copy of the
// program has to carry.
//
//go:embed fashion/LICENSE
var FashionLicense string

// FashionNotice says where builtin:fashion comes from.
//
//go:embed fashion/NOTICE
var FashionNotice string

var fashionClasses = []string{
	"T-shirt/top", "Trouser", "Pullover", "Dress", "Coat",
	"Sandal", "Shirt", "Sneaker", "Bag", "Ankle boot",
}

const fashionSide = 28

// openFashion unpacks the embedded subset of Fashion-MNIST into memory, which
// takes less time than a cache would.
func openFashion(ctx context.Context, o Options) (*Dataset, error) {
	z, err := gzip.NewReader(bytes.NewReader(fashionGz))
	if err != nil {
		return nil, fmt.Errorf("data: builtin:fashion: %w", err)
	}
	plain, err := io.ReadAll(z)
	if err != nil {
		return nil, fmt.Errorf("data: builtin:fashion: %w", err)
	}
	st := &store{mem: [][]byte{}, form: form{size: o.Size, resize: o.Resize}}
	st.idx.Classes = fashionClasses
	parts, ok := bytes.CutPrefix(plain, []byte("PSFM2\n"))
	rest := parts
	for _, part := range []int{partTrain, partVal, partTest} {
		if err := ctx.Err(); err != nil {
			return nil, err
		}
		if part == partTest {
			st.print = fashionPrint(parts[:len(parts)-len(rest)], o.Size)
		}
		ok = ok && st.addFashion(&rest, part)
	}
	if !ok || len(rest) != 0 {
		return nil, errors.New("data: builtin:fashion: the embedded file is damaged: run scripts/fashion.sh")
	}
	if o.Progress != nil {
		o.Progress(len(st.mem), len(st.mem))
	}
	return newDataset("fashion", "builtin:fashion", st, o)
}

// fashionPrint is the fingerprint of the training and validation parts. The test
// part, which was added later and from which nothing is learned, is not in it,
// so that the runs and studies of before can be resumed.
func fashionPrint(parts []byte, size int) string {
	h := sha256.New()
	fmt.Fprintf(h, "potstill fashion %d size %d\n", firstVersion, size)
	h.Write([]byte("PSFM1\n")) // the magic of a file of these two parts
	h.Write(parts)
	return hex.EncodeToString(h.Sum(nil))
}

// addFashion takes one part off rest.
func (s *store) addFashion(rest *[]byte, part int) bool {
	const px = fashionSide * fashionSide
	b := *rest
	if len(b) < 4 {
		return false
	}
	n := int(binary.LittleEndian.Uint32(b))
	if b = b[4:]; n > len(b)/(1+px) {
		return false
	}
	labels, pix := b[:n], b[n:n+n*px]
	*rest = b[n+n*px:]
	names := [numParts]string{"train", "val", "test"}
	for i, l := range labels {
		if int(l) >= len(fashionClasses) {
			return false
		}
		m := Image{Pix: make([]uint8, px*3), H: fashionSide, W: fashionSide}
		var above [fashionSide]uint8
		for k, v := range pix[i*px : (i+1)*px] {
			v += above[k%fashionSide]
			above[k%fashionSide] = v
			m.Pix[3*k], m.Pix[3*k+1], m.Pix[3*k+2] = v, v, v
		}
		m = s.form.apply(m)
		s.idx.Items = append(s.idx.Items, entry{Part: part, Label: int(l), File: fmt.Sprintf("%s/%d_%d", names[part], l, i),
			H: m.H, W: m.W, Off: int64(len(s.mem))})
		s.mem = append(s.mem, m.Pix)
	}
	return true
}
