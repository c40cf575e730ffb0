package cpu

// The arguments of the kernels of convolutions and matrix products, field for field as in
// args_conv.h; see args.go.
type (
	packArgs struct {
		w, dst                                        ptr
		taps                                          ptr
		ntaps, kc, gn, groups                         int64
		tapStride, kStride, nStride, gStride, gFloats int64
		share                                         int64
	}
	padArgs struct {
		x, y                     ptr
		n, h, w, c               int64
		top, left, bottom, right int64
	}
	igemmArgs struct {
		x, b, bias, res                ptr
		y                              ptr
		taps                           ptr
		ntaps, kc                      int64
		n, gh, gw                      int64
		h, w, c, sh, sw                int64
		yh, yw, yc, yi0, yj0, yis, yjs int64
		groups, gk, gn, gFloats        int64
		act                            int64
		more                           actFunc
		block, splits, share           int64
	}
	winoWeightArgs struct {
		w, u                                                                ptr
		t, kc, gn, tapStride, kStride, nStride, uStride, flip, rows, kb, nb int64
	}
	winoArgs struct {
		x, u, bias, res           ptr
		v, y                      ptr
		t, n, h, w, c, oh, ow, o  int64
		xc, yc, top, left, th, tw int64
		uStride, vStride          int64
		act                       int64
		more                      actFunc
		block, splits             int64
	}
	winoGradArgs struct {
		x, dy                             ptr
		v, d, du, dw, db                  ptr
		t, n, h, w, c, oh, ow, o          int64
		xc, yc, kb, nb, top, left, th, tw int64
		vStride, dStride, duStride        int64
		block, splits, kblock, rows       int64
	}
	wgradArgs struct {
		x, dy             ptr
		dw, db            ptr
		taps              ptr
		ntaps, kc         int64
		n, gh, gw         int64
		h, w, c, sh, sw   int64
		o, groups, gk, gn int64

		units, utaps, kblock      int64
		each                      int64
		dwFloats                  int64
		rows, cut, places, starts int64
	}
	reduceArgs struct {
		x, y              ptr
		n, splits, stride int64
	}
	rgbArgs struct {
		x, w, bias             ptr
		dy, y, dw, db          ptr
		n, h                   int64
		wd                     int64 `c:"w_"`
		oh, ow, o, stride, act int64
		more                   actFunc
		rows                   int64
	}
	depthwiseArgs struct {
		x, dy, residual               ptr
		w, bias                       ptr
		y, dw, db                     ptr
		n, h                          int64
		wd                            int64 `c:"w_"`
		c, oh, ow, kh, kw             int64
		sh, sw, top, left, dilh, dilw int64
		flip, act                     int64
		more                          actFunc
		rows, tasks                   int64
	}
)
