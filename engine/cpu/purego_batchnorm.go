//go:build !cgo

package cpu

import (
	"math"
	"slices"
	"sync"
)

// channelMoments computes mean and centered squares of each of the channels of x.
func channelMoments(x []float32, mu, m2 []float64) {
	clear(mu)
	clear(m2)
	for i := 0; i < len(x); i += len(mu) {
		for c, v := range x[i:][:len(mu)] {
			mu[c] += float64(v)
		}
	}
	for c := range mu {
		mu[c] /= float64(len(x) / len(mu))
	}
	for i := 0; i < len(x); i += len(mu) {
		for c, v := range x[i:][:len(mu)] {
			d := float64(v) - mu[c]
			m2[c] += d * d
		}
	}
}

func bnStats(p ptr, task int64) {
	a := (*bnArgs)(p)
	lo, hi := taskRange(task, a.rows, a.m)
	part := f64(a.part, a.tasks*2*a.c)[task*2*a.c:]
	channelMoments(f32(a.x, a.m*a.c)[lo*a.c:hi*a.c], part[:a.c], part[a.c:2*a.c])
}

// bnMove is (1-m)·running + m·x, to the bit as engine.MoveStatistics has it.
func bnMove(running, x float32, m float64) float32 {
	return float32(math.FMA(m, float64(x), (1-m)*float64(running)))
}

func bnFinish(p ptr, _ int64) {
	a := (*bnArgs)(p)
	part := f64(a.part, a.tasks*2*a.c)
	mean, r := f32(a.mu, a.c), f32(a.r, a.c)
	runMean, runVar := f32(a.runMean, a.c), f32(a.runVar, a.c)
	for c := range a.c {
		mu, m2 := a.moments(part, c)
		mean[c] = float32(mu)
		r[c] = float32(1 / math.Sqrt(m2/float64(a.m)+a.eps))
		runMean[c] = bnMove(runMean[c], mean[c], a.momentum)
		runVar[c] = bnMove(runVar[c], float32(m2/float64(a.m-1)), a.momentum)
	}
}

// A bnChannel holds what one channel is normalized with.
type bnChannel struct{ mean, scale, shift float32 }

// channelPool holds what tasks are done with, so that a run allocates nothing.
var channelPool = sync.Pool{New: func() any { return new([]bnChannel) }}

// channels returns what the channels are normalized with; the caller puts it
// back into channelPool.
func (a *bnArgs) channels() *[]bnChannel {
	p := channelPool.Get().(*[]bnChannel)
	*p = slices.Grow((*p)[:0], int(a.c))[:a.c]
	ch := *p
	gamma, beta := f32(a.gamma, a.c), f32(a.beta, a.c)
	for c := range ch {
		ch[c].shift = beta[c]
		if a.eval != 0 {
			ch[c].mean = f32(a.mean, a.c)[c]
			ch[c].scale = gamma[c] * float32(1/math.Sqrt(float64(f32(a.variance, a.c)[c])+a.eps))
		} else {
			ch[c].mean, ch[c].scale = f32(a.mu, a.c)[c], gamma[c]*f32(a.r, a.c)[c]
		}
	}
	return p
}

func (f bnChannel) value(x float32) float32 { return (x-f.mean)*f.scale + f.shift }

// activated is the activation of z = BatchNorm(x).
func (a *bnArgs) activated(z float32) float32 {
	if a.more.f != 0 {
		return float32(a.more.value(float64(z)))
	}
	return activate(z, a.act)
}

// through is dy times the activation's slope at z = BatchNorm(x), where it is y.
func (a *bnArgs) through(z, y, dy float32) float32 {
	switch {
	case a.more.f == 0:
		return through(y, dy, a.act)
	case a.fromX != 0:
		y = z
	}
	return a.more.through(y, dy)
}

// window returns the largest value of a window after the activation, and the
// place of its x. at is the place of the window's first x.
func (a *bnArgs) window(x []float32, at int64, f bnChannel) (best float32, winner int64) {
	best, winner = a.activated(f.value(x[at])), at
	for u := range a.kernel {
		for v := range a.kernel {
			k := at + (u*a.w+v)*a.c
			if y := a.activated(f.value(x[k])); y > best || y != y {
				best, winner = y, k
			}
		}
	}
	return best, winner
}

// corner is the place in x of the first window of a pooled row.
func (a *bnArgs) corner(row int64) int64 {
	return ((row/a.oh)*a.h + (row%a.oh)*a.kernel) * a.w * a.c
}

func bnApply(p ptr, task int64) {
	a := (*bnArgs)(p)
	pooled := a.channels()
	defer channelPool.Put(pooled)
	ch, x := *pooled, f32(a.x, a.m*a.c)
	if a.kernel <= 1 {
		y := f32(a.y, a.m*a.c)
		lo, hi := taskRange(task, a.rows, a.m)
		for i := lo * a.c; i < hi*a.c; i += a.c {
			for c, f := range ch {
				y[i+int64(c)] = a.activated(f.value(x[i+int64(c)]))
			}
		}
		return
	}
	y := f32(a.y, a.n*a.oh*a.ow*a.c)
	lo, hi := taskRange(task, a.rows, a.n*a.oh)
	for row := lo; row < hi; row++ {
		for j := range a.ow {
			for c, f := range ch {
				y[(row*a.ow+j)*a.c+int64(c)], _ = a.window(x, a.corner(row)+j*a.kernel*a.c+int64(c), f)
			}
		}
	}
}

