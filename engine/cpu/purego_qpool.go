//go:build !cgo

package cpu

// windows calls each for every window of a row of them and every channel, with the
// window's places in x and its divisor.
func (a *qpoolArgs) windows(task int64, each func(at int64, x []uint8, divisor int64)) {
	row := i64(a.rowSpans, 3*a.oh)[task%a.oh*3:]
	image := task / a.oh * a.h * a.w * a.c
	x := u8(a.x, image+a.h*a.w*a.c)[image:]
	var window []uint8
	for j := range a.ow {
		col := i64(a.colSpans, 3*a.ow)[j*3:]
		for c := range a.c {
			window = window[:0]
			for r := row[0]; r < row[1]; r += a.dilh {
				for s := col[0]; s < col[1]; s += a.dilw {
					window = append(window, x[(r*a.w+s)*a.c+c])
				}
			}
			each((task*a.ow+j)*a.c+c, window, row[2]*col[2])
		}
	}
}

func qmaxPool(p ptr, task int64) {
	a := (*qpoolArgs)(p)
	y := u8(a.y, (task+1)*a.ow*a.c)
	a.windows(task, func(at int64, x []uint8, _ int64) {
		y[at] = 0
		for _, v := range x {
			y[at] = max(y[at], v)
		}
	})
}

func qavgPool(p ptr, task int64) {
	a := (*qpoolArgs)(p)
	y := u8(a.y, (task+1)*a.ow*a.c)
	a.windows(task, func(at int64, x []uint8, divisor int64) {
		sum := int64(0)
		for _, v := range x {
			sum += int64(v) - a.xzero
		}
		y[at] = code(float32(sum)*(float32(a.m)/float32(divisor)), a.yzero, a.lo, a.hi)
	})
}
