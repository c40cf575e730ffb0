// Sums and products of two tensors of codes: engine.QAdd and QMul have the formulas.

static void qadd(const void *args, int64_t task) {
  const codes_args *a = args;
  TASK_RANGE(lo, hi, task, a->each, a->n);
  const uint8_t *x = a->x, *b = a->b;
  uint8_t *y = a->y;
  const qcoder coder = CODER(a);
  const vi xzero = splat_int((int32_t)a->xzero), bzero = splat_int((int32_t)a->bzero);
  const vf mx = splat(a->m), mb = splat(a->mb);
  for (int64_t i = lo; i < hi; i += VL) {
    vf u = as_floats(load_codes(x + i, hi - i) - xzero) * mx;
    vf v = as_floats(load_codes(b + i, hi - i) - bzero) * mb;
    ROUNDED(u);
    ROUNDED(v);
    store_codes(y + i, hi - i, codes_of(&coder, u + v));
  }
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
