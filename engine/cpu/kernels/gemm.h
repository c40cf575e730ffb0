// Convolution as an implicit matrix product: the rows are pixels, the columns
// output channels, and the reduction runs over taps (places of the kernel) and
// channels. Nothing is gathered: the inner kernel reads each tap of each pixel
// through a pointer, which points at zeros where the kernel hangs over the edge
// (Dukhan, "The Indirect Convolution Algorithm", arXiv:1907.02129). The weights
// are packed once a step into panels, so that they stream.
//
// The same product serves the forward pass, the gradient of the input (dy for
// x, the weights transposed and reversed, one launch a phase of the stride),
// pointwise convolutions and linear layers (one tap).

// The text serves float32 and bfloat16: elem is the type of x, y and the residual, and
// what differs is in gemm_f32.h, gemm_bf16.h and gemm_wide.h.
#include "gemm_taps.h"
#ifdef PS_PAIRS
#include "gemm_bf16.h"
#else
#include "gemm_f32.h"
#endif
#ifdef PS_WIDE
#include "gemm_wide.h"
#endif
#ifndef PS_PAIRS
#include "gemm_run.h"
#endif

// Copies a row of pictures with zeros around them, counted through all pictures.
INLINE void pad_row(const pad_args *a, int64_t row) {
  const int64_t ph = a->top + a->h + a->bottom, pw = a->left + a->w + a->right;
  const int64_t n = row / ph, i = row % ph - a->top;
  elem *y = (elem *)a->y + row * pw * a->c;
  if (i < 0 || i >= a->h) {
    memset(y, 0, pw * a->c * sizeof *y);
    return;
  }
  memset(y, 0, a->left * a->c * sizeof *y);
  memcpy(y + a->left * a->c, (const elem *)a->x + (n * a->h + i) * a->w * a->c, a->w * a->c * sizeof *y);
  memset(y + (a->left + a->w) * a->c, 0, a->right * a->c * sizeof *y);
}

static void pad(const void *args, int64_t task) { pad_row(args, task); }

// acc[i][v] = Σ_t Σ_k rows[t][i][k] · b[t][k][v].
INLINE void gemm_tile(vf acc[][GEMM_VECTORS], const int m, const int vectors, const factor *const *rows, int64_t stride,
                      int64_t ntaps, int64_t kc, const packed *b) {
  for (int i = 0; i < m; i++)
    for (int v = 0; v < vectors; v++) acc[i][v] = splat(0);
  const int64_t depth = packed_rows(kc) * vectors * VL;
  for (int64_t t = 0; t < ntaps; t++, b += depth) {
    const factor *x[GEMM_ROWS];
    for (int i = 0; i < m; i++) x[i] = rows[t * stride + i];
    gemm_tap(acc, m, vectors, x, kc, b);
  }
}

// Where the results of a tile go, and what is done to them on the way.
typedef struct {
  elem *const *y;         // a pointer a row, to the group's first column
  const float *bias;      // or null
  const elem *const *res; // or null
  int64_t act;
  float *whole; // if there is an activation to come, rows of GEMM_VECTORS·VL for float32 results, else null
} gemm_out;

INLINE void gemm_store(const vf acc[][GEMM_VECTORS], const int m, const int vectors, const panel *p, const gemm_out *to,
                       int64_t at) {
  const gemm_out o = *to; // which the stores below might change, for all that the compiler knows
  const int64_t start = p->start, cols = p->cols;
  for (int v = 0; v < vectors; v++) {
    const int64_t n = cols - v * VL, col = start + v * VL;
    if (n <= 0) break;
    const vf bias = o.bias ? load_n(o.bias + col, n) : splat(0);
    for (int i = 0; i < m; i++) {
      vf y = acc[i][v] + bias;
      if (o.res) y += load_n(o.res[at + i] + col, n);
      if (o.whole) store_f32(o.whole + ((at + i) * GEMM_VECTORS + v) * VL, y);
      else store_n(o.y[at + i] + col, n, activate(y, o.act));
    }
  }
}

// The rows of a tile: what the registers hold beside a row of b.
INLINE int gemm_rows(int vectors) { return vectors == 4 ? 6 : GEMM_ROWS; }

