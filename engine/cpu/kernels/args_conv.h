// The arguments of the kernels of convolutions and matrix products in float32 and
// bfloat16. The Go structs are in args_conv.go: see args.h.
#ifndef POTSTILL_ARGS_CONV_H
#define POTSTILL_ARGS_CONV_H

#include <stdint.h>

#include "args.h"

// dst: for each group, panels of columns (see panel_at); in each panel, for
// each tap and each k, the panel's columns.
typedef struct {
  const float *w;
  float *dst;
  const int64_t *taps; // ntaps weight taps
  int64_t ntaps, kc, gn, groups;
  int64_t tap_stride, k_stride, n_stride, g_stride, g_floats;
  int64_t share; // columns at which panels begin anew, as of igemm_args
} pack_args;

typedef struct {
  const elem *x;
  elem *y; // rgb_pad: of float32
  int64_t n, h, w, c;
  int64_t top, left, bottom, right;
} pad_args;

// The implicit matrix product: for each pixel (i, j) of a grid,
//   y[yi0+i·yis, yj0+j·yjs, :] = epilogue(Σ_t Σ_k x[i·sh+dh_t, j·sw+dw_t, k] · b[t][k][:])
typedef struct {
  const float *x, *b, *bias, *res;
  float *y;
  const int64_t *taps; // ntaps pairs dh, dw
  int64_t ntaps, kc;
  int64_t n, gh, gw;
  int64_t h, w, c, sh, sw;
  int64_t yh, yw, yc, yi0, yj0, yis, yjs;
  int64_t groups, gk, gn, g_floats;
  int64_t act; // Identity, ReLU or ReLU6, and in more another one, taken behind it
  ps_act more;
  int64_t block, splits, share; // pixels a task; parts of the columns, and columns of a part
} igemm_args;

// u[r·t+s][k][n] = (G·w·Gᵀ)[r][s], in panels as pack_args has them.
typedef struct {
  const float *w;
  float *u;
  int64_t t, kc, gn, tap_stride, k_stride, n_stride, u_stride, flip;
  int64_t rows;   // of kc, a task
  int64_t kb, nb; // rows and columns of a block, where the matrix has blocks along its diagonal alone, else 0
} wino_weight_args;

// A 3x3 convolution with stride one in tiles of t×t pixels.
typedef struct {
  const float *x, *u, *bias, *res;
  float *v; // x transformed, or null: then the tasks do it
  float *y;
  int64_t t, n, h, w, c, oh, ow, o;
  int64_t xc, yc;            // channels of x and y, of which this is one group
  int64_t top, left, th, tw; // padding; tiles down and across
  int64_t u_stride, v_stride; // from one place of the tile to the next
  int64_t act;
  ps_act more;           // as of igemm_args
  int64_t block, splits; // tiles a task; parts that the panels are split in
} wino_args;

// The gradient of its weights.
typedef struct {
  const float *x, *dy;
  float *v, *d;   // x and dy transformed, or null: then the tasks do it
  float *du;      // `splits` partial sums
  float *dw, *db; // db may be null; it points to one sum of each task
  int64_t t, n, h, w, c, oh, ow, o;
  int64_t xc, yc, kb, nb; // as of wino_args and wino_weight_args; kb and nb are c and o without blocks
  int64_t top, left, th, tw;
  int64_t v_stride, d_stride, du_stride; // from one place of the tile to the next
  int64_t block, splits, kblock, rows; // tiles at a time; rows of du and of dw a task
} wino_grad_args;

// dw[t][k][o] = Σ_{pixels (i,j)} x[i·sh+dh_t, j·sw+dw_t, k] · dy[i, j, o]
typedef struct {
  const void *x, *dy;
  float *dw, *db;      // db may be null; both point to the partial results of the splits
  const int64_t *taps; // ntaps pairs dh, dw
  int64_t ntaps, kc;
  int64_t n, gh, gw;
  int64_t h, w, c, sh, sw;
  int64_t o, groups, gk, gn;
  int64_t units, utaps, kblock; // a unit is utaps taps and kblock rows of each
  int64_t each;                 // pixels of a split
  int64_t dw_floats;
  // For pairs of pixels (gemm_weight_bf16.h), where `each` is a number of whole rows, or
  // even in a single row. At most: rows of dy in a chunk, pixels of a row, pairs of a
  // row of x in a class; and the columns of x at which kc values can be read.
  int64_t rows, cut, places, starts;
} wgrad_args;

// y[i] = Σ_s x[s·stride + i]
typedef struct {
  const float *x;
  float *y;
  int64_t n, splits, stride;
} reduce_args;

// A 3x3 convolution of three channels; h and w_ include the padding.
typedef struct {
  const float *x, *w, *bias;
  const elem *dy;
  elem *y;
  float *dw, *db;
  int64_t n, h, w_, oh, ow, o, stride, act;
  ps_act more; // as of igemm_args
  int64_t rows; // output rows a task
} rgb_args;

typedef struct {
  const elem *x, *dy, *residual;
  const float *w, *bias;
  elem *y;
  float *dw, *db;
  int64_t n, h, w_, c, oh, ow, kh, kw;
  int64_t sh, sw, top, left, dilh, dilw; // strides, padding, dilations
  int64_t flip, act;
  ps_act more; // as of igemm_args
  int64_t rows, tasks; // output rows a task
} depthwise_args;

#endif
