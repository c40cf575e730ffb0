//go:build ignore

// Command fashion_rest writes the images that the built-in teacher learns from
// (scripts/fashion_teacher.sh): the training images of Fashion-MNIST that
// builtin:fashion does not hold, all but the first 600 of each class, and the
// validation images of builtin:fashion, the first 100 of each class of the test
// file. They are PNG files with a table of their labels, and a list of the classes
// in the order of builtin:fashion.
package main

import (
	"compress/gzip"
	"encoding/csv"
	"fmt"
	"image"
	"image/png"
	"io"
	"log"
	"os"
	"path/filepath"
	"strings"
)

const side = 28

// classes are those of builtin:fashion, in its order.
var classes = []string{
	"T-shirt/top", "Trouser", "Pullover", "Dress", "Coat",
	"Sandal", "Shirt", "Sneaker", "Bag", "Ankle boot",
}

func main() {
	log.SetFlags(0)
	if len(os.Args) != 3 {
		log.Fatal("usage: go run scripts/fashion_rest.go DIR OUT")
	}
	out := os.Args[2]
	check(os.MkdirAll(filepath.Join(out, "images"), 0o755))
	check(os.WriteFile(filepath.Join(out, "classes.txt"), []byte(strings.Join(classes, "\n")+"\n"), 0o644))
	f, err := os.Create(filepath.Join(out, "labels.csv"))
	check(err)
	table := csv.NewWriter(f)
	check(table.Write([]string{"file", "label", "split"}))
	for _, p := range []struct {
		stem, split string
		from, to    int // of each class, in the file's order
	}{{"train", "training", 600, 60000}, {"t10k", "validation", 0, 100}} {
		labels := idx(filepath.Join(os.Args[1], p.stem+"-labels-idx1-ubyte.gz"), 8)
		pixels := idx(filepath.Join(os.Args[1], p.stem+"-images-idx3-ubyte.gz"), 16)
		if len(pixels) != len(labels)*side*side {
			log.Fatalf("%s: %d labels and %d bytes of pixels", p.stem, len(labels), len(pixels))
		}
		seen := make([]int, len(classes))
		for i, c := range labels {
			if seen[c]++; seen[c] <= p.from || seen[c] > p.to {
				continue
			}
			name := fmt.Sprintf("images/%s-%05d.png", p.stem, i)
			write(filepath.Join(out, name), pixels[i*side*side:(i+1)*side*side])
			check(table.Write([]string{name, classes[c], p.split}))
		}
	}
	table.Flush()
	check(table.Error())
	check(f.Close())
}

func write(path string, pix []byte) {
	f, err := os.Create(path)
	check(err)
	check(png.Encode(f, &image.Gray{Pix: pix, Stride: side, Rect: image.Rect(0, 0, side, side)}))
	check(f.Close())
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