// One tile at row `at`.
INLINE void gemm_step(const int m, const int vectors, const factor *const *rows, int64_t at, int64_t ntaps, int64_t kc,
                      const packed *b, const panel *p, const gemm_out *o) {
  vf acc[GEMM_ROWS][GEMM_VECTORS];
  gemm_tile(acc, m, vectors, rows + at, GEMM_PIXELS, ntaps, kc, b);
  gemm_store(acc, m, vectors, p, o, at);
}

// All tiles of a panel: full ones, then the rest, whose height is made a
// constant by the switch.
#define GEMM_REST(M) \
  case M: gemm_step(M, V_, rows, at, ntaps, kc, b, p, o); break;
#define GEMM_PANEL(NAME, V)                                                                              \
  static __attribute__((noinline)) void NAME(int64_t count, const factor *const *rows, int64_t ntaps,      \
                                             int64_t kc, const packed *b, const panel *p, const gemm_out *o) { \
    enum { V_ = V };                                                                                     \
    int64_t at = 0;                                                                                      \
    for (; at + gemm_rows(V) <= count; at += gemm_rows(V)) gemm_step(gemm_rows(V), V, rows, at, ntaps, kc, b, p, o); \
    switch (count - at) {                                                                                \
      GEMM_REST(1) GEMM_REST(2) GEMM_REST(3) GEMM_REST(4) GEMM_REST(5) GEMM_MORE                         \
    }                                                                                                    \
  }

#define GEMM_MORE
#if GEMM_VECTORS == 4
GEMM_PANEL(gemm4, 4)
#endif
#if GEMM_ROWS == 8
#undef GEMM_MORE
#define GEMM_MORE GEMM_REST(6) GEMM_REST(7)
#endif
GEMM_PANEL(gemm2, 2)
GEMM_PANEL(gemm1, 1)

INLINE void gemm_panel(int64_t count, const factor *const *rows, int64_t ntaps, int64_t kc, const packed *b,
                       const panel *p, const gemm_out *o) {
#if GEMM_VECTORS == 4
  if (p->vectors == 4) {
    gemm4(count, rows, ntaps, kc, b, p, o);
    return;
  }
#endif
  if (p->vectors == 2) gemm2(count, rows, ntaps, kc, b, p, o);
  else gemm1(count, rows, ntaps, kc, b, p, o);
}

// Takes the activation of `count` rows of a panel in float32, then rounds them.
static void gemm_finish(const gemm_out *o, int64_t count, const panel *p, const ps_act *f) {
  for (int64_t i = 0; i < count; i++) {
    float *row = o->whole + i * GEMM_VECTORS * VL;
    act_apply(row, row, p->cols, f);
    elem *y = o->y[i] + p->start;
    for (int64_t v = 0; v < p->cols; v += VL) store_n(y + v, p->cols - v, load_f32(row + v));
  }
}

// Where the results of pixels [lo, hi) go, and where the residual lies.
INLINE void gemm_places(const igemm_args *a, int64_t g, int64_t lo, int64_t hi, elem **y, const elem **res) {
  for (int64_t q = lo; q < hi;) { // a run of pixels in one row of the grid
    const int64_t n = q / (a->gh * a->gw), i = q / a->gw % a->gh, j = q % a->gw;
    const int64_t run = min64(hi - q, a->gw - j), step = a->yjs * a->yc;
    int64_t at = ((n * a->yh + a->yi0 + i * a->yis) * a->yw + a->yj0 + j * a->yjs) * a->yc + g * a->gn;
    for (int64_t k = 0; k < run; k++, q++, at += step) {
      y[q - lo] = (elem *)a->y + at;
      res[q - lo] = (const elem *)a->res + at; // not read where there is none
    }
  }
}

