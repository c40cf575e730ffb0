//go:build ignore

// Command fashion writes the embedded subset of Fashion-MNIST: the first 600
// pictures of each class of the training file, and of the test file the first
// 100 of each class, for validation, and the next 100, for testing, each in the
// files' order. See engine/data/fashion/NOTICE for the format.
package main

import (
	"bytes"
	"compress/gzip"
	"crypto/sha256"
	"encoding/binary"
	"fmt"
	"io"
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

func main() {
	log.SetFlags(0)
	if len(os.Args) != 3 {
		log.Fatal("usage: go run scripts/fashion.go DIR OUT")
	}
	var plain bytes.Buffer
	plain.WriteString("PSFM2\n")
	for _, p := range []struct {
		stem       string
		skip, each int
	}{{"train", 0, perTrain}, {"t10k", 0, perVal}, {"t10k", perVal, perTest}} {
		labels, pix := pick(os.Args[1], p.stem, p.skip, p.each)
		binary.Write(&plain, binary.LittleEndian, uint32(len(labels)))
		plain.Write(labels)
		plain.Write(pix)
	}
	var out bytes.Buffer
	w, err := gzip.NewWriterLevel(&out, gzip.BestCompression)
	check(err)
	_, err = w.Write(plain.Bytes())
	check(err)
	check(w.Close())
	check(os.MkdirAll(filepath.Dir(os.Args[2]), 0o755))
	check(os.WriteFile(os.Args[2], out.Bytes(), 0o644))
	fmt.Printf("%s: %d bytes, %d unpacked\nsha256 of the unpacked: %x\n", os.Args[2], out.Len(), plain.Len(), sha256.Sum256(plain.Bytes()))
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

func idx(name string, header int) []byte {
	f, err := os.Open(name)
	check(err)
	defer f.Close()
	z, err := gzip.NewReader(f)
	check(err)
	b, err := io.ReadAll(z)
	check(err)
	if len(b) < header {
		log.Fatalf("%s: too short", name)
	}
	return b[header:]
}

func check(err error) {
	if err != nil {
		log.Fatal(err)
	}
}
