// The gradient of a convolution's weights in bfloat16, dw[t][k][o] = Σ_pixels
// x_t[k]·dy[o] in float32. The instruction adds products in pairs, and here the
// sum runs over pixels: two pixels of dy are put beside each other, column by
// column, and the two pixels of x that meet them under a tap.
//
// In x, the partners of the pixels j and j+1 of a row are `sw` apart, and a tap
// that lies 2·sw columns beside another meets the same pairs one place on. So a
// row of x is paired once for each class of taps, the remainder of their column by
// 2·sw: twice for a kernel of three columns and stride 1, not nine times. A row of
// odd length ends in a pair with zero.

enum {
  WGRAD_PAIRS = 96,      // of pixels in a chunk, at most
  WGRAD_CLASSES = 8,     // of taps in a unit, at most
  WGRAD_XPAIRS = 1 << 15, // words for a chunk of x
  WGRAD_ROWS = 9         // of a tile of one vector
};

// Puts n channels of two pixels beside each other, up to a multiple of VL.
INLINE void pair_pixels(uint32_t *dst, const bf16 *a, const bf16 *b, int64_t n) {
  for (int64_t k = 0; k < n; k += VL) store_pairs(dst + k, pair_up(load_halves(a + k, n - k), load_halves(b + k, n - k)));
}

