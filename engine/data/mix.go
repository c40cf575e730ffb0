package data

import (
	"math"
)

// mixBatch mixes the images and targets of a batch in pairs, by mixup or by
// CutMix. Where both are asked for, each batch gets one of them, drawn with the
// probability ½.
func (s *scratch) mixBatch(b *Batch, mixup, cutmix float64) {
	cut := cutmix > 0
	if cut && mixup > 0 {
		cut = s.rand.IntN(2) == 1
	}
	if cut {
		s.cutmix(b, cutmix)
		return
	}
	s.mixup(b, mixup)
}

// mixup replaces every image x_k and target t_k of the batch by
// λ·x_k + (1-λ)·x_π(k) and λ·t_k + (1-λ)·t_π(k), with one λ ~ Beta(α, α) and one
// random permutation π for the batch (Zhang, Cisse, Dauphin and Lopez-Paz,
// "mixup: beyond empirical risk minimization", ICLR 2018).
func (s *scratch) mixup(b *Batch, alpha float64) {
	lambda := float32(s.rand.Beta(alpha, alpha))
	s.perm = grow(s.perm, b.N)
	s.rand.Shuffle(s.perm)
	s.blendPairs(b.Images, b.H*b.W*b.C, lambda)
	for _, v := range b.Views {
		s.blendPairs(v, len(v)/b.N, lambda)
	}
	s.blendPairs(b.Targets, b.Classes, lambda)
}

// blendPairs mixes each n values of x with those of its partner.
func (s *scratch) blendPairs(x []float32, n int, lambda float32) {
	s.copy = grow(s.copy, len(x))
	copy(s.copy, x)
	for k, p := range s.perm {
		a, o := x[k*n:(k+1)*n], s.copy[p*n:(p+1)*n]
		for i := range a {
			a[i] = float32(lambda*a[i]) + float32((1-lambda)*o[i]) // rounded products: nothing is fused on any machine
		}
	}
}

// cutmix replaces one rectangle of every image of the batch by that of its
// partner, and mixes the targets by the share of the area that is left, with one
// λ ~ Beta(α, α), one rectangle of about 1-λ of the area, its middle anywhere in
// the image, and one random permutation for the batch (S. Yun, D. Han, S. J. Oh,
// S. Chun, J. Choe and Y. Yoo, "CutMix: regularization strategy to train strong
// classifiers with localizable features", ICCV 2019).
func (s *scratch) cutmix(b *Batch, alpha float64) {
	side := math.Sqrt(1 - s.rand.Beta(alpha, alpha)) // of the rectangle, in sides of the image
	y, x := s.rand.Float64(), s.rand.Float64()
	s.perm = grow(s.perm, b.N)
	s.rand.Shuffle(s.perm)
	r := cutRect(y, x, side, b.H, b.W)
	s.cutPairs(b.Images, b.N, b.W, b.C, r)
	for i, v := range b.Views {
		h, w, channels := b.viewShape[i][0], b.viewShape[i][1], b.viewShape[i][2]
		s.cutPairs(v, b.N, w, channels, cutRect(y, x, side, h, w))
	}
	s.blendPairs(b.Targets, b.Classes, float32(1-float64(r.h*r.w)/float64(b.H*b.W)))
}

// cutRect returns the part of h×w pixels within half a side of the middle (y, x).
func cutRect(y, x, side float64, h, w int) rect {
	span := func(mid float64, n int) (first, length int) {
		a := int(math.Floor((mid - side/2) * float64(n)))
		z := int(math.Floor((mid + side/2) * float64(n)))
		a, z = min(max(a, 0), n), min(max(z, 0), n)
		return a, z - a
	}
	var r rect
	r.y, r.h = span(y, h)
	r.x, r.w = span(x, w)
	return r
}

// cutPairs copies the rectangle of each image from its partner.
func (s *scratch) cutPairs(pix []float32, n, w, channels int, r rect) {
	s.copy = grow(s.copy, len(pix))
	copy(s.copy, pix)
	px := len(pix) / n
	for k, p := range s.perm {
		for y := r.y; y < r.y+r.h; y++ {
			at, length := (y*w+r.x)*channels, r.w*channels
			copy(pix[k*px+at:k*px+at+length], s.copy[p*px+at:])
		}
	}
}