// gradients calls f with the place of each x that a gradient arrives at, its
// channel and that gradient; the others get none.
func (a *bnArgs) gradients(task int64, ch []bnChannel, x []float32, f func(at int64, c int, g float32)) {
	if a.kernel <= 1 {
		dy := f32(a.dy, a.m*a.c)
		lo, hi := taskRange(task, a.rows, a.m)
		for i := lo * a.c; i < hi*a.c; i += a.c {
			for c := range ch {
				at := i + int64(c)
				g := dy[at]
				if a.act != 0 || a.more.f != 0 {
					z := ch[c].value(x[at])
					g = a.through(z, a.activated(z), g)
				}
				f(at, c, g)
			}
		}
		return
	}
	dy := f32(a.dy, a.n*a.oh*a.ow*a.c)
	lo, hi := taskRange(task, a.rows, a.n*a.oh)
	for row := lo; row < hi; row++ {
		for j := range a.ow {
			for c := range ch {
				y, at := a.window(x, a.corner(row)+j*a.kernel*a.c+int64(c), ch[c])
				f(at, c, a.through(ch[c].value(x[at]), y, dy[(row*a.ow+j)*a.c+int64(c)]))
			}
		}
	}
}

func bnGrad(p ptr, task int64) {
	a := (*bnArgs)(p)
	pooled := a.channels()
	defer channelPool.Put(pooled)
	ch, x := *pooled, f32(a.x, a.m*a.c)
	part := f64(a.part, a.tasks*2*a.c)[task*2*a.c:][:2*a.c]
	clear(part)
	sum, dot := part[:a.c], part[a.c:]
	a.gradients(task, ch, x, func(at int64, c int, g float32) {
		sum[c] += float64(g)
		dot[c] += float64(g) * float64(x[at]-ch[c].mean)
	})
}

func bnGradFinish(p ptr, _ int64) {
	a := (*bnArgs)(p)
	part, coef := f64(a.part, a.tasks*2*a.c), f32(a.coef, 3*a.c)
	gamma, dgamma, dbeta := f32(a.gamma, a.c), f32(a.dgamma, a.c), f32(a.dbeta, a.c)
	for c := range a.c {
		s, d := 0.0, 0.0
		for t := range a.tasks {
			s += part[t*2*a.c+c]
			d += part[(t*2+1)*a.c+c]
		}
		var r, m float64
		if a.eval != 0 {
			r, m = 1/math.Sqrt(float64(f32(a.variance, a.c)[c])+a.eps), math.Inf(1)
		} else {
			r, m = float64(f32(a.r, a.c)[c]), float64(a.m)
		}
		g := float64(gamma[c])
		dgamma[c], dbeta[c] = float32(d*r), float32(s)
		coef[c] = float32(g * r)
		coef[a.c+c] = float32(-g * r * r * r * d / m)
		coef[2*a.c+c] = float32(-g * r * s / m)
	}
}

func bnGradApply(p ptr, task int64) {
	a := (*bnArgs)(p)
	pooled := a.channels()
	defer channelPool.Put(pooled)
	ch, x, dx := *pooled, f32(a.x, a.m*a.c), f32(a.y, a.m*a.c)
	coef := f32(a.coef, 3*a.c)
	c0, c1, c2 := coef[:a.c], coef[a.c:2*a.c], coef[2*a.c:]
	rows := func(lo, hi int64) { // what every x gets
		for i := lo * a.c; i < hi*a.c; i += a.c {
			for c, f := range ch {
				at := i + int64(c)
				dx[at] = c1[c]*(x[at]-f.mean) + c2[c]
			}
		}
	}
	if a.kernel <= 1 {
		rows(taskRange(task, a.rows, a.m))
	} else {
		lo, hi := taskRange(task, a.rows, a.n*a.oh)
		for row := lo; row < hi; row++ {
			first, count := a.corner(row)/a.c, a.kernel*a.w
			if row%a.oh == a.oh-1 {
				count += (a.h - a.oh*a.kernel) * a.w // rows behind the last window
			}
			rows(first, first+count)
		}
	}
	a.gradients(task, ch, x, func(at int64, c int, g float32) { dx[at] += c0[c] * g })
}

func bnFold(p ptr, task int64) {
	a := (*foldArgs)(p)
	lo, hi := taskRange(task, foldRows, a.k)
	bias, gamma, beta := f32(a.bias, a.o), f32(a.gamma, a.o), f32(a.beta, a.o)
	mean, variance := f32(a.mean, a.o), f32(a.variance, a.o)
	w, wout, bout := f32(a.w, a.k*a.o), f32(a.wout, a.k*a.o), f32(a.bout, a.o)
	for o := range a.o {
		s := float64(gamma[o]) / math.Sqrt(float64(variance[o])+a.eps)
		for k := lo; k < hi; k++ {
			wout[k*a.o+o] = float32(float64(w[k*a.o+o]) * s)
		}
		if task > 0 {
			continue
		}
		b := 0.0
		if bias != nil {
			b = float64(bias[o])
		}
		bout[o] = float32((b-float64(mean[o]))*s + float64(beta[o]))
	}
}
