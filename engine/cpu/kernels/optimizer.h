// Optimizers, moving averages and the gradient's norm, a task a span.

static void adam(const void *args, int64_t task) {
  const optim_args *a = args;
  const span s = a->spans[task];
  const float b1 = (float)a->beta1, b2 = (float)a->beta2;
  const float lr = a->hyper[0], decay = a->hyper[1], scale = *a->scale;
  const float step = lr / a->hyper[2], root = 1 / sqrtf(a->hyper[3]);
  const vf eps = splat((float)a->eps);
  for (int64_t i = 0; i < s.n; i += VL) {
    const int64_t n = s.n - i;
    vf p = load_n(s.p + i, n), g = splat(scale) * load_n(s.g + i, n);
    if (a->decoupled) p -= splat(lr * decay) * p;
    else g += splat(decay) * p;
    const vf m = splat(b1) * load_n(s.m + i, n) + splat(1 - b1) * g;
    const vf v = splat(b2) * load_n(s.v + i, n) + splat(1 - b2) * g * g;
    store_n(s.m + i, n, m);
    store_n(s.v + i, n, v);
    store_n(s.p + i, n, p - splat(step) * m / (square_root(v) * splat(root) + eps));
  }
}

static void sgd(const void *args, int64_t task) {
  const optim_args *a = args;
  const span s = a->spans[task];
  const float lr = a->hyper[0], decay = a->hyper[1], scale = *a->scale;
  const float mu = (float)a->beta1, keep = a->hyper[4] != 0 ? 0 : mu;
  for (int64_t i = 0; i < s.n; i += VL) {
    const int64_t n = s.n - i;
    const vf p = load_n(s.p + i, n);
    vf g = splat(scale) * load_n(s.g + i, n) + splat(decay) * p;
    if (s.m) {
      const vf b = keep == 0 ? g : splat(keep) * load_n(s.m + i, n) + g;
      store_n(s.m + i, n, b);
      g = a->decoupled ? g + splat(mu) * b : b;
    }
    store_n(s.p + i, n, p - splat(lr) * g);
  }
}

// EMA: p ← d·p + (1-d)·g with d = *s. Accumulation: p ← (1-first)·p + w·g, where w·g
// is rounded before it is added, as it is where other ranks add it (engine.AllReduce).
static void mix(const void *args, int64_t task) {
  const mix_args *a = args;
  const span s = a->spans[task];
  const float keep = a->ema ? *a->s : 1 - *a->s;
  const float take = a->ema ? 1 - *a->s : (float)a->weight;
  for (int64_t i = 0; i < s.n; i += VL) {
    const int64_t n = s.n - i;
    vf p = splat(take) * load_n(s.g + i, n);
    ROUNDED(p);
    if (keep != 0) p += splat(keep) * load_n(s.p + i, n);
    store_n(s.p + i, n, p);
  }
}

static void sumsq(const void *args, int64_t task) {
  const clip_args *a = args;
  const span s = a->spans[task];
  double total = 0;
  for (int64_t i = 0; i < s.n; i += 1024) { // short float sums, a long double one
    const int64_t end = min64(s.n, i + 1024);
    vf sum = splat(0);
    for (int64_t j = i; j < end; j += VL) {
      const vf g = load_n(s.g + j, end - j);
      sum += g * g;
    }
    for (int j = 0; j < VL; j++) total += sum[j];
  }
  a->part[task] = total;
}

static void clip(const void *args, int64_t task) {
  const clip_args *a = args;
  (void)task;
  double total = 0;
  for (int64_t i = 0; i < a->tasks; i++) total += a->part[i];
  const double norm = sqrt(total);
  *a->norm = (float)norm;
  *a->scale = a->max_norm > 0 ? (float)fmin(1, a->max_norm / (norm + 1e-6)) : 1;
}
