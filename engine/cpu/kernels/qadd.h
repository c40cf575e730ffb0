// Sums and products of two tensors of codes: engine.QAdd and QMul have the formulas.

// n codes of x and of b at i, as numbers in steps of y, added.
INLINE vf qadd_sum(const codes_args *a, int64_t i, int64_t n, vi xzero, vi bzero, vf mx, vf mb) {
  vf u = as_floats(load_codes((const uint8_t *)a->x + i, n) - xzero) * mx;
  vf v = as_floats(load_codes((const uint8_t *)a->b + i, n) - bzero) * mb;
  ROUNDED(u);
  ROUNDED(v);
  return u + v;
}

static void qadd(const void *args, int64_t task) {
  const codes_args *a = args;
  TASK_RANGE(lo, hi, task, a->each, a->n);
  uint8_t *y = a->y;
  const qcoder coder = CODER(a);
  const vi xzero = splat_int((int32_t)a->xzero), bzero = splat_int((int32_t)a->bzero);
  const vf mx = splat(a->m), mb = splat(a->mb);
  int64_t i = lo;
  for (; i + 4 * VL <= hi; i += 4 * VL) {
    vf v[4];
    uint8_t *to[4];
    for (int k = 0; k < 4; k++) v[k] = qadd_sum(a, i + k * VL, VL, xzero, bzero, mx, mb), to[k] = y + i + k * VL;
    store_four(to, &coder, v, 1);
  }
  for (; i < hi; i += VL) store_codes(y + i, hi - i, codes_of(&coder, qadd_sum(a, i, hi - i, xzero, bzero, mx, mb)));
}

// A task: some of the n rows of c codes; `pixels` rows have one row of b.
static void qmul(const void *args, int64_t task) {
  const codes_args *a = args;
  TASK_RANGE(lo, hi, task, a->each, a->n);
  const qcoder coder = CODER(a);
  const vi xzero = splat_int((int32_t)a->xzero), bzero = splat_int((int32_t)a->bzero);
  const vf m = splat(a->m);
  const int64_t n = a->c;
  for (int64_t r = lo; r < hi; r++) {
    const uint8_t *x = (const uint8_t *)a->x + r * n, *b = (const uint8_t *)a->b + r / a->pixels * n;
    uint8_t *y = (uint8_t *)a->y + r * n;
    for (int64_t c = 0; c < n; c += VL) {
      const vi p = (load_codes(x + c, n - c) - xzero) * (load_codes(b + c, n - c) - bzero);
      store_codes(y + c, n - c, codes_of(&coder, as_floats(p) * m));
    }
  }
}
