package main

import (
	"bytes"
	"compress/gzip"
	"crypto/sha256"
	"encoding/binary"
	"fmt"
	"log"
	"os"
	"path/filepath"
)

const (
	classes  = 10
	side     = 28
	perTrain = 600
	perVal   = 100
	perTest  = 100
)

// writeBuiltin writes the embedded subset, gzip-compressed, to the file out. See
// engine/data/fashion/NOTICE for the format.
func writeBuiltin(dir, out string) {
	var plain bytes.Buffer
	plain.WriteString("PSFM2\n")
	for _, p := range []struct {
		stem       string
		skip, each int
	}{{"train", 0, perTrain}, {"t10k", 0, perVal}, {"t10k", perVal, perTest}} {
		labels, pix := pick(dir, p.stem, p.skip, p.each)
		binary.Write(&plain, binary.LittleEndian, uint32(len(labels)))
		plain.Write(labels)
		plain.Write(pix)
	}
	var packed bytes.Buffer
	w, err := gzip.NewWriterLevel(&packed, gzip.BestCompression)
	check(err)
	_, err = w.Write(plain.Bytes())
	check(err)
	check(w.Close())
	check(os.MkdirAll(filepath.Dir(out), 0o755))
	check(os.WriteFile(out, packed.Bytes(), 0o644))
	fmt.Printf("%s: %d bytes, %d unpacked\nsha256 of the unpacked: %x\n", out, packed.Len(), plain.Len(), sha256.Sum256(plain.Bytes()))
}

// pick returns the labels of each pictures of every class, after the first skip
// of them, and their pixels, each row as the difference from the row above
// (modulo 256), which compresses best.
func pick(dir, stem string, skip, each int) (labels, pix []byte) {
	l := idx(filepath.Join(dir, stem+"-labels-idx1-ubyte.gz"), 8)
	p := idx(filepath.Join(dir, stem+"-images-idx3-ubyte.gz"), 16)
	if len(p) != len(l)*side*side {
		log.Fatalf("%s: %d labels and %d bytes of pictures", stem, len(l), len(p))
	}
	var n [classes]int
	for i, c := range l {
		n[c]++
		if n[c] <= skip || n[c] > skip+each {
			continue
		}
		labels = append(labels, c)
		im := p[i*side*side : (i+1)*side*side]
		for k, v := range im {
			if k >= side {
				v -= im[k-side]
			}
			pix = append(pix, v)
		}
	}
	if len(labels) != classes*each {
		log.Fatalf("%s: %d pictures, want %d", stem, len(labels), classes*each)
	}
	return labels, pix
}
