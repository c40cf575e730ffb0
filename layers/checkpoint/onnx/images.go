package onnx

import (
	"context"
	"errors"
	"io"
	"iter"

	"github.com/potstill/potstill/engine/data"
)

var errNoImages = errors.New("calibration: there are no images")

// imagesBatch is how many images Images makes at a time.
const imagesBatch = 16

// Images returns limit images of s, its classes balanced (all of them, if there
// are fewer), after the transform without its random stages.
func Images(ctx context.Context, s *data.Split, t data.Transform, limit int) iter.Seq2[[]float32, error] {
	return func(yield func([]float32, error) bool) {
		if s == nil || s.Len() == 0 || limit < 1 {
			yield(nil, errNoImages)
			return
		}
		s, classes := s.Subset(limit), 1
		for i := range s.Len() {
			classes = max(classes, s.Label(i)+1)
		}
		l, err := data.NewLoader(s, classes, data.LoaderOptions{Batch: min(imagesBatch, s.Len()), Augment: t, Eval: true})
		if err != nil {
			yield(nil, err)
			return
		}
		batches := l.Epoch(ctx, 0, 0)
		defer batches.Close()
		for {
			b, err := batches.Next()
			if err == io.EOF {
				return
			}
			if err != nil {
				yield(nil, err)
				return
			}
			if !yield(b.Images[:b.N*b.H*b.W*b.C], nil) {
				return
			}
		}
	}
}
