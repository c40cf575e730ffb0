// What a product in bfloat16 has of its own where the processor has a dot product of
// pairs (VDPBF16PS): acc + upper·upper + lower·lower. Weights are rounded to bfloat16
// when they are packed, two values of k beside each other for every column. Where
// the channels of a group are odd in number, the last has a zero for a partner.
//
// A product of two bfloat16s is exact in float32, so that each step rounds a sum and
// nothing else, as a multiply-add does: the bound of float32 sums, √K·ε·Σ|a·b|,
// holds as it is. Only numbers below the least normal float32 differ: the
// instruction takes them for zero.

typedef uint32_t packed; // two weights
typedef bf16 factor;     // what is read of x

// The rows of a packed tap of kc channels.
INLINE int64_t packed_rows(int64_t kc) { return (kc + 1) / 2; }

INLINE vi load_pairs(const uint32_t *p) {
  typedef vi vi_unaligned __attribute__((aligned(4), may_alias));
  return *(const vi_unaligned *)p;
}
INLINE void store_pairs(uint32_t *p, vi v) {
  typedef vi vi_unaligned __attribute__((aligned(4), may_alias));
  *(vi_unaligned *)p = v;
}

// The two bfloat16s at p, for all lanes.
INLINE vi splat_pair(const void *p) {
  typedef int32_t unaligned __attribute__((aligned(2), may_alias));
  return *(const unaligned *)p - (vi){0};
}

// n ≤ VL bfloat16s as they are, zeros behind. Nothing behind is touched.
INLINE vh load_halves(const bf16 *p, int64_t n) {
  if (n >= VL) return *(const vh_unaligned *)p;
  return (vh)_mm256_maskz_loadu_epi16((__mmask16)((1u << n) - 1), p);
}

INLINE vi pair_up(vh lower, vh upper) {
  return (vi)(__builtin_convertvector(lower, vu) | __builtin_convertvector(upper, vu) << 16);
}

// acc[i][v] += x[i] · b[v], pair by pair. `m` and `vectors` are constants where
// this is inlined.
INLINE void pair_step(vf acc[][GEMM_VECTORS], const int m, const int vectors, const void *const *x, const uint32_t *b) {
  vi bv[GEMM_VECTORS];
  for (int v = 0; v < vectors; v++) bv[v] = load_pairs(b + v * VL);
  for (int i = 0; i < m; i++) {
    const vi xv = splat_pair(x[i]);
    for (int v = 0; v < vectors; v++)
      acc[i][v] = (vf)_mm512_dpbf16_ps((__m512)acc[i][v], (__m512bh)xv, (__m512bh)bv[v]);
  }
}

// A task packs one tap of one group into every panel.
static void pack(const void *args, int64_t task) {
  const pack_args *a = args;
  const int64_t g = task / a->ntaps, t = task % a->ntaps, pairs = packed_rows(a->kc);
  const float *w = a->w + a->taps[t] * a->tap_stride + g * a->g_stride;
  for (panel p = {0}; next_panel_of(&p, a->gn, a->share);) {
    const int64_t width = p.vectors * VL;
    uint32_t *dst = (uint32_t *)a->dst + g * a->g_floats + p.start * a->ntaps * pairs + t * pairs * width;
    if (a->n_stride == 1) {
      for (int64_t k = 0; k < a->kc; k += 2, dst += width) {
        const float *src = w + k * a->k_stride + p.start;
        for (int64_t v = 0; v < width; v += VL) {
          const int64_t n = p.cols - v;
          const vf lower = n > 0 ? load_n(src + v, n) : splat(0);
          const vf upper = n > 0 && k + 1 < a->kc ? load_n(src + a->k_stride + v, n) : splat(0);
          store_pairs(dst + v, pair_up(rounded(lower), rounded(upper)));
        }
      }
      continue;
    }
    for (int64_t k0 = 0; k0 < a->kc; k0 += VL) // transposed: k is contiguous in w
      for (int64_t n = 0; n < width; n++) {
        union {
          vh v;
          uint32_t pair[VL / 2];
        } r = {{0}};
        if (n < p.cols) r.v = rounded(load_n(w + (p.start + n) * a->n_stride + k0, a->kc - k0));
        const int64_t q1 = min64(VL / 2, pairs - k0 / 2);
        for (int64_t q = 0; q < q1; q++) dst[(k0 / 2 + q) * width + n] = r.pair[q];
      }
  }
}

// acc[i][v] += Σ_k x[i][k] · b[k][v], as in gemm_f32.h.
INLINE void gemm_tap(vf acc[][GEMM_VECTORS], const int m, const int vectors, const bf16 *const *x, int64_t kc,
                     const uint32_t *b) {
  const void *at[GEMM_ROWS];
  int64_t k = 0;
  for (; k + 2 <= kc; k += 2, b += vectors * VL) {
    for (int i = 0; i < m; i++) at[i] = x[i] + k;
    pair_step(acc, m, vectors, at, b);
  }
  if (k == kc) return;
  uint32_t last[GEMM_ROWS]; // with nothing of what lies behind it
  for (int i = 0; i < m; i++) {
    last[i] = x[i][k].bits;
    at[i] = &last[i];
  }
  pair_step(acc, m, vectors, at, b);
}
