//go:build !cgo

package cpu

func channelShuffle(p ptr, task int64) {
	a := (*shuffleArgs)(p)
	c := a.groups * a.each
	xs, ys := f32(a.x, a.m*c), f32(a.y, a.m*c)
	lo, hi := taskRange(task, a.rows, a.m)
	for r := lo; r < hi; r++ {
		y := ys[r*c:][:c]
		for i := range a.groups {
			for j, v := range xs[r*c+i*a.each:][:a.each] {
				y[int64(j)*a.groups+i] = v
			}
		}
	}
}
