// What has a number for each channel: scales and shifts, slopes, and the factors
// that each image or each pixel has for itself. x is rows of channels.

// y = x·w + b, or a PReLU with the slopes w. A task: some rows of an image.
static void channelwise(const void *args, int64_t task) {
  const channel_args *a = args;
  const int64_t image = task / a->chunks;
  TASK_RANGE(lo, hi, task % a->chunks, a->rows, a->m);
  const float *x = a->x + image * a->m * a->c, *w = a->w + image * a->stride;
  float *y = a->y + image * a->m * a->c;
  for (int64_t i = lo * a->c; i < hi * a->c; i += a->c)
    for (int64_t c = 0; c < a->c; c += VL) {
      const int64_t n = a->c - c;
      vf v = load_n(x + i + c, n);
      if (a->prelu) {
        v = pick(v > splat(0), v, v * (a->one ? splat(*w) : load_n(w + c, n)));
      } else {
        if (a->w) v *= load_n(w + c, n);
        if (a->b) v += load_n(a->b + c, n);
      }
      store_n(y + i + c, n, v);
    }
}

// dx, where it is wanted, and part[task] = [Σdy·x, Σdy] a channel, in double over
// short float sums; for a PReLU only where x is not positive.
static void channelwise_backward(const void *args, int64_t task) {
  const channel_args *a = args;
  const int64_t image = task / a->chunks, at = image * a->m * a->c;
  TASK_RANGE(lo, hi, task % a->chunks, a->rows, a->m);
  const float *w = a->w + image * a->stride;
  double *dot = a->part + task * 2 * a->c, *sum = dot + a->c;
  memset(dot, 0, 2 * a->c * sizeof *dot);
  for (int64_t r = lo; r < hi; r += bn_block(a->c)) {
    const int64_t end = min64(hi, r + bn_block(a->c));
    for (int64_t c = 0; c < a->c; c += VL) {
      const int64_t n = a->c - c;
      const vf scale = !a->w ? splat(0) : a->one ? splat(*w) : load_n(w + c, n);
      vf s = splat(0), d = splat(0);
      for (int64_t i = at + r * a->c + c; i < at + end * a->c; i += a->c) {
        const vf x = load_n(a->x + i, n), g = load_n(a->dy + i, n);
        const vi up = a->prelu ? x > splat(0) : (vi){0};
        s += g;
        d += pick(up, splat(0), g * x);
        if (a->y) store_n(a->y + i, n, pick(up, g, g * scale));
      }
      for (int64_t j = 0; j < min64(VL, n); j++) dot[c + j] += d[j], sum[c + j] += s[j];
    }
  }
}

// dw and db of an image from the parts, in their order.
static void channelwise_total(const void *args, int64_t task) {
  const channel_args *a = args;
  double all = 0;
  for (int64_t c = 0; c < a->c; c++) {
    double d = 0, s = 0;
    for (int64_t t = task * a->chunks; t < (task + 1) * a->chunks; t++) {
      d += a->part[t * 2 * a->c + c];
      s += a->part[(t * 2 + 1) * a->c + c];
    }
    all += d;
    if (a->dw && !a->one) a->dw[task * a->c + c] = (float)d;
    if (a->db) a->db[c] = (float)s;
  }
  if (a->one) *a->dw = (float)all;
}

// y = x·w with a factor w for each row; with dy, dx = dy·w and dw = Σdy·x.
static void rowwise(const void *args, int64_t task) {
  const channel_args *a = args;
  TASK_RANGE(lo, hi, task, a->rows, a->m);
  for (int64_t i = lo; i < hi; i++) {
    const float *x = a->x + i * a->c, *from = a->dy ? a->dy + i * a->c : x;
    const vf w = splat(a->w[i]);
    vf d = splat(0);
    for (int64_t c = 0; c < a->c; c += VL) {
      const int64_t n = a->c - c;
      const vf v = load_n(from + c, n);
      if (a->dy) d += v * load_n(x + c, n);
      store_n(a->y + i * a->c + c, n, v * w);
    }
    if (a->dy) a->dw[i] = (float)ln_total(d);
  }
}
