// The gradient of a convolution's weights: dw[t][k][o] = Σ_pixels x_t[k]·dy[o],
// an outer product a pixel, summed in registers over a chunk of pixels.

enum { WGRAD_PIXELS = 96, WGRAD_ROWS = 9 };

// acc[i][v] = Σ_p x[p][i]·dy[p·stride + v]
INLINE void wgrad_tile(vf acc[WGRAD_ROWS][GEMM_VECTORS], const int m, const int vectors, const float *const *x, int64_t k,
                       const float *dy, int64_t stride, int64_t pixels) {
  for (int i = 0; i < m; i++)
    for (int v = 0; v < vectors; v++) acc[i][v] = splat(0);
  for (int64_t p = 0; p < pixels; p++, dy += stride) {
    const float *xp = x[p] + k;
    vf d[GEMM_VECTORS];
    for (int v = 0; v < vectors; v++) d[v] = load(dy + v * VL);
    for (int i = 0; i < m; i++) {
      const vf xv = splat(xp[i]);
      for (int v = 0; v < vectors; v++) acc[i][v] += xv * d[v];
    }
  }
}

// The rows of a tile of dw: what the registers hold beside a row of dy.
INLINE int wgrad_rows(int vectors) { return vectors == 4 ? 6 : vectors == 2 ? GEMM_ROWS : WGRAD_ROWS; }

// Where a tile's sums go: set if this is the first chunk of pixels, else added.
typedef struct {
  float *dw; // row 0, the panel's first column
  int64_t stride, cols;
  int first;
} wgrad_out;

INLINE void wgrad_step(const int m, const int vectors, const float *const *x, int64_t k, const float *dy,
                       int64_t stride, int64_t pixels, const wgrad_out *o) {
  vf acc[WGRAD_ROWS][GEMM_VECTORS];
  wgrad_tile(acc, m, vectors, x, k, dy, stride, pixels);
  for (int i = 0; i < m; i++)
    for (int v = 0; v < vectors && v * VL < o->cols; v++) {
      float *d = o->dw + (k + i) * o->stride + v * VL;
      const int64_t n = o->cols - v * VL;
      store_n(d, n, o->first ? acc[i][v] : acc[i][v] + load_n(d, n));
    }
}

// Rows [k, k1) of dw for one panel: full tiles, then the rest.
#define WGRAD_REST(M) \
  case M: wgrad_step(M, V_, x, k, dy, stride, pixels, o); break;
#define WGRAD_PANEL(NAME, V)                                                                             \
  static __attribute__((noinline)) void NAME(const float *const *x, int64_t k, int64_t k1, const float *dy, \
                                             int64_t stride, int64_t pixels, const wgrad_out *o) {       \
    enum { V_ = V };                                                                                     \
    for (; k + wgrad_rows(V) <= k1; k += wgrad_rows(V)) wgrad_step(wgrad_rows(V), V, x, k, dy, stride, pixels, o); \
    switch (k1 - k) {                                                                                    \
      WGRAD_REST(1) WGRAD_REST(2) WGRAD_REST(3) WGRAD_REST(4) WGRAD_REST(5) WGRAD_MORE                   \
    }                                                                                                    \
  }

#include "gemm_weight_panels.h"

INLINE void wgrad_panel(const float *const *x, int64_t k, int64_t k1, const float *dy, int64_t stride, int64_t pixels,
                        int vectors, const wgrad_out *o) {
#if GEMM_VECTORS == 4
  if (vectors == 4) {
    wgrad4(x, k, k1, dy, stride, pixels, o);
    return;
  }
#endif
  if (vectors == 2) wgrad2(x, k, k1, dy, stride, pixels, o);
  else wgrad1(x, k, k1, dy, stride, pixels, o);
}