// acc[i][v] = Σ_q x[q][i]·dy[q][v], pair by pair.
INLINE void wgrad_tile(vf acc[][GEMM_VECTORS], const int m, const int vectors, const uint32_t *const *x, int64_t k,
                       const uint32_t *dy, int64_t pairs) {
  for (int i = 0; i < m; i++)
    for (int v = 0; v < vectors; v++) acc[i][v] = splat(0);
  for (int64_t q = 0; q < pairs; q++, dy += vectors * VL) {
    const void *at[WGRAD_ROWS];
    for (int i = 0; i < m; i++) at[i] = x[q] + k + i;
    pair_step(acc, m, vectors, at, dy);
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

INLINE void wgrad_step(const int m, const int vectors, const uint32_t *const *x, int64_t k, const uint32_t *dy, int64_t pairs,
                       const wgrad_out *o) {
  vf acc[WGRAD_ROWS][GEMM_VECTORS];
  wgrad_tile(acc, m, vectors, x, k, dy, pairs);
  for (int i = 0; i < m; i++)
    for (int v = 0; v < vectors && v * VL < o->cols; v++) {
      float *d = o->dw + (k + i) * o->stride + v * VL;
      const int64_t n = o->cols - v * VL;
      store_n(d, n, o->first ? acc[i][v] : acc[i][v] + load_n(d, n));
    }
}

// Rows [0, k1) of dw for one panel: full tiles, then the rest.
#define WGRAD_REST(M) \
  case M: wgrad_step(M, V_, x, k, dy, pairs, o); break;
#define WGRAD_PANEL(NAME, V)                                                                               \
  static __attribute__((noinline)) void NAME(const uint32_t *const *x, int64_t k1, const uint32_t *dy, int64_t pairs, \
                                             const wgrad_out *o) {                                         \
    enum { V_ = V };                                                                                       \
    int64_t k = 0;                                                                                         \
    for (; k + wgrad_rows(V) <= k1; k += wgrad_rows(V)) wgrad_step(wgrad_rows(V), V, x, k, dy, pairs, o);   \
    switch (k1 - k) {                                                                                      \
      WGRAD_REST(1) WGRAD_REST(2) WGRAD_REST(3) WGRAD_REST(4) WGRAD_REST(5) WGRAD_MORE                     \
    }                                                                                                      \
  }

#include "gemm_weight_panels.h"

// A run of pixels of dy in one row: pairs [q, q + (pixels+1)/2) of a chunk.
typedef struct {
  int64_t n, i, j, pixels; // picture, row and first column of dy
  int64_t at, q;           // the first pixel's number, its pair's number in the chunk
} wgrad_run;

// A chunk of pixels, and what a task knows of its taps.
typedef struct {
  const wgrad_args *a;
  const bf16 *x;   // the group's first channel of the task's block
  int64_t kb, wide; // channels of the block, and up to a multiple of VL
  const int64_t *taps; // of the task, dh and dw of each
  int64_t ntaps;
  wgrad_run runs[WGRAD_PAIRS];
  int64_t nruns, pairs;
  // x in pairs: those of row h of picture n and of class c start at x_pairs + (slot·classes + c)·len·wide
  int64_t classes, class_of[GEMM_TAPS], remainder[WGRAD_CLASSES];
  int64_t first[WGRAD_CLASSES], len; // the least place of a class, places in a row
  int64_t dh0, dh1;                  // least and largest row of a tap
  int64_t slot[WGRAD_PAIRS];         // of the first row of x that a run meets
  uint32_t *x_pairs;
} wgrad_task;

INLINE int64_t floor_div(int64_t a, int64_t b) { return a / b - (a % b < 0); }

// Sorts the task's taps into classes.
static void wgrad_classify(wgrad_task *t) {
  const int64_t step = 2 * t->a->sw;
  t->classes = 0;
  t->dh0 = INT64_MAX;
  t->dh1 = INT64_MIN;
  for (int64_t i = 0; i < t->ntaps; i++) {
    const int64_t dh = t->taps[2 * i], dw = t->taps[2 * i + 1], place = floor_div(dw, step);
    int64_t c = 0;
    while (c < t->classes && t->remainder[c] != dw - place * step) c++;
    if (c == t->classes) {
      t->remainder[c] = dw - place * step;
      t->first[c] = place;
      t->classes++;
    }
    t->first[c] = min64(t->first[c], place);
    t->class_of[i] = c;
    t->dh0 = min64(t->dh0, dh);
    t->dh1 = max64(t->dh1, dh);
  }
}

// Whether a tap of the task reads row h of x for a row of dy in [i0, i1].
static int wgrad_reads(const wgrad_task *t, int64_t h, int64_t i0, int64_t i1) {
  for (int64_t i = 0; i < t->ntaps; i++) {
    const int64_t d = h - t->taps[2 * i];
    if (d % t->a->sh == 0 && d >= i0 * t->a->sh && d <= i1 * t->a->sh) return 1;
  }
  return 0;
}

// Pairs a row of x for every class: places [0, len) from first[c] + j0/2 on.
static void wgrad_pair_row(const wgrad_task *t, int64_t n, int64_t h, int64_t j0, uint32_t *dst) {
  const wgrad_args *a = t->a;
  const bf16 *row = t->x + (n * a->h + h) * a->w * a->c, *zeros = (const bf16 *)ps_zeros;
  const int inside = h >= 0 && h < a->h;
  for (int64_t c = 0; c < t->classes; c++)
    for (int64_t q = 0; q < t->len; q++, dst += t->wide) {
      const int64_t w = 2 * a->sw * (q + t->first[c] + j0 / 2) + t->remainder[c], w2 = w + a->sw;
      pair_pixels(dst, inside && w >= 0 && w < a->starts ? row + w * a->c : zeros,
                  inside && w2 >= 0 && w2 < a->starts ? row + w2 * a->c : zeros, t->kb);
    }
}

// Cuts pixels from `at` on into runs, at most WGRAD_PAIRS pairs and a->rows rows;
// returns where the chunk ends.
static int64_t wgrad_runs(wgrad_task *t, int64_t at, int64_t hi) {
  const wgrad_args *a = t->a;
  t->nruns = t->pairs = 0;
  while (at < hi && t->nruns < a->rows && t->pairs < WGRAD_PAIRS) {
    wgrad_run *r = &t->runs[t->nruns];
    *r = (wgrad_run){at / (a->gh * a->gw), at / a->gw % a->gh, at % a->gw, 0, at, t->pairs};
    r->pixels = min64(hi - at, min64(a->gw - r->j, a->cut));
    const int part = r->pixels < a->gw; // of a row: alone in its chunk
    if (t->nruns > 0 && (part || t->pairs + (r->pixels + 1) / 2 > WGRAD_PAIRS)) break;
    t->pairs += (r->pixels + 1) / 2;
    t->nruns++;
    at += r->pixels;
    if (part) break;
  }
  return at;
}

// Pairs what the chunk's runs meet of x. Consecutive rows of a picture share rows of x.
static void wgrad_pair_x(wgrad_task *t) {
  const wgrad_args *a = t->a;
  const int64_t size = t->classes * t->len * t->wide;
  uint32_t *dst = t->x_pairs;
  int64_t slot = 0;
  for (int64_t r = 0, end; r < t->nruns; r = end) {
    const wgrad_run *f = &t->runs[r];
    for (end = r + 1; end < t->nruns && t->runs[end].n == f->n;) end++;
    const int64_t h0 = f->i * a->sh + t->dh0, i1 = t->runs[end - 1].i, h1 = i1 * a->sh + t->dh1;
    for (int64_t k = r; k < end; k++) t->slot[k] = slot + (t->runs[k].i - f->i) * a->sh;
    for (int64_t h = h0; h <= h1; h++, slot++, dst += size)
      if (wgrad_reads(t, h, f->i, i1)) wgrad_pair_row(t, f->n, h, f->j, dst);
  }
}

// Where the partners of the chunk's pairs lie under a tap.
static void wgrad_partners(const wgrad_task *t, int64_t tap, const uint32_t **x) {
  const int64_t c = t->class_of[tap], dh = t->taps[2 * tap], dw = t->taps[2 * tap + 1];
  const int64_t place = floor_div(dw, 2 * t->a->sw) - t->first[c];
  for (int64_t r = 0; r < t->nruns; r++) {
    const uint32_t *p = t->x_pairs + (((t->slot[r] + dh - t->dh0) * t->classes + c) * t->len + place) * t->wide;
    for (int64_t q = 0; q < (t->runs[r].pixels + 1) / 2; q++, p += t->wide) *x++ = p;
  }
}

// Pairs a panel of dy; `stride` is the panel's width.
static void wgrad_pair_dy(const wgrad_task *t, const bf16 *dy, const panel *p, uint32_t *dst) {
  const int64_t o = t->a->o, width = p->vectors * VL;
  for (int64_t r = 0; r < t->nruns; r++) {
    const bf16 *row = dy + t->runs[r].at * o;
    for (int64_t j = 0; j < t->runs[r].pixels; j += 2, row += 2 * o, dst += width) {
      pair_pixels(dst, row, j + 1 < t->runs[r].pixels ? row + o : (const bf16 *)ps_zeros, p->cols);
      for (int64_t v = (p->cols + VL - 1) / VL * VL; v < width; v += VL) store_pairs(dst + v, (vi){0});
    }
  }
}

// The sums of a panel of dy: a product with ones.
static void wgrad_bias(const uint32_t *dy, int64_t pairs, const panel *p, float *db, int first) {
  static const uint32_t one = 0x3f803f80;
  const int64_t width = p->vectors * VL;
  for (int64_t v = 0; v < p->cols; v += VL) {
    vf s[1][GEMM_VECTORS] = {{splat(0)}};
    const void *ones = &one;
    for (int64_t q = 0; q < pairs; q++) pair_step(s, 1, 1, &ones, dy + q * width + v);
    const int64_t n = p->cols - v;
    store_n(db + v, n, first ? s[0][0] : s[0][0] + load_n(db + v, n));
  }
}

// All of the task's sums over one chunk.
static void wgrad_chunk(const wgrad_task *t, const bf16 *dy, float *dw, float *db, int first) {
  const wgrad_args *a = t->a;
  uint32_t pairs[WGRAD_PAIRS * GEMM_VECTORS * VL];
  const uint32_t *x[WGRAD_PAIRS];
  for (panel p = {0}; next_panel(&p, a->gn);) {
    wgrad_pair_dy(t, dy + p.start, &p, pairs);
    for (int64_t i = 0; i < t->ntaps; i++) {
      wgrad_partners(t, i, x);
      const wgrad_out o = {dw + i * a->kc * a->o + p.start, a->o, p.cols, first};
#if GEMM_VECTORS == 4
      if (p.vectors == 4) {
        wgrad4(x, t->kb, pairs, t->pairs, &o);
        continue;
      }
#endif
      if (p.vectors == 2) wgrad2(x, t->kb, pairs, t->pairs, &o);
      else wgrad1(x, t->kb, pairs, t->pairs, &o);
    }
    if (db) wgrad_bias(pairs, t->pairs, &p, db + p.start, first);
  }
}

// A task: one split of the pixels, one group, one unit, which is some taps and
// kblock rows of each. All taps of a chunk of pixels come before the next chunk.
static void wgrad(const void *args, int64_t task) {
  const wgrad_args *a = args;
  const int64_t unit = task % a->units, g = task / a->units % a->groups, split = task / a->units / a->groups;
  const int64_t parts = (a->kc + a->kblock - 1) / a->kblock;
  TASK_RANGE(t0, t1, unit / parts, a->utaps, a->ntaps);
  TASK_RANGE(k0, k1, unit % parts, a->kblock, a->kc);
  TASK_RANGE(lo, hi, split, a->each, a->n * a->gh * a->gw);
  float *dw = a->dw + split * a->dw_floats + (t0 * a->kc + k0) * a->o + g * a->gn;
  float *db = a->db && unit == 0 ? a->db + split * a->o + g * a->gn : NULL;
  if (lo >= hi) { // more splits than pixels: this one's sum is empty
    for (int64_t t = t0; t < t1; t++, dw += a->kc * a->o)
      for (int64_t k = 0; k < k1 - k0; k++) memset(dw + k * a->o, 0, a->gn * sizeof *dw);
    if (db) memset(db, 0, a->gn * sizeof *db);
    return;
  }
  uint32_t x_pairs[WGRAD_XPAIRS];
  wgrad_task t;
  t.a = a;
  t.x = (const bf16 *)a->x + g * a->gk + k0;
  t.kb = k1 - k0;
  t.wide = (t.kb + VL - 1) / VL * VL;
  t.taps = a->taps + 2 * t0;
  t.ntaps = t1 - t0;
  t.x_pairs = x_pairs;
  t.len = a->places;
  wgrad_classify(&t);
  for (int64_t at = lo; at < hi;) {
    const int64_t end = wgrad_runs(&t, at, hi);
    wgrad_pair_x(&t);
    wgrad_chunk(&t, (const bf16 *)a->dy + g * a->gn, dw, db, at == lo);
    at = end;
  }
}
