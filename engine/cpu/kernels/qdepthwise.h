// Depthwise convolutions of codes. Products of codes and their sums over at most
// QWINDOW taps are integers below 2²⁴, which floats hold exactly, in any order and
// whether or not multiplications and additions are fused.
enum { QWINDOW = 512 };

typedef int8_t vs_unaligned __attribute__((vector_size(VL), aligned(1), may_alias));

INLINE vf load_weights(const int8_t *p, int64_t n) {
  if (n >= VL) {
#if defined(PS_MASK_AVX512)
    return as_floats((vi)_mm512_cvtepi8_epi32(_mm_loadu_si128((const __m128i *)p)));
#elif defined(PS_MASK_AVX2)
    return as_floats((vi)_mm256_cvtepi8_epi32(_mm_loadl_epi64((const __m128i *)p)));
#else
    return __builtin_convertvector(*(const vs_unaligned *)p, vf);
#endif
  }
  vf v = {0};
  for (int64_t i = 0; i < n; i++) v[i] = p[i];
  return v;
}

// What a task reads of its arguments for each output.
typedef struct {
  void *y;
  int floats;
  qcoder coder;
} qdw;

// Finishes a vector of outputs: sum less X.Zero·Σw, plus the bias.
INLINE void qdw_store(const qdw *d, int64_t at, int64_t n, vf sum, vi bias, vf m) {
  const vf y = as_floats(as_ints(sum) + bias) * m;
  if (d->floats) store_n((float *)d->y + at, n, y);
  else store_codes((uint8_t *)d->y + at, n, codes_of(&d->coder, y));
}

// The taps [*lo, *hi) of an axis that lie in the picture.
INLINE void qdw_range(int64_t *lo, int64_t *hi, int64_t at, int64_t dil, int64_t k, int64_t size) {
  *lo = at < 0 ? (-at + dil - 1) / dil : 0;
  *hi = at + (k - 1) * dil < size ? k : at >= size ? 0 : (size - at + dil - 1) / dil;
  if (*lo > k) *lo = k;
}

// One pixel of a vector of channels, any kernel.
INLINE void qdw_pixel(const qconv_args *a, const qdw *d, const uint8_t *x, int64_t h0, int64_t w0, int64_t u0, int64_t u1, int64_t c, int64_t n,
                      int64_t at, vi bias, vf m) {
  int64_t v0, v1;
  qdw_range(&v0, &v1, w0, a->dilw, a->kw, a->w_);
  vf sum = splat(0), inside = splat(0);
  for (int64_t u = u0; u < u1; u++)
    for (int64_t v = v0; v < v1; v++) {
      const vf w = load_weights(a->w + (u * a->kw + v) * a->c + c, n);
      sum += as_floats(load_codes(x + ((h0 + u * a->dilh) * a->w_ + w0 + v * a->dilw) * a->c + c, n)) * w;
      inside += w;
    }
  qdw_store(d, at, n, sum, bias - as_ints(inside) * splat_int(a->xzero), m);
}

// The pixels [j0, j1) of a row whose 3x3 windows lie in the picture, one beside the
// other: each column of x is read once, and is part of three sums.
INLINE void qdw_slide3(const qconv_args *a, const qdw *d, const uint8_t *x, int64_t j0, int64_t j1, int64_t c, int64_t n, int64_t at, vi bias, vf m) {
  vf w[9], all = splat(0), last = splat(0), before = splat(0);
  for (int t = 0; t < 9; t++) all += w[t] = load_weights(a->w + t * a->c + c, n);
  bias -= as_ints(all) * splat_int(a->xzero);
  const int64_t row = a->dilh * a->w_ * a->c, col = a->c;
  const uint8_t *p = x + (j0 - a->left) * col + c;
  for (int64_t j = j0 - 2; j < j1; j++, p += col) {
    const vf u = as_floats(load_codes(p, n)), v = as_floats(load_codes(p + row, n)), z = as_floats(load_codes(p + 2 * row, n));
    if (j >= j0) qdw_store(d, at + j * col, n, before + (u * w[2] + v * w[5] + z * w[8]), bias, m);
    before = last + (u * w[1] + v * w[4] + z * w[7]);
    last = u * w[0] + v * w[3] + z * w[6];
  }
}

