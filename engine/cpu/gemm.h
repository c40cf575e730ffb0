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

enum { GEMM_PIXELS = 96, GEMM_TAPS = 64, PACK_DEPTH = 16 };

// The columns are cut into panels of GEMM_VECTORS, 2 or 1 vectors: the widest
// that is at least half full.
typedef struct {
  int64_t start, cols; // first column, columns that exist
  int vectors;         // the panel is padded to this width
} panel;

INLINE int panel_vectors(int64_t left) {
  if (GEMM_VECTORS == 4 && left > 2 * VL) return 4;
  return left > VL ? 2 : 1;
}

// The panel behind p; p.vectors = 0 before the first. False behind the last.
INLINE int next_panel(panel *p, int64_t n) {
  p->start += p->vectors * VL;
  if (p->start >= n) return 0;
  p->vectors = panel_vectors(n - p->start);
  p->cols = min64(n - p->start, p->vectors * VL);
  return 1;
}

// A task packs one tap of one group into every panel.
static void pack(const void *args, int64_t task) {
  const pack_args *a = args;
  const int64_t g = task / a->ntaps, t = task % a->ntaps;
  const float *w = a->w + a->taps[t] * a->tap_stride + g * a->g_stride;
  const int64_t depth = a->ntaps * a->kc;
  for (panel p = {0}; next_panel(&p, a->gn);) {
    const int64_t width = p.vectors * VL;
    float *dst = a->dst + g * a->g_floats + p.start * depth + t * a->kc * width;
    if (a->n_stride == 1) {
      for (int64_t k = 0; k < a->kc; k++, dst += width) {
        const float *src = w + k * a->k_stride + p.start;
        for (int64_t v = 0; v < width; v += VL)
          store(dst + v, p.cols > v ? load_n(src + v, p.cols - v) : splat(0));
      }
      continue;
    }
    for (int64_t k0 = 0; k0 < a->kc; k0 += PACK_DEPTH) // transposed: k is contiguous in w
      for (int64_t n = 0; n < width; n++) {
        const float *src = w + (p.start + n) * a->n_stride;
        const int64_t k1 = min64(a->kc, k0 + PACK_DEPTH);
        for (int64_t k = k0; k < k1; k++) dst[k * width + n] = n < p.cols ? src[k * a->k_stride] : 0;
      }
  }
}

// Copies a row of pictures with zeros around them, counted through all pictures.
INLINE void pad_row(const pad_args *a, int64_t row) {
  const int64_t ph = a->top + a->h + a->bottom, pw = a->left + a->w + a->right;
  const int64_t n = row / ph, i = row % ph - a->top;
  float *y = a->y + row * pw * a->c;
  if (i < 0 || i >= a->h) {
    memset(y, 0, pw * a->c * sizeof *y);
    return;
  }
  memset(y, 0, a->left * a->c * sizeof *y);
  memcpy(y + a->left * a->c, a->x + (n * a->h + i) * a->w * a->c, a->w * a->c * sizeof *y);
  memset(y + (a->left + a->w) * a->c, 0, a->right * a->c * sizeof *y);
}

static void pad(const void *args, int64_t task) { pad_row(args, task); }

// Where each tap of pixels [lo, hi) of a grid lies in x, for one group:
// rows[t·stride + pixel-lo].
INLINE void tap_pointers(const float **rows, int64_t stride, const float *x, const int64_t *taps, int64_t ntaps,
                         int64_t gh, int64_t gw, int64_t h, int64_t w, int64_t c, int64_t sh, int64_t sw,
                         int64_t lo, int64_t hi) {
  for (int64_t p = lo; p < hi;) { // a run of pixels in one row of the grid
    const int64_t n = p / (gh * gw), i = p / gw % gh, j0 = p % gw;
    const int64_t run = min64(hi - p, gw - j0);
    for (int64_t t = 0; t < ntaps; t++) {
      const float **out = rows + t * stride + (p - lo);
      const int64_t row = i * sh + taps[2 * t];
      if (row < 0 || row >= h) {
        for (int64_t j = 0; j < run; j++) out[j] = ps_zeros;
        continue;
      }
      const float *src = x + (n * h + row) * w * c;
      int64_t col = j0 * sw + taps[2 * t + 1];
      if (col >= 0 && col + (run - 1) * sw < w) { // nothing hangs over
        for (int64_t j = 0; j < run; j++) out[j] = src + (col + j * sw) * c;
        continue;
      }
      for (int64_t j = 0; j < run; j++, col += sw) out[j] = col >= 0 && col < w ? src + col * c : ps_zeros;
    }
    p += run;
  }
}

// acc[i][v] = Σ_t Σ_k rows[t][i][k] · b[t][k][v]. `m` and `vectors` are constants
// where this is inlined, so acc lives in registers.
INLINE void gemm_tile(vf acc[GEMM_ROWS][GEMM_VECTORS], const int m, const int vectors, const float *const *rows,
                      int64_t stride, int64_t ntaps, int64_t kc, const float *b) {
  for (int i = 0; i < m; i++)
    for (int v = 0; v < vectors; v++) acc[i][v] = splat(0);
  for (int64_t t = 0; t < ntaps; t++) {
    const float *x[GEMM_ROWS];
    for (int i = 0; i < m; i++) x[i] = rows[t * stride + i];
    for (int64_t k = 0; k < kc; k++, b += vectors * VL) {
      vf bv[GEMM_VECTORS];
      for (int v = 0; v < vectors; v++) bv[v] = load(b + v * VL);
      for (int i = 0; i < m; i++) {
        const vf xv = splat(x[i][k]);
        for (int v = 0; v < vectors; v++) acc[i][v] += xv * bv[v];
      }
    }
  }
}

