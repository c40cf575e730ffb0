package data_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log"

	"github.com/potstill/potstill/engine/data"
)

// Open a dataset and run through one epoch of augmented batches.
func Example() {
	ctx := context.Background()
	d, err := data.Open(ctx, "builtin:fashion", data.Options{})
	if err != nil {
		log.Fatal(err)
	}
	defer d.Close()
	fmt.Println(d.Train.Len(), "training and", d.Val.Len(), "validation images of", len(d.Classes), "classes")

	l, err := data.NewLoader(d.Train.Subset(100), len(d.Classes), data.LoaderOptions{
		Batch: 32, Shuffle: true, Augment: data.TrainTransform(28), Seed: 1,
	})
	if err != nil {
		log.Fatal(err)
	}
	e := l.Epoch(ctx, 0, 0)
	defer e.Close()
	for {
		b, err := e.Next()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			log.Fatal(err)
		}
		fmt.Println(b.N, "images of", b.H, b.W, b.C)
	}
	// Output:
	// 6000 training and 1000 validation images of 10 classes
	// 32 images of 28 28 3
	// 32 images of 28 28 3
	// 32 images of 28 28 3
	// 4 images of 28 28 3
}
