// Element by element: fill, weighted sum, dropout; and the transposition between
// NHWC and NCHW.

static void fill(const void *args, int64_t task) {
  const fill_args *a = args;
  TASK_RANGE(lo, hi, task, PS_SPAN, a->n);
  for (int64_t i = lo; i < hi; i++) a->y[i] = (float)a->value;
}

// y = Σ_k w_k·x_k
static void add(const void *args, int64_t task) {
  const add_args *a = args;
  TASK_RANGE(lo, hi, task, PS_SPAN, a->n);
  for (int64_t i = lo; i < hi; i += VL) {
    const int64_t n = hi - i;
    vf s = splat((float)a->w[0]) * load_n(a->x[0] + i, n);
    for (int64_t k = 1; k < a->k; k++) s += splat((float)a->w[k]) * load_n(a->x[k] + i, n);
    store_n(a->y + i, n, s);
  }
}

static void transpose(const void *args, int64_t task) {
  const transpose_args *a = args;
  const elem *x = a->x + task * a->rows * a->cols;
  elem *y = a->y + task * a->rows * a->cols;
  for (int64_t i = 0; i < a->rows; i++)
    for (int64_t j = 0; j < a->cols; j++) y[j * a->rows + i] = x[i * a->cols + j];
}

// Philox4x32-10 (Salmon et al., SC 2011).
static void philox(uint32_t c[4], uint32_t k0, uint32_t k1) {
  for (int r = 0; r < 10; r++) {
    const uint64_t p0 = (uint64_t)0xD2511F53 * c[0], p1 = (uint64_t)0xCD9E8D57 * c[2];
    const uint32_t c0 = (uint32_t)(p1 >> 32) ^ c[1] ^ k0, c2 = (uint32_t)(p0 >> 32) ^ c[3] ^ k1;
    c[0] = c0, c[1] = (uint32_t)p1, c[2] = c2, c[3] = (uint32_t)p0;
    k0 += 0x9E3779B9, k1 += 0xBB67AE85;
  }
}

static void dropout(const void *args, int64_t task) {
  const dropout_args *a = args;
  TASK_RANGE(lo, hi, task, PS_SPAN, a->n);
  for (int64_t i = lo; i < hi; i += 4) {
    uint32_t c[4] = {(uint32_t)(i / 4), (uint32_t)a->stream, a->counter[2], a->counter[3]};
    philox(c, a->counter[0], a->counter[1]);
    for (int64_t j = 0; j < min64(4, hi - i); j++)
      put(a->y + i + j, c[j] < (uint32_t)a->threshold ? 0 : get(a->x + i + j) * (float)a->scale);
  }
}

// A task is a span of elements, whichever images they are of.
static void stochastic_depth(const void *args, int64_t task) {
  const depth_args *a = args;
  TASK_RANGE(lo, hi, task, PS_SPAN, a->n * a->each);
  for (int64_t i = lo; i < hi;) {
    const int64_t image = i / a->each, end = min64(hi, (image + 1) * a->each);
    uint32_t c[4] = {(uint32_t)(image / 4), (uint32_t)a->stream, a->counter[2], a->counter[3]};
    philox(c, a->counter[0], a->counter[1]);
    const vf scale = splat((float)a->scale);
    const int drop = c[image % 4] < (uint32_t)a->threshold;
    for (; i + VL <= end; i += VL) store(a->y + i, drop ? splat(0) : load(a->x + i) * scale);
    if (i < end) store_part(a->y + i, end - i, drop ? splat(0) : load_part(a->x + i, end - i) * scale);
    i = end;
  }
}