// Where the results of a tile go, and what is done to them on the way.
typedef struct {
  float *const *y;      // a pointer a row, to the group's first column
  const float *bias;    // or null
  const float *const *res; // or null
  int64_t act;
} gemm_out;

INLINE void gemm_store(const vf acc[GEMM_ROWS][GEMM_VECTORS], const int m, const int vectors, const panel *p,
                       const gemm_out *o, int64_t at) {
  for (int v = 0; v < vectors; v++) {
    const int64_t n = p->cols - v * VL, col = p->start + v * VL;
    if (n <= 0) break;
    const vf bias = o->bias ? load_n(o->bias + col, n) : splat(0);
    for (int i = 0; i < m; i++) {
      vf y = acc[i][v] + bias;
      if (o->res) y += load_n(o->res[at + i] + col, n);
      store_n(o->y[at + i] + col, n, activate(y, o->act));
    }
  }
}

// The rows of a tile: what the registers hold beside a row of b.
INLINE int gemm_rows(int vectors) { return vectors == 4 ? 6 : GEMM_ROWS; }

// One tile at row `at`.
INLINE void gemm_step(const int m, const int vectors, const float *const *rows, int64_t at, int64_t ntaps, int64_t kc,
                      const float *b, const panel *p, const gemm_out *o) {
  vf acc[GEMM_ROWS][GEMM_VECTORS];
  gemm_tile(acc, m, vectors, rows + at, GEMM_PIXELS, ntaps, kc, b);
  gemm_store(acc, m, vectors, p, o, at);
}

// All tiles of a panel: full ones, then the rest, whose height is made a
// constant by the switch.
#define GEMM_REST(M) \
  case M: gemm_step(M, V_, rows, at, ntaps, kc, b, p, o); break;
#define GEMM_PANEL(NAME, V)                                                                              \
  static __attribute__((noinline)) void NAME(int64_t count, const float *const *rows, int64_t ntaps,     \
                                             int64_t kc, const float *b, const panel *p, const gemm_out *o) { \
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

INLINE void gemm_panel(int64_t count, const float *const *rows, int64_t ntaps, int64_t kc, const float *b,
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

// Pixels [lo, hi), at most GEMM_PIXELS, of one group and one of `splits` parts of its panels.
static void igemm_pixels(const igemm_args *a, int64_t lo, int64_t hi, int64_t g, int64_t split) {
  const float *rows[GEMM_TAPS * GEMM_PIXELS];
  float *y[GEMM_PIXELS];
  const float *res[GEMM_PIXELS];
  tap_pointers(rows, GEMM_PIXELS, a->x + g * a->gk, a->taps, a->ntaps, a->gh, a->gw, a->h, a->w, a->c, a->sh, a->sw, lo, hi);
  for (int64_t q = lo; q < hi;) { // a run of pixels in one row of the grid
    const int64_t n = q / (a->gh * a->gw), i = q / a->gw % a->gh, j = q % a->gw;
    const int64_t run = min64(hi - q, a->gw - j), step = a->yjs * a->yc;
    int64_t at = ((n * a->yh + a->yi0 + i * a->yis) * a->yw + a->yj0 + j * a->yjs) * a->yc + g * a->gn;
    for (int64_t k = 0; k < run; k++, q++, at += step) {
      y[q - lo] = a->y + at;
      res[q - lo] = a->res + at; // not read where there is none
    }
  }
  const gemm_out o = {y, a->bias ? a->bias + g * a->gn : NULL, a->res ? res : NULL, a->act};
  const float *b = a->b + g * a->g_floats;
  const int64_t share = (a->gn + a->splits - 1) / a->splits, depth = a->ntaps * a->kc;
  for (panel p = {0}; next_panel(&p, a->gn);) {
    if (p.start / share != split) continue;
    gemm_panel(hi - lo, rows, a->ntaps, a->kc, b + p.start * depth, &p, &o);
    if (a->more.f) act_rows(y, hi - lo, p.start, p.cols, &a->more);
  }
}

// A task: some pixels, one group, one part.
static void igemm(const void *args, int64_t task) {
  const igemm_args *a = args;
  TASK_RANGE(lo, hi, task / a->splits / a->groups, a->block, a->n * a->gh * a->gw);
  igemm_pixels(a, lo, hi, task / a->splits % a->groups, task % a->splits);
}

// Rows [from, to) of a picture, of all groups.
static void igemm_rows(const igemm_args *a, int64_t from, int64_t to) {
  const int64_t lo = from * a->gw, hi = to * a->gw, blocks = (hi - lo + GEMM_PIXELS - 1) / GEMM_PIXELS;
  for (int64_t k = 0; k < blocks; k++)
    for (int64_t g = 0; g < a->groups; g++)
      igemm_pixels(a, lo + (hi - lo) * k / blocks, lo + (hi - lo) * (k + 1) / blocks, g, 0);
}
