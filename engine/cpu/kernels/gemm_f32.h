// What a product in float32 has of its own: how weights are packed, and its loop.

typedef float packed;  // a weight
typedef float factor; // what is read of x

// A weight as it is multiplied: rounded where x is bfloat16.
INLINE vf as_packed(vf w) {
#ifdef PS_BFLOAT16
  return wide(rounded(w));
#else
  return w;
#endif
}

// The rows of a packed tap of kc channels.
INLINE int64_t packed_rows(int64_t kc) { return kc; }

enum { PACK_DEPTH = 16 };

// A task packs one tap of one group into every panel.
static void pack(const void *args, int64_t task) {
  const pack_args *a = args;
  const int64_t g = task / a->ntaps, t = task % a->ntaps;
  const float *w = a->w + a->taps[t] * a->tap_stride + g * a->g_stride;
  const int64_t depth = a->ntaps * a->kc;
  for (panel p = {0}; next_panel_of(&p, a->gn, a->share);) {
    const int64_t width = p.vectors * VL;
    float *dst = a->dst + g * a->g_floats + p.start * depth + t * a->kc * width;
    if (a->n_stride == 1) {
      for (int64_t k = 0; k < a->kc; k++, dst += width) {
        const float *src = w + k * a->k_stride + p.start;
        for (int64_t v = 0; v < width; v += VL)
          store(dst + v, p.cols > v ? as_packed(load_n(src + v, p.cols - v)) : splat(0));
      }
      continue;
    }
    for (int64_t k0 = 0; k0 < a->kc; k0 += PACK_DEPTH) // transposed: k is contiguous in w
      for (int64_t n = 0; n < width; n++) {
        const float *src = w + (p.start + n) * a->n_stride;
        const int64_t k1 = min64(a->kc, k0 + PACK_DEPTH);
        float t[PACK_DEPTH] = {0};
        if (n < p.cols)
          for (int64_t k = k0; k < k1; k++) t[k - k0] = src[k * a->k_stride];
        for (int i = 0; i < PACK_DEPTH; i += VL) store(t + i, as_packed(load(t + i)));
        for (int64_t k = k0; k < k1; k++) dst[k * width + n] = t[k - k0];
      }
  }
}

// acc[i][v] += Σ_k x[i][k] · b[k][v]. `m` and `vectors` are constants where this is
// inlined, so acc lives in registers.
INLINE void gemm_tap(vf acc[][GEMM_VECTORS], const int m, const int vectors, const float *const *x, int64_t kc, const float *b) {
  for (int64_t k = 0; k < kc; k++, b += vectors * VL) {
    vf bv[GEMM_VECTORS];
    for (int v = 0; v < vectors; v++) bv[v] = load(b + v * VL);
    for (int i = 0; i < m; i++) {
      const vf xv = splat(x[i][k]);
      for (int v = 0; v < vectors; v++) acc[i][v] += xv * bv[v];
    }
  }
}
