//go:build !cgo

package cpu

// image returns which image a task is of, and its rows.
func (a *channelArgs) image(task int64) (image, lo, hi int64) {
	lo, hi = taskRange(task%a.chunks, a.rows, a.m)
	return task / a.chunks, lo, hi
}

// factors returns an image's w, nil if there is none, and the distance between
// those of two channels.
func (a *channelArgs) factors(image int64) (w []float32, step int64) {
	switch {
	case a.w == nil:
		return nil, 0
	case a.one != 0:
		return f32(a.w, 1), 0
	}
	return f32(floats(a.w, int(image*a.stride)), a.c), 1
}

func channelwise(p ptr, task int64) {
	a := (*channelArgs)(p)
	image, lo, hi := a.image(task)
	w, step := a.factors(image)
	b := f32(a.b, a.c)
	first := image * a.m * a.c
	x, y := f32(a.x, first+a.m*a.c), f32(a.y, first+a.m*a.c)
	for i := first + lo*a.c; i < first+hi*a.c; i += a.c {
		for c := range a.c {
			v := x[i+c]
			if w != nil && (a.prelu == 0 || !(v > 0)) {
				v *= w[c*step]
			}
			if b != nil {
				v += b[c]
			}
			y[i+c] = v
		}
	}
}

func channelwiseBackward(p ptr, task int64) {
	a := (*channelArgs)(p)
	image, lo, hi := a.image(task)
	w, step := a.factors(image)
	first := image * a.m * a.c
	x, dy := f32(a.x, first+a.m*a.c), f32(a.dy, first+a.m*a.c)
	dx := f32(a.y, first+a.m*a.c)
	part := f64(a.part, (task+1)*2*a.c)[task*2*a.c:]
	clear(part)
	dot, sum := part[:a.c], part[a.c:]
	for i := first + lo*a.c; i < first+hi*a.c; i += a.c {
		for c := range a.c {
			g, up := dy[i+c], a.prelu != 0 && x[i+c] > 0
			sum[c] += float64(g)
			if !up {
				dot[c] += float64(g) * float64(x[i+c])
			}
			if dx != nil {
				if !up {
					g *= w[c*step]
				}
				dx[i+c] = g
			}
		}
	}
}

func channelwiseTotal(p ptr, image int64) {
	a := (*channelArgs)(p)
	part, all := f64(a.part, (image+1)*a.chunks*2*a.c), 0.0
	for c := range a.c {
		d, s := 0.0, 0.0
		for t := image * a.chunks; t < (image+1)*a.chunks; t++ {
			d += part[t*2*a.c+c]
			s += part[(t*2+1)*a.c+c]
		}
		all += d
		if a.dw != nil && a.one == 0 {
			f32(a.dw, (image+1)*a.c)[image*a.c+c] = float32(d)
		}
		if a.db != nil {
			f32(a.db, a.c)[c] = float32(s)
		}
	}
	if a.one != 0 {
		*(*float32)(a.dw) = float32(all)
	}
}

func rowwise(p ptr, task int64) {
	a := (*channelArgs)(p)
	lo, hi := taskRange(task, a.rows, a.m)
	x, y, w := f32(a.x, a.m*a.c), f32(a.y, a.m*a.c), f32(a.w, a.m)
	from := x
	if a.dy != nil {
		from = f32(a.dy, a.m*a.c)
	}
	for i := lo; i < hi; i++ {
		d := 0.0
		for k := i * a.c; k < (i+1)*a.c; k++ {
			d += float64(from[k]) * float64(x[k])
			y[k] = from[k] * w[i]
		}
		if a.dy != nil {
			f32(a.dw, a.m)[i] = float32(d)
		}
	}
}
