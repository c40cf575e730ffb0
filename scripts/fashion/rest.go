package main

import (
	"encoding/csv"
	"fmt"
	"image"
	"image/png"
	"log"
	"os"
	"path/filepath"
	"strings"
)

// names are those of builtin:fashion, in its order.
var names = []string{
	"T-shirt/top", "Trouser", "Pullover", "Dress", "Coat",
	"Sandal", "Shirt", "Sneaker", "Bag", "Ankle boot",
}

// writeRest writes images to the folder out as PNG files, with a table of their
// labels and a list of the classes.
func writeRest(dir, out string) {
	check(os.MkdirAll(filepath.Join(out, "images"), 0o755))
	check(os.WriteFile(filepath.Join(out, "classes.txt"), []byte(strings.Join(names, "\n")+"\n"), 0o644))
	f, err := os.Create(filepath.Join(out, "labels.csv"))
	check(err)
	table := csv.NewWriter(f)
	check(table.Write([]string{"file", "label", "split"}))
	for _, p := range []struct {
		stem, split string
		from, to    int // of each class, in the file's order
	}{{"train", "training", perTrain, 60000}, {"t10k", "validation", 0, perVal}} {
		labels := idx(filepath.Join(dir, p.stem+"-labels-idx1-ubyte.gz"), 8)
		pixels := idx(filepath.Join(dir, p.stem+"-images-idx3-ubyte.gz"), 16)
		if len(pixels) != len(labels)*side*side {
			log.Fatalf("%s: %d labels and %d bytes of pixels", p.stem, len(labels), len(pixels))
		}
		var seen [classes]int
		for i, c := range labels {
			if seen[c]++; seen[c] <= p.from || seen[c] > p.to {
				continue
			}
			name := fmt.Sprintf("images/%s-%05d.png", p.stem, i)
			write(filepath.Join(out, name), pixels[i*side*side:(i+1)*side*side])
			check(table.Write([]string{name, names[c], p.split}))
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