// One chunk of pixels: `rows` rows of dw for one tap and all panels of a group.
INLINE void wgrad_chunk(const wgrad_args *a, const float *const *x, int64_t rows, const elem *dy, int64_t pixels,
                        float *dw, int first) {
  float copy[WGRAD_PIXELS * GEMM_VECTORS * VL]; // of a panel that is not full, padded with zeros, or not float32
  for (panel p = {0}; next_panel(&p, a->gn);) {
    const elem *d = dy + p.start;
    const wgrad_out o = {dw + p.start, a->o, p.cols, first};
    const int64_t width = p.vectors * VL;
#ifndef PS_BFLOAT16
    if (p.cols == width) {
      wgrad_panel(x, 0, rows, d, a->o, pixels, p.vectors, &o);
      continue;
    }
#endif
    for (int64_t q = 0; q < pixels; q++)
      for (int64_t v = 0; v < width; v += VL)
        store(copy + q * width + v, p.cols > v ? load_n(d + q * a->o + v, p.cols - v) : splat(0));
    wgrad_panel(x, 0, rows, copy, width, pixels, p.vectors, &o);
  }
}

// The sums of dy over a chunk of pixels: db, one group.
INLINE void wgrad_bias(const elem *dy, int64_t stride, int64_t pixels, float *db, int64_t n, int first) {
  for (int64_t c = 0; c < n; c += VL) {
    vf s = splat(0);
    for (int64_t q = 0; q < pixels; q++) s += load_n(dy + q * stride + c, n - c);
    store_n(db + c, n - c, first ? s : s + load_n(db + c, n - c));
  }
}

// A task: one split of the pixels, one group, one unit, which is some taps and
// kblock rows of each. All taps of a chunk of pixels come before the next chunk,
// so that x and dy are read from memory once a unit.
static void wgrad(const void *args, int64_t task) {
  const wgrad_args *a = args;
  const int64_t unit = task % a->units, g = task / a->units % a->groups, split = task / a->units / a->groups;
  const int64_t parts = (a->kc + a->kblock - 1) / a->kblock;
  TASK_RANGE(t0, t1, unit / parts, a->utaps, a->ntaps);
  TASK_RANGE(k0, k1, unit % parts, a->kblock, a->kc);
  TASK_RANGE(lo, hi, split, a->each, a->n * a->gh * a->gw);
  float *dw = a->dw + split * a->dw_floats + g * a->gn;
  float *db = a->db && unit == 0 ? a->db + split * a->o + g * a->gn : NULL;
  if (lo >= hi) { // more splits than pixels: this one's sum is empty
    for (int64_t t = t0; t < t1; t++)
      for (int64_t k = k0; k < k1; k++) memset(dw + (t * a->kc + k) * a->o, 0, a->gn * sizeof *dw);
    if (db) memset(db, 0, a->gn * sizeof *db);
    return;
  }
  const elem *x = (const elem *)a->x + g * a->gk + k0;
#ifdef PS_WIDE
  const float *rows[GEMM_TAPS * WGRAD_PIXELS];
  float widened[WIDE_FLOATS];
  wide_view v = {x, k1 - k0, a->taps + 2 * t0, t1 - t0, a->gh, a->gw, a->h, a->w, a->c, a->sh, a->sw};
  wide_prepare(&v);
#else
  const float *row[WGRAD_PIXELS];
#endif
  for (int64_t p = lo, end; p < hi; p = end) {
    end = min64(hi, p + WGRAD_PIXELS);
#ifdef PS_WIDE
    end = widen_x(&v, widened, rows, WGRAD_PIXELS, p, end);
#endif
    const elem *dy = (const elem *)a->dy + p * a->o + g * a->gn;
    for (int64_t t = t0; t < t1; t++) {
#ifdef PS_WIDE
      const float *const *row = rows + (t - t0) * WGRAD_PIXELS;
#else
      tap_pointers(row, WGRAD_PIXELS, x, a->taps + 2 * t, 1, a->gh, a->gw, a->h, a->w, a->c, a->sh, a->sw, p, end);
#endif
      wgrad_chunk(a, row, k1 - k0, dy, end - p, dw + (t * a->kc + k0) * a->o, p == lo);
    }
    if (db) wgrad_bias(dy, a->o, end - p, db, a->gn, p == lo);
  }
}

#ifndef PS_BFLOAT16
static void reduce(const void *args, int64_t task) {
  const reduce_args *a = args;
  TASK_RANGE(lo, hi, task, PS_SPAN, a->n);
  for (int64_t i = lo; i < hi; i += VL) {
    vf s = load_n(a->x + i, hi - i);
    for (int64_t k = 1; k < a->splits; k++) s += load_n(a->x + k * a->stride + i, hi - i);
    store_n(a->y + i, hi - i, s);
  }
}
#endif
