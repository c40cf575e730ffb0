// The first layer: a 3x3 convolution of three channels. Its reduction is too
// short for the matrix product of gemm.h, where every pixel needs pointers of its
// own; here a run of pixels lies at fixed distances in one row, and the nine taps of
// a row of the kernel lie side by side. x is padded already.

enum { RGB_MOST = GEMM_VECTORS == 4 ? 16 : 12, RGB_TAPS = 27 };

// The pixels of a tile: what the registers hold beside a row of the weights.
INLINE int rgb_pixels(int vectors) { return vectors == 1 ? RGB_MOST : GEMM_VECTORS == 4 ? 12 : 6; }

// Copies pictures into zeros around them, as float32, a task a row of the result.
static void rgb_pad(const void *args, int64_t task) {
  const pad_args *a = args;
  const int64_t ph = a->top + a->h + a->bottom, pw = a->left + a->w + a->right;
  const int64_t n = task / ph, i = task % ph - a->top, width = a->w * a->c;
  float *y = (float *)a->y + task * pw * a->c;
  if (i < 0 || i >= a->h) {
    memset(y, 0, pw * a->c * sizeof *y);
    return;
  }
  const elem *x = a->x + (n * a->h + i) * width;
  memset(y, 0, a->left * a->c * sizeof *y);
  y += a->left * a->c;
  for (int64_t j = 0; j < width; j += VL) store_n(y + j, width - j, load_n(x + j, width - j));
  memset(y + width, 0, a->right * a->c * sizeof *y);
}

// The sums of m pixels of each of `rows` rows, n channels of them in one or two vectors.
INLINE void rgb_sums(const rgb_args *a, const int rows, const int m, const int vectors, const int s, const float *x, int64_t col,
                     const int64_t n, vf acc[][2]) {
#pragma GCC unroll 2
  for (int v = 0; v < vectors; v++) {
    const vf bias = a->bias ? load_n(a->bias + col + v * VL, n - v * VL) : splat(0);
#pragma GCC unroll 16
    for (int i = 0; i < rows * m; i++) acc[i][v] = bias;
  }
  const float *w = a->w + col, *below = x + a->w_ * 3 * s;
  for (int u = 0; u < 3; u++, x += a->w_ * 3 - 9, below += a->w_ * 3 - 9)
#pragma GCC unroll 1
    for (int q = 0; q < 9; q++, x++, below++, w += a->o) {
      vf b[2];
#pragma GCC unroll 2
      for (int v = 0; v < vectors; v++) b[v] = load_n(w + v * VL, n - v * VL);
      OPAQUE(x); // what two taps read alike would else be kept, in more registers than there are
      if (rows == 2) OPAQUE(below);
#pragma GCC unroll 16
      for (int i = 0; i < rows * m; i++) {
        const vf xv = splat(i < m ? x[i * s * 3] : below[(i - m) * s * 3]);
#pragma GCC unroll 2
        for (int v = 0; v < vectors; v++) acc[i][v] += xv * b[v];
      }
    }
}

// m pixels of a row.
INLINE void rgb_tile(const rgb_args *a, const int m, const int vectors, const int s, const float *x, elem *y, int64_t col,
                     const int64_t n) {
  vf acc[RGB_MOST][2];
  rgb_sums(a, 1, m, vectors, s, x, col, n, acc);
  const int64_t act = a->act, o = a->o;
#pragma GCC unroll 16
  for (int i = 0; i < m; i++)
#pragma GCC unroll 2
    for (int v = 0; v < vectors; v++) store_n(y + i * o + v * VL, n - v * VL, activate(acc[i][v], act));
}

// m pixels of a row of the largest of 2×2. The activation never falls as its argument grows, so
// that of the largest is the largest. (Of zeros alone the sign may be another one than that of
// the layer and the pool one after the other.)
INLINE void rgb_pool_tile(const rgb_args *a, const int m, const int vectors, const int s, const float *x, elem *y, int64_t col,
                          const int64_t n) {
  vf acc[RGB_MOST][2];
  rgb_sums(a, 2, 2 * m, vectors, s, x, col, n, acc);
  const int64_t act = a->act, o = a->o;
#pragma GCC unroll 16
  for (int i = 0; i < m; i++)
#pragma GCC unroll 2
    for (int v = 0; v < vectors; v++) {
      const vf above = larger(acc[2 * i + 1][v], acc[2 * i][v]);
      const vf below = larger(acc[2 * m + 2 * i + 1][v], acc[2 * m + 2 * i][v]);
      store_n(y + i * o + v * VL, n - v * VL, activate(larger(below, above), act));
    }
}

// A row of y of so many pixels: the last tile begins where it ends with the row, and takes
// some pixels again.
INLINE void rgb_line(const rgb_args *a, const int pool, const int vectors, const int s, const float *x, elem *y, int64_t col,
                     const int64_t n) {
  const int m = pool ? rgb_pixels(vectors) / 4 : rgb_pixels(vectors);
  const int64_t pixels = pool ? a->ow / 2 : a->ow, step = (pool ? 2 : 1) * s * 3;
  for (int64_t at = 0; at < pixels; at += pixels < m ? 1 : m) {
    const int64_t j = pixels < m ? at : min64(at, pixels - m);
    if (pool && pixels < m) rgb_pool_tile(a, 1, vectors, s, x + j * step, y + j * a->o, col, n);
    else if (pool) rgb_pool_tile(a, m, vectors, s, x + j * step, y + j * a->o, col, n);
    else if (pixels < m) rgb_tile(a, 1, vectors, s, x + j * step, y + j * a->o, col, n);
    else rgb_tile(a, m, vectors, s, x + j * step, y + j * a->o, col, n);
  }
}

