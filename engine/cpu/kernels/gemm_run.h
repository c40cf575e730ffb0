// Products in float32 whose rows lie at a fixed distance from each other, in x and in y:
// pointwise convolutions with stride one, linear layers and the places of Winograd's
// tiles. A row needs no pointer, so that tiles are as high as the registers allow where
// they are narrow: of two vectors, twelve rows for the eight of gemm.h.

enum { RUN_ROWS = 12 };   // the highest tile
enum { RUN_DEPTH = 128 }; // the most terms that are added up one by one

typedef struct {
  const float *x, *bias; // bias or null
  elem *y;               // and the residual, or null: from the panel's first column on
  const elem *res;
  int64_t xs, ys; // floats from a row to the next
  int64_t cols;   // columns that exist
  int64_t act;
  const float *next; // weights that are fetched meanwhile, so many floats on for each k
  int64_t step;      // of a tile: see run_ahead
} run;

// The rows of a tile.
INLINE int run_rows(int vectors) { return vectors == GEMM_VECTORS ? 6 : RUN_ROWS; }

// acc[i][v] += Σ_k x[i·stride + k] · b[k][v]. Three rows share an address: the compiler
// would else keep one for each. For each k the line at `ahead`, which moves on by `step`,
// is fetched into the second cache.
INLINE void run_sums(vf acc[][GEMM_VECTORS], const int m, const int vectors, const float *x, int64_t stride, int64_t kc,
                     const float *b, const float *ahead, int64_t step) {
  const float *at[RUN_ROWS / 3];
#pragma GCC unroll 4
  for (int g = 0; 3 * g < m; g++) at[g] = x + 3 * g * stride;
  for (int64_t k = 0; k < kc; k++, b += vectors * VL) {
    vf bv[GEMM_VECTORS];
#pragma GCC unroll 4
    for (int v = 0; v < vectors; v++) bv[v] = load(b + v * VL);
    if (vectors > 1) { // a single vector has as many loads as multiply-adds
      __builtin_prefetch(ahead, 0, 2);
      ahead += step;
    }
#pragma GCC unroll 12
    for (int i = 0; i < m; i++) {
      if (i % 3 == 0) OPAQUE(at[i / 3]);
      const vf xv = splat(at[i / 3][i % 3 * stride]);
#pragma GCC unroll 4
      for (int v = 0; v < vectors; v++) acc[i][v] += xv * bv[v];
      if (i % 3 == 2 || i == m - 1) at[i / 3]++;
    }
  }
}

// Does FULL for all rows i of the vectors v of a panel that are full, and PART for one of
// which n columns exist.
#define RUN_COLUMNS(FULL, PART)                                 \
  _Pragma("GCC unroll 4") for (int v = 0; v < vectors; v++) {   \
    const int64_t n = cols - v * VL;                            \
    if (n >= VL) {                                              \
      _Pragma("GCC unroll 12") for (int i = 0; i < m; i++) FULL; \
    } else if (n > 0) {                                         \
      _Pragma("GCC unroll 12") for (int i = 0; i < m; i++) PART; \
    }                                                           \
  }

// One tile at row `at`.
INLINE void run_tile(const int m, const int vectors, const run *r, int64_t at, int64_t kc, const float *b) {
  vf acc[RUN_ROWS][GEMM_VECTORS];
#pragma GCC unroll 4
  for (int v = 0; v < vectors; v++) {
    const vf bias = r->bias && r->cols > v * VL ? load_n(r->bias + v * VL, r->cols - v * VL) : splat(0);
#pragma GCC unroll 12
    for (int i = 0; i < m; i++) acc[i][v] = bias;
  }
  run_sums(acc, m, vectors, r->x + at * r->xs, r->xs, kc, b, r->next + at / run_rows(vectors) * kc * r->step, r->step);
  const int64_t ys = r->ys, cols = r->cols, act = r->act;
  if (r->res) {
    const elem *res = r->res + at * ys;
    RUN_COLUMNS(acc[i][v] += load(res + i * ys + v * VL), acc[i][v] += load_part(res + i * ys + v * VL, n));
  }
  if (act != PS_IDENTITY) {
#pragma GCC unroll 12
    for (int i = 0; i < m; i++)
#pragma GCC unroll 4
      for (int v = 0; v < vectors; v++) acc[i][v] = activate(acc[i][v], act);
  }
  elem *y = r->y + at * ys;
  RUN_COLUMNS(store(y + i * ys + v * VL, acc[i][v]), store_part(y + i * ys + v * VL, n, acc[i][v]));
}

// All tiles of a panel: full ones, then the rest, whose height is made a constant by the
// switch.
#define RUN_REST(M) \
  case M: run_tile(M, V_, r, at, kc, b); break;
#define RUN_PANEL(NAME, V)                                                                                \
  static __attribute__((noinline)) void NAME(const run *r, int64_t count, int64_t kc, const float *b) {   \
    enum { V_ = V };                                                                                      \
    int64_t at = 0;                                                                                       \
    for (; at + run_rows(V) <= count; at += run_rows(V)) run_tile(run_rows(V), V, r, at, kc, b);          \
    switch (count - at) { RUN_REST(1) RUN_REST(2) RUN_REST(3) RUN_REST(4) RUN_REST(5) RUN_MORE }           \
  }

#define RUN_MORE
#if GEMM_VECTORS == 4
RUN_PANEL(run4, 4)
#else
RUN_PANEL(run2, 2)
#endif
#undef RUN_MORE
#define RUN_MORE RUN_REST(6) RUN_REST(7) RUN_REST(8) RUN_REST(9) RUN_REST(10) RUN_REST(11)
#if GEMM_VECTORS == 4
RUN_PANEL(run2, 2)
#endif
RUN_PANEL(run1, 1)
#undef RUN_MORE

// Has the weights at next, those of the panel to come, fetched into the second cache while
// `count` rows of a panel are computed: layers of few pixels read theirs but once.
INLINE void run_ahead(run *r, int vectors, int64_t count, const float *next) {
  const int64_t tiles = (count + run_rows(vectors) - 1) / run_rows(vectors);
  r->next = next;
  r->step = (vectors * VL + tiles - 1) / tiles;
}

INLINE void run_block(const run *r, int vectors, int64_t count, int64_t kc, const float *b) {
#if GEMM_VECTORS == 4
  if (vectors == 4) {
    run4(r, count, kc, b);
    return;
  }
#endif
  if (vectors == 2) run2(r, count, kc, b);
  else run1(r, count, kc, b);
}

// `count` rows of a panel, RUN_DEPTH terms at a time, onto those before, which are in y:
// rounding errors grow with the root of the terms that are added up one by one, and
// Winograd's transform makes them larger by far than those of the direct sum. Sums in
// bfloat16 would lose more than that.
INLINE void run_panel(const run *r, int vectors, int64_t count, int64_t kc, const float *b) {
  const int64_t depth = sizeof(elem) == sizeof(float) ? RUN_DEPTH : kc;
  const int64_t tiles = (count + run_rows(vectors) - 1) / run_rows(vectors);
  run part = *r;
  for (int64_t k = 0; k < kc; k += depth) {
    if (k) part.bias = NULL, part.res = part.y;
    part.act = k + depth < kc ? PS_IDENTITY : r->act;
    run_block(&part, vectors, count, min64(depth, kc - k), b + k * vectors * VL);
    part.x += depth, part.next += depth * tiles * r->step;
  }
}
