//go:build !cgo

package cpu

import "math"

// pixels is the pixels of a task, counted over all images, and its image.
func (a *groupNormArgs) pixels(task int64) (lo, hi, image int64) {
	image = task / a.chunks
	lo = image*a.m + task%a.chunks*a.rows
	return lo, min(lo+a.rows, (image+1)*a.m), image
}

// parts are the two partial results a channel of a task.
func (a *groupNormArgs) parts(task int64) (first, second []float64) {
	part := f64(a.part, (task+1)*2*a.c)[task*2*a.c:]
	return part[:a.c], part[a.c:]
}

// ofImage are the numbers of an image's groups among v [images, each].
func ofImage(v ptr, image, each int64) []float32 { return f32(v, (image+1)*each)[image*each:] }

func groupNormStats(p ptr, task int64) {
	a := (*groupNormArgs)(p)
	lo, hi, _ := a.pixels(task)
	mu, m2 := a.parts(task)
	channelMoments(f32(a.x, hi*a.c)[lo*a.c:], mu, m2)
}

func groupNormFinish(p ptr, image int64) {
	a := (*groupNormArgs)(p)
	each := a.c / a.groups
	mus, rs := ofImage(a.mu, image, a.groups), ofImage(a.r, image, a.groups)
	for g := range a.groups {
		mu, m2, n := 0.0, 0.0, int64(0)
		for t := image * a.chunks; t < (image+1)*a.chunks; t++ {
			lo, hi, _ := a.pixels(t)
			means, squares := a.parts(t)
			for c := g * each; c < (g+1)*each; c++ {
				merge(&mu, &m2, n, hi-lo, means[c], squares[c])
				n += hi - lo
			}
		}
		mus[g], rs[g] = float32(mu), float32(1/math.Sqrt(m2/float64(n)+a.eps))
	}
}

func groupNorm(p ptr, task int64) {
	a := (*groupNormArgs)(p)
	lo, hi, image := a.pixels(task)
	x, y := f32(a.x, hi*a.c), f32(a.y, hi*a.c)
	gamma, beta := f32(a.gamma, a.c), f32(a.beta, a.c)
	mu, r := ofImage(a.mu, image, a.groups), ofImage(a.r, image, a.groups)
	a.each(lo, hi, func(at, c, g int64) { y[at] = (x[at]-mu[g])*r[g]*gamma[c] + beta[c] })
}

// each calls f for the elements of pixels [lo, hi), with their channels and groups.
func (a *groupNormArgs) each(lo, hi int64, f func(at, c, g int64)) {
	each := a.c / a.groups
	for i := lo * a.c; i < hi*a.c; i += a.c {
		for g := range a.groups {
			for c := g * each; c < (g+1)*each; c++ {
				f(i+c, c, g)
			}
		}
	}
}

func groupNormGrad(p ptr, task int64) {
	a := (*groupNormArgs)(p)
	lo, hi, image := a.pixels(task)
	x, dy := f32(a.x, hi*a.c), f32(a.dy, hi*a.c)
	mu, r := ofImage(a.mu, image, a.groups), ofImage(a.r, image, a.groups)
	dot, sum := a.parts(task)
	clear(dot)
	clear(sum)
	a.each(lo, hi, func(at, c, g int64) {
		sum[c] += float64(dy[at])
		dot[c] += float64(dy[at]) * float64((x[at]-mu[g])*r[g])
	})
}

func groupNormCoef(p ptr, image int64) {
	a := (*groupNormArgs)(p)
	each := a.c / a.groups
	gamma, rs, coef := f32(a.gamma, a.c), ofImage(a.r, image, a.groups), ofImage(a.coef, image, 2*a.groups)
	for g := range a.groups {
		d, s := 0.0, 0.0
		for t := image * a.chunks; t < (image+1)*a.chunks; t++ {
			dot, sum := a.parts(t)
			for c := g * each; c < (g+1)*each; c++ {
				d += float64(gamma[c]) * dot[c]
				s += float64(gamma[c]) * sum[c]
			}
		}
		r, m := float64(rs[g]), float64(a.m*each)
		coef[g], coef[a.groups+g] = float32(-r*r*d/m), float32(-r*s/m)
	}
}

func groupNormBackward(p ptr, task int64) {
	a := (*groupNormArgs)(p)
	lo, hi, image := a.pixels(task)
	x, dy, dx := f32(a.x, hi*a.c), f32(a.dy, hi*a.c), f32(a.y, hi*a.c)
	gamma, mu, r := f32(a.gamma, a.c), ofImage(a.mu, image, a.groups), ofImage(a.r, image, a.groups)
	coef := ofImage(a.coef, image, 2*a.groups)
	c1, c2 := coef[:a.groups], coef[a.groups:]
	a.each(lo, hi, func(at, c, g int64) { dx[at] = gamma[c]*r[g]*dy[at] + c1[g]*(x[at]-mu[g]) + c2[g] })
}
