// Products in bfloat16 by multiply-adds of float32, for processors without a dot
// product of pairs, and for those on which it is no faster: Intel's take two cycles
// for VDPBF16PS, in which they do two multiply-adds. What a task reads of x is
// widened beside it, where the second cache holds it, and goes through the kernels
// for float32 from there.

enum { WIDE_FLOATS = 1 << 17 }; // of x, a task

// The part of x that a task reads: `channels` from x on of each pixel, under taps of
// a grid of gh × gw pixels a picture.
typedef struct {
  const bf16 *x;
  int64_t channels;
  const int64_t *taps; // ntaps pairs dh, dw
  int64_t ntaps, gh, gw, h, w, c, sh, sw;
  int64_t dh0, dh1, dw0, dw1; // least and largest of the taps
  int64_t rstep, cstep;       // of the rows and columns that are read
} wide_view;

static void wide_prepare(wide_view *v) {
  v->dh0 = v->dh1 = v->taps ? v->taps[0] : 0;
  v->dw0 = v->dw1 = v->taps ? v->taps[1] : 0;
  for (int64_t t = 1; t < v->ntaps; t++) {
    v->dh0 = min64(v->dh0, v->taps[2 * t]);
    v->dh1 = max64(v->dh1, v->taps[2 * t]);
    v->dw0 = min64(v->dw0, v->taps[2 * t + 1]);
    v->dw1 = max64(v->dw1, v->taps[2 * t + 1]);
  }
  v->rstep = v->dh0 == v->dh1 ? v->sh : 1;
  v->cstep = v->dw0 == v->dw1 ? v->sw : 1;
}

// Some pixels of a picture's grid, rows i0 to i1 and columns j0 to j1, and the rows and
// columns of x that they meet, from (h, w) on.
typedef struct {
  int64_t n, i0, i1, j0, j1;
  int64_t h, w, rows, cols;
} wide_part;

static wide_part wide_part_of(const wide_view *v, int64_t lo, int64_t hi) {
  wide_part p = {lo / (v->gh * v->gw), lo / v->gw % v->gh, (hi - 1) / v->gw % v->gh, 0, v->gw - 1};
  if (p.i0 == p.i1) {
    p.j0 = lo % v->gw;
    p.j1 = (hi - 1) % v->gw;
  }
  p.h = p.i0 * v->sh + v->dh0;
  p.w = p.j0 * v->sw + v->dw0;
  p.rows = ((p.i1 - p.i0) * v->sh + v->dh1 - v->dh0) / v->rstep + 1;
  p.cols = ((p.j1 - p.j0) * v->sw + v->dw1 - v->dw0) / v->cstep + 1;
  return p;
}

INLINE void widen_run(float *dst, const bf16 *src, int64_t n) {
  for (int64_t k = 0; k < n; k += VL) store_n(dst + k, n - k, load_n(src + k, n - k));
}

// Widens what the part meets of x; what lies outside of the picture stays as it is.
static void wide_fill(const wide_view *v, const wide_part *p, float *dst) {
  for (int64_t r = 0; r < p->rows; r++, dst += p->cols * v->channels) {
    const int64_t row = p->h + r * v->rstep;
    if (row < 0 || row >= v->h) continue;
    const bf16 *src = v->x + (p->n * v->h + row) * v->w * v->c;
    int64_t c0 = p->w < 0 ? (-p->w + v->cstep - 1) / v->cstep : 0, c1 = p->cols;
    if (p->w + (c1 - 1) * v->cstep >= v->w) c1 = v->w > p->w ? (v->w - p->w + v->cstep - 1) / v->cstep : 0;
    if (v->cstep == 1 && v->channels == v->c && c0 < c1) {
      widen_run(dst + c0 * v->c, src + (p->w + c0) * v->c, (c1 - c0) * v->c);
      continue;
    }
    for (int64_t q = c0; q < c1; q++) widen_run(dst + q * v->channels, src + (p->w + q * v->cstep) * v->c, v->channels);
  }
}

// Where the taps of pixels [lo, hi), which are the part's, lie in what was widened.
static void wide_pointers(const wide_view *v, const wide_part *p, const float *wide, const float **rows, int64_t stride,
                          int64_t lo, int64_t hi) {
  for (int64_t at = lo; at < hi;) {
    const int64_t i = at / v->gw % v->gh, j = at % v->gw, run = min64(hi - at, v->gw - j);
    for (int64_t t = 0; t < v->ntaps; t++) {
      const float **out = rows + t * stride + (at - lo);
      const int64_t row = i * v->sh + v->taps[2 * t];
      int64_t col = j * v->sw + v->taps[2 * t + 1];
      if (row < 0 || row >= v->h) {
        for (int64_t k = 0; k < run; k++) out[k] = ps_zeros;
        continue;
      }
      const float *src = wide + ((row - p->h) / v->rstep * p->cols + (col - p->w) / v->cstep) * v->channels;
      const int64_t step = v->sw / v->cstep * v->channels;
      for (int64_t k = 0; k < run; k++, col += v->sw, src += step) out[k] = col >= 0 && col < v->w ? src : ps_zeros;
    }
    at += run;
  }
}

// Widens what as many of the pixels [lo, hi) meet as there is room for, points at it
// (rows[t·stride + pixel-lo]), and returns where they end.
static int64_t widen_x(const wide_view *v, float *wide, const float **rows, int64_t stride, int64_t lo, int64_t hi) {
  int64_t at = v->ntaps ? lo : hi, used = 0;
  while (at < hi) {
    int64_t end = min64(hi, (at / (v->gh * v->gw) + 1) * v->gh * v->gw); // of one picture
    wide_part p = wide_part_of(v, at, end);
    while (used + p.rows * p.cols * v->channels > WIDE_FLOATS && end > at + 1) {
      const int64_t row = (end - 1) / v->gw * v->gw; // a row less, or half of one
      end = row > at ? row : at + (end - at) / 2;
      p = wide_part_of(v, at, end);
    }
    if (used + p.rows * p.cols * v->channels > WIDE_FLOATS) break;
    wide_fill(v, &p, wide + used);
    wide_pointers(v, &p, wide + used, rows + (at - lo), stride, at, end);
    used += p.rows * p.cols * v->channels;
    at = end;
  }
  return at;
}