// A row at a stride of s.
INLINE void rgb_row(const rgb_args *a, const int pool, const int s, const float *x, elem *y) {
  int64_t col = 0;
  for (; col + 2 * VL <= a->o; col += 2 * VL) rgb_line(a, pool, 2, s, x, y + col, col, 2 * VL);
  for (; col + VL <= a->o; col += VL) rgb_line(a, pool, 1, s, x, y + col, col, VL);
  if (col < a->o) rgb_line(a, pool, 1, s, x, y + col, col, a->o - col);
}

// Rows [lo, hi) of y, counted through all pictures.
static void rgb_rows(const rgb_args *a, int64_t lo, int64_t hi) {
  for (int64_t row = lo; row < hi; row++) {
    const float *x = a->x + (row / a->oh * a->h + row % a->oh * a->stride) * a->w_ * 3;
    elem *y = a->y + row * a->ow * a->o;
    if (a->stride == 1) rgb_row(a, 0, 1, x, y);
    else rgb_row(a, 0, 2, x, y);
    if (a->more.f) act_run(y, y, a->ow * a->o, &a->more);
  }
}

// Rows [lo, hi) of the largest of 2×2 results, of one picture. The activation is none or
// a->act.
static void rgb_pool_rows(const rgb_args *a, int64_t lo, int64_t hi) {
  for (int64_t row = lo; row < hi; row++) {
    const float *x = a->x + 2 * row * a->stride * a->w_ * 3;
    elem *y = a->y + row * (a->ow / 2) * a->o;
    if (a->stride == 1) rgb_row(a, 1, 1, x, y);
    else rgb_row(a, 1, 2, x, y);
  }
}

static void rgb(const void *args, int64_t task) {
  const rgb_args *a = args;
  TASK_RANGE(lo, hi, task, a->rows, a->n * a->oh);
  rgb_rows(a, lo, hi);
}

// The taps of `rows` rows of the kernel, r[u] for x: out[9·u + q] = Σ_j r[u][j·step + q] · dy[j], and
// behind them out[9·rows] = Σ_j dy[j], over a row of dy.
INLINE void rgb_outer(const int rows, const float *r0, const float *r1, const float *r2, int64_t step, const elem *dy,
                      int64_t o, int64_t pixels, const int64_t n, vf *out) {
  vf acc[RGB_TAPS], sum = splat(0);
  for (int t = 0; t < rows * 9; t++) acc[t] = splat(0);
  for (int64_t j = 0; j < pixels; j++, r0 += step, r1 += step, r2 += step, dy += o) {
    const vf d = load_n(dy, n);
    sum += d;
#pragma GCC unroll 9
    for (int q = 0; q < 9; q++) {
      acc[q] += splat(r0[q]) * d;
      if (rows == 1) continue;
      acc[9 + q] += splat(r1[q]) * d;
      acc[18 + q] += splat(r2[q]) * d;
    }
  }
  for (int t = 0; t < rows * 9; t++) out[t] = acc[t];
  out[rows * 9] = sum;
}

// The same, apart: where the compiler knows how far the rows are from each
// other, it makes one address of three, and runs out of registers.
#define RGB_OUTER(NAME, ROWS, N)                                                                              \
  static __attribute__((noinline)) void NAME(const float *r0, const float *r1, const float *r2, int64_t step, \
                                             const elem *dy, int64_t o, int64_t pixels, int64_t n, vf *out) { \
    rgb_outer(ROWS, r0, r1, r2, step, dy, o, pixels, N, out);                                                 \
  }
enum { RGB_ROWS = GEMM_VECTORS == 4 ? 3 : 1 }; // whose sums the registers hold
RGB_OUTER(rgb_outer_full, RGB_ROWS, VL)
RGB_OUTER(rgb_outer_part, RGB_ROWS, n)

// Adds the sums of a row of dy to dw, and of dy itself to db, which may be null.
INLINE void rgb_weight_line(const rgb_args *a, const float *x, const elem *dy, float *dw, float *db, int64_t n) {
  vf out[RGB_TAPS + 1];
  const int64_t row = a->w_ * 3, step = a->stride * 3;
  for (int u = 0; u < 3; u += RGB_ROWS) {
    const float *r = x + u * row;
    if (n == VL) rgb_outer_full(r, r + row, r + 2 * row, step, dy, a->o, a->ow, n, out);
    else rgb_outer_part(r, r + row, r + 2 * row, step, dy, a->o, a->ow, n, out);
    for (int t = 0; t < RGB_ROWS * 9; t++) {
      float *d = dw + (u * 9 + t) * a->o;
      store_n(d, n, load_n(d, n) + out[t]);
    }
  }
  if (db) store_n(db, n, load_n(db, n) + out[RGB_ROWS * 9]);
}

// Partial dw [27][o] and db [o] of a task's rows, at its place in dw and db.
static void rgb_weight(const void *args, int64_t task) {
  const rgb_args *a = args;
  TASK_RANGE(lo, hi, task, a->rows, a->n * a->oh);
  float *dw = a->dw + task * RGB_TAPS * a->o, *db = a->db ? a->db + task * a->o : NULL;
  memset(dw, 0, RGB_TAPS * a->o * sizeof *dw);
  if (db) memset(db, 0, a->o * sizeof *db);
  for (int64_t row = lo; row < hi; row++) {
    const float *x = a->x + (row / a->oh * a->h + row % a->oh * a->stride) * a->w_ * 3;
    for (int64_t col = 0; col < a->o; col += VL) {
      const elem *dy = a->dy + row * a->ow * a->o + col;
      rgb_weight_line(a, x, dy, dw + col, db ? db + col : NULL, min64(VL, a->o - col));
    }
  }
}
