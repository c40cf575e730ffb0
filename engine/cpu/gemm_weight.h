// The gradient of a convolution's weights: dw[t][k][o] = Σ_pixels x_t[k]·dy[o],
// an outer product a pixel, summed in registers over a chunk of pixels.

enum { WGRAD_PIXELS = 128 };

// acc[i][v] = Σ_p x[p][i]·dy[p·stride + v]
INLINE void wgrad_tile(vf acc[6][GEMM_VECTORS], const int m, const int vectors, const float *const *x, int64_t k,
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

#define WGRAD_CASE(M, V)                                                    \
  case M: {                                                                 \
    vf acc[6][GEMM_VECTORS];                                                \
    wgrad_tile(acc, M, V, x, k, dy, stride, pixels);                        \
    for (int i = 0; i < M; i++)                                             \
      for (int v = 0; v < V && v * VL < cols; v++) {                        \
        float *d = dw + i * ldw + v * VL;                                   \
        const int64_t n = cols - v * VL;                                    \
        store_n(d, n, first ? acc[i][v] : acc[i][v] + load_n(d, n));        \
      }                                                                     \
    break;                                                                  \
  }

#define WGRAD_WIDTH(NAME, V)                                                                                \
  static __attribute__((noinline)) void NAME(int m, const float *const *x, int64_t k, const float *dy,      \
                                             int64_t stride, int64_t pixels, float *dw, int64_t ldw,        \
                                             int64_t cols, int first) {                                     \
    switch (m) {                                                                                            \
      WGRAD_CASE(1, V) WGRAD_CASE(2, V) WGRAD_CASE(3, V) WGRAD_CASE(4, V) WGRAD_CASE(5, V) WGRAD_CASE(6, V) \
    }                                                                                                       \
  }

#if GEMM_VECTORS == 4
WGRAD_WIDTH(wgrad4, 4)
#endif
WGRAD_WIDTH(wgrad2, 2)
WGRAD_WIDTH(wgrad1, 1)

INLINE void wgrad_dispatch(int m, const float *const *x, int64_t k, const float *dy, int64_t stride, int64_t pixels,
                           float *dw, int64_t ldw, panel p, int first) {
#if GEMM_VECTORS == 4
  if (p.vectors == 4) {
    wgrad4(m, x, k, dy, stride, pixels, dw, ldw, p.cols, first);
    return;
  }
#endif
  if (p.vectors == 2) wgrad2(m, x, k, dy, stride, pixels, dw, ldw, p.cols, first);
  else wgrad1(m, x, k, dy, stride, pixels, dw, ldw, p.cols, first);
}

// One chunk of pixels: rows [k0, k1) of dw for one tap and all panels of a group.
INLINE void wgrad_chunk(const wgrad_args *a, const float *const *x, const float *dy, int64_t pixels, float *dw,
                        int64_t k0, int64_t k1, int first) {
  float tail[WGRAD_PIXELS * GEMM_VECTORS * VL]; // a panel that is not full, padded with zeros
  for (panel p = {0}; next_panel(&p, a->gn);) {
    const float *d = dy + p.start;
    int64_t stride = a->o;
    if (p.cols < p.vectors * VL) {
      stride = p.vectors * VL;
      for (int64_t q = 0; q < pixels; q++)
        for (int64_t v = 0; v < stride; v += VL)
          store(tail + q * stride + v, p.cols > v ? load_n(d + q * a->o + v, p.cols - v) : splat(0));
      d = tail;
    }
    const int64_t tiles = (k1 - k0 + 5) / 6;
    for (int64_t t = 0, k = k0; t < tiles; t++) {
      const int64_t m = (k1 - k + tiles - t - 1) / (tiles - t);
      wgrad_dispatch(m, x, k, d, stride, pixels, dw + k * a->o + p.start, a->o, p, first);
      k += m;
    }
  }
}

// A task: one split of the pixels, one group, one unit (a tap and kblock rows).
static void wgrad(const void *args, int64_t task) {
  const wgrad_args *a = args;
  const float *x[WGRAD_PIXELS];
  const int64_t unit = task % a->units, g = task / a->units % a->groups, split = task / a->units / a->groups;
  const int64_t parts = a->units / a->ntaps, tap = unit / parts;
  TASK_RANGE(k0, k1, unit % parts, a->kblock, a->kc);
  const int64_t m = a->n * a->gh * a->gw, each = (m + a->splits - 1) / a->splits;
  TASK_RANGE(lo, hi, split, each, m);
  float *dw = a->dw + split * a->dw_floats + tap * a->kc * a->o + g * a->gn;
  float *db = a->db && unit == 0 ? a->db + split * a->o + g * a->gn : NULL;
  if (lo >= hi) { // more splits than pixels: this one's sum is empty
    for (int64_t k = k0; k < k1; k++) memset(dw + k * a->o, 0, a->gn * sizeof *dw);
    if (db) memset(db, 0, a->gn * sizeof *db);
    return;
  }
  for (int64_t p = lo; p < hi; p += WGRAD_PIXELS) {
    const int64_t pixels = min64(WGRAD_PIXELS, hi - p);
    const float *dy = a->dy + p * a->o + g * a->gn;
    tap_pointers(x, WGRAD_PIXELS, a->x + g * a->gk, a->taps + 2 * tap, 1, a->gh, a->gw, a->h, a->w, a->c, a->sh, a->sw, p, p + pixels);
    wgrad_chunk(a, x, dy, pixels, dw, k0, k1, p == lo);
    if (!db) continue;
    for (int64_t c = 0; c < a->gn; c += VL) {
      vf s = splat(0);
      for (int64_t q = 0; q < pixels; q++) s += load_n(dy + q * a->o + c, a->gn - c);
      store_n(db + c, a->gn - c, p == lo ? s : s + load_n(db + c, a->gn - c));
    }
  }
}

static void reduce(const void *args, int64_t task) {
  const reduce_args *a = args;
  TASK_RANGE(lo, hi, task, PS_SPAN, a->n);
  for (int64_t i = lo; i < hi; i += VL) {
    vf s = load_n(a->x + i, hi - i);
    for (int64_t k = 1; k < a->splits; k++) s += load_n(a->x + k * a->stride + i, hi - i);
    store_n(a->y + i, hi - i, s);
  }
}