// At most GEMM_PIXELS pixels [lo, hi) of one group, and one of `splits` parts of its columns.
static void igemm_pixels(const igemm_args *a, int64_t lo, int64_t hi, int64_t g, int64_t split) {
  const factor *rows[GEMM_TAPS * GEMM_PIXELS];
  elem *y[GEMM_PIXELS];
  const elem *res[GEMM_PIXELS];
  float whole[GEMM_PIXELS * GEMM_VECTORS * VL];
  const elem *x = (const elem *)a->x + g * a->gk;
#ifdef PS_WIDE
  float widened[WIDE_FLOATS];
  wide_view v = {x, a->kc, a->taps, a->ntaps, a->gh, a->gw, a->h, a->w, a->c, a->sh, a->sw};
  wide_prepare(&v);
#endif
  const gemm_out o = {y, a->bias ? a->bias + g * a->gn : NULL, a->res ? res : NULL, a->act, a->more.f ? whole : NULL};
  const packed *b = (const packed *)a->b + g * a->g_floats;
  const int64_t depth = a->ntaps * packed_rows(a->kc), last = min64(a->gn, (split + 1) * a->share);
  for (int64_t at = lo, end = hi; at < hi; at = end) {
#ifdef PS_WIDE
    end = widen_x(&v, widened, rows, GEMM_PIXELS, at, hi);
#else
    tap_pointers(rows, GEMM_PIXELS, x, a->taps, a->ntaps, a->gh, a->gw, a->h, a->w, a->c, a->sh, a->sw, at, end);
#endif
    gemm_places(a, g, at, end, y, res);
    for (panel p = {split * a->share}; next_panel(&p, last);) {
      gemm_panel(end - at, rows, a->ntaps, a->kc, b + p.start * depth, &p, &o);
      if (a->more.f) gemm_finish(&o, end - at, &p, &a->more);
    }
  }
}

#ifndef PS_PAIRS
// Whether the pixels of a product lie one behind the other, in x and in y.
INLINE int igemm_is_run(const igemm_args *a) {
  return a->ntaps == 1 && !a->taps[0] && !a->taps[1] && a->sh == 1 && a->sw == 1 && a->gh == a->h && a->gw == a->w &&
         a->yh == a->h && a->yw == a->w && !a->yi0 && !a->yj0 && a->yis == 1 && a->yjs == 1 &&
         (!a->more.f || sizeof(elem) == sizeof(float));
}

// What igemm_pixels does, for such products.
static void igemm_run(const igemm_args *a, int64_t lo, int64_t hi, int64_t g, int64_t split) {
  const packed *b = a->b + g * a->g_floats;
  const int64_t last = min64(a->gn, (split + 1) * a->share);
  int64_t count = hi - lo;
#ifdef PS_WIDE
  float widened[WIDE_FLOATS];
  count = min64(count, WIDE_FLOATS / a->kc);
#endif
  for (int64_t at = lo; at < hi; at += count) {
    const elem *x = (const elem *)a->x + at * a->c + g * a->gk;
    const int64_t n = min64(count, hi - at), start = at * a->yc + g * a->gn;
    run r = {.ys = a->yc, .act = a->act};
#ifdef PS_WIDE
    if (a->kc == a->c) widen_run(widened, x, n * a->c);
    else
      for (int64_t i = 0; i < n; i++) widen_run(widened + i * a->kc, x + i * a->c, a->kc);
    r.x = widened, r.xs = a->kc;
#else
    r.x = x, r.xs = a->c;
#endif
    for (panel p = {split * a->share}; next_panel(&p, last);) {
      const int64_t next = p.start + p.vectors * VL;
      r.cols = p.cols;
      r.bias = a->bias ? a->bias + g * a->gn + p.start : NULL;
      r.y = (elem *)a->y + start + p.start;
      r.res = a->res ? (const elem *)a->res + start + p.start : NULL;
      run_ahead(&r, p.vectors, n, b + (next < last ? next : p.start) * a->kc);
      run_panel(&r, p.vectors, n, a->kc, b + p.start * a->kc);
#ifndef PS_BFLOAT16
      for (int64_t i = 0; i < n && a->more.f; i++) act_apply(r.y + i * a->yc, r.y + i * a->yc, p.cols, &a->more);
#endif
    }
  }
}
#endif

// Pixels [lo, hi) of one group, and one of `splits` parts of its columns.
static void igemm_part(const igemm_args *a, int64_t lo, int64_t hi, int64_t g, int64_t split) {
#ifndef PS_PAIRS
  if (igemm_is_run(a)) {
    igemm_run(a, lo, hi, g, split);
    return;
  }
#endif
  for (int64_t at = lo; at < hi; at += GEMM_PIXELS) igemm_pixels(a, at, min64(hi, at + GEMM_PIXELS), g, split);
}

// A task: some pixels, one group, one part.
static void igemm(const void *args, int64_t task) {
  const igemm_args *a = args;
  TASK_RANGE(lo, hi, task / a->splits / a->groups, a->block, a->n * a->gh * a->gw);
  igemm_part(a, lo, hi, task / a->splits % a->groups, task % a->splits);
}