// The pixels [j0, j1) of a row whose 3x3 windows lie in the picture.
INLINE void qdw_run3(const qconv_args *a, const qdw *d, const uint8_t *x, int64_t j0, int64_t j1, int64_t c, int64_t n, int64_t at, vi bias, vf m) {
  vf w[9], all = splat(0);
  for (int t = 0; t < 9; t++) all += w[t] = load_weights(a->w + t * a->c + c, n);
  bias -= as_ints(all) * splat_int(a->xzero);
  const int64_t row = a->dilh * a->w_ * a->c, col = a->dilw * a->c, step = a->sw * a->c, each = a->c;
  const uint8_t *p = x + (j0 * a->sw - a->left) * a->c + c;
  for (int64_t j = j0; j < j1; j++, p += step) {
    vf sum = splat(0), more = splat(0), rest = splat(0);
    for (int v = 0; v < 3; v++) {
      sum += as_floats(load_codes(p + v * col, n)) * w[v];
      more += as_floats(load_codes(p + row + v * col, n)) * w[3 + v];
      rest += as_floats(load_codes(p + 2 * row + v * col, n)) * w[6 + v];
    }
    qdw_store(d, at + j * each, n, sum + more + rest, bias, m);
  }
}

// A task: some rows of outputs.
static void qdepthwise(const void *args, int64_t task) {
  const qconv_args *a = args;
  const qdw d = {a->y, (int)a->floats, CODER(a)};
  TASK_RANGE(lo, hi, task, a->block, a->n * a->oh);
  for (int64_t row = lo; row < hi; row++) {
    const int64_t h0 = row % a->oh * a->sh - a->top;
    const uint8_t *x = a->x + row / a->oh * a->h * a->w_ * a->c;
    int64_t u0, u1, j0 = 0, j1 = 0;
    qdw_range(&u0, &u1, h0, a->dilh, a->kh, a->h);
    if (a->kh == 3 && a->kw == 3 && u0 == 0 && u1 == 3) {
      j0 = min64((a->left + a->sw - 1) / a->sw, a->ow);
      j1 = a->w_ + a->left - 2 * a->dilw > 0 ? min64((a->w_ + a->left - 2 * a->dilw - 1) / a->sw + 1, a->ow) : 0;
      if (j1 < j0) j1 = j0;
    }
    for (int64_t c = 0; c < a->c; c += VL) {
      const int64_t n = a->c - c, at = row * a->ow * a->c + c;
      vi bias = {0};
      memcpy(&bias, a->bias + c, min64(n, VL) * 4);
      const vf m = load_n(a->m + c, n);
      for (int64_t j = 0; j < j0; j++) qdw_pixel(a, &d, x, h0, j * a->sw - a->left, u0, u1, c, n, at + j * a->c, bias, m);
      if (j0 < j1 && a->sw == 1 && a->dilw == 1) {
        if (n >= VL) qdw_slide3(a, &d, x + h0 * a->w_ * a->c, j0, j1, c, VL, at, bias, m);
        else qdw_slide3(a, &d, x + h0 * a->w_ * a->c, j0, j1, c, n, at, bias, m);
      } else if (j0 < j1) {
        if (n >= VL) qdw_run3(a, &d, x + h0 * a->w_ * a->c, j0, j1, c, VL, at, bias, m);
        else qdw_run3(a, &d, x + h0 * a->w_ * a->c, j0, j1, c, n, at, bias, m);
      }
      for (int64_t j = j1; j < a->ow; j++) qdw_pixel(a, &d, x, h0, j * a->sw - a->left, u0, u1, c, n, at + j * a->c, bias, m);
    }
  }
}
