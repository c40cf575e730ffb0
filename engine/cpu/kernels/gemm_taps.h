// What the matrix products of convolutions share, whatever the type of x: how columns
// are cut into panels, and where the taps of pixels lie.

enum { GEMM_PIXELS = 96, GEMM_TAPS = 64 };

// The columns are cut into panels of GEMM_VECTORS, 2 or 1 vectors: the widest that
// is full, or lacks less than a vector.
typedef struct {
  int64_t start, cols; // first column, columns that exist
  int vectors;         // the panel is padded to this width
} panel;

INLINE int panel_vectors(int64_t left) {
  if (GEMM_VECTORS == 4 && left > 3 * VL) return 4;
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

// The same where panels begin anew at every `share` columns, a multiple of 16.
INLINE int next_panel_of(panel *p, int64_t n, int64_t share) {
  const int64_t start = p->start + p->vectors * VL;
  return next_panel(p, min64(n, (start / share + 1) * share));
}

// Where each tap of pixels [lo, hi) of a grid lies in x, for one group:
// rows[t·stride + pixel-lo].
INLINE void tap_pointers(const elem **rows, int64_t stride, const elem *x, const int64_t *taps, int64_t ntaps,
                         int64_t gh, int64_t gw, int64_t h, int64_t w, int64_t c, int64_t sh, int64_t sw,
                         int64_t lo, int64_t hi) {
  const elem *zeros = (const elem *)ps_zeros;
  for (int64_t p = lo; p < hi;) { // a run of pixels in one row of the grid
    const int64_t n = p / (gh * gw), i = p / gw % gh, j0 = p % gw;
    const int64_t run = min64(hi - p, gw - j0);
    for (int64_t t = 0; t < ntaps; t++) {
      const elem **out = rows + t * stride + (p - lo);
      const int64_t row = i * sh + taps[2 * t];
      if (row < 0 || row >= h) {
        for (int64_t j = 0; j < run; j++) out[j] = zeros;
        continue;
      }
      const elem *src = x + (n * h + row) * w * c;
      int64_t col = j0 * sw + taps[2 * t + 1];
      if (col >= 0 && col + (run - 1) * sw < w) { // nothing hangs over
        for (int64_t j = 0; j < run; j++) out[j] = src + (col + j * sw) * c;
        continue;
      }
      for (int64_t j = 0; j < run; j++, col += sw) out[j] = col >= 0 && col < w ? src + col * c : zeros;
    }
    p += run;
  }
}
