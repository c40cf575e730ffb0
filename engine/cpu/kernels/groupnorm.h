// Group normalization of images [m, c]: the channels of a group together, in each
// image. A task is a part of one image's pixels, or, in between, an image.

// The pixels [lo, hi) of a task, counted over all images, and its image.
#define GN_RANGE(lo, hi, image, a, task)                                     \
  const int64_t image = (task) / (a)->chunks;                                \
  const int64_t lo = image * (a)->m + (task) % (a)->chunks * (a)->rows;      \
  const int64_t hi = min64(lo + (a)->rows, (image + 1) * (a)->m)

// Mean and centered squares a channel: part[task] = [c means, c squares].
static void group_norm_stats(const void *args, int64_t task) {
  const group_norm_args *a = args;
  GN_RANGE(lo, hi, image, a, task);
  double *part = a->part + task * 2 * a->c;
  bn_moments(a->x + lo * a->c, hi - lo, a->c, part, part + a->c);
}

// Merges an image's parts, group by group.
static void group_norm_finish(const void *args, int64_t image) {
  const group_norm_args *a = args;
  const int64_t each = a->c / a->groups;
  for (int64_t g = 0; g < a->groups; g++) {
    double mu = 0, m2 = 0, n = 0;
    for (int64_t t = image * a->chunks; t < (image + 1) * a->chunks; t++) {
      GN_RANGE(lo, hi, same, a, t);
      (void)same;
      const double *part = a->part + t * 2 * a->c + g * each;
      for (int64_t c = 0; c < each; c++, n += hi - lo) bn_merge(&mu, &m2, n, hi - lo, part[c], part[a->c + c]);
    }
    a->mu[image * a->groups + g] = (float)mu;
    a->r[image * a->groups + g] = (float)(1 / sqrt(m2 / n + a->eps));
  }
}

// The channels at c take from v [groups] what belongs to their groups.
INLINE vf gn_spread(const group_norm_args *a, const float *v, int64_t c) {
  const int64_t each = a->c / a->groups;
  vf s = splat(0);
  for (int64_t j = 0; j < min64(VL, a->c - c); j++) s[j] = v[(c + j) / each];
  return s;
}

static void group_norm(const void *args, int64_t task) {
  const group_norm_args *a = args;
  GN_RANGE(lo, hi, image, a, task);
  for (int64_t c = 0; c < a->c; c += VL) {
    const int64_t n = a->c - c;
    const bn_affine f = {.mean = gn_spread(a, a->mu + image * a->groups, c), .shift = load_n(a->beta + c, n),
                         .scale = gn_spread(a, a->r + image * a->groups, c) * load_n(a->gamma + c, n)};
    for (int64_t i = lo; i < hi; i++) store_n(a->y + i * a->c + c, n, bn_value(f, load_n(a->x + i * a->c + c, n)));
  }
}

// part[task] = [Σdy·x̂, Σdy] a channel, in double over short float sums.
static void group_norm_grad(const void *args, int64_t task) {
  const group_norm_args *a = args;
  GN_RANGE(lo, hi, image, a, task);
  double *dot = a->part + task * 2 * a->c, *sum = dot + a->c;
  memset(dot, 0, 2 * a->c * sizeof *dot);
  for (int64_t first = lo; first < hi; first += bn_block(a->c)) {
    const int64_t end = min64(hi, first + bn_block(a->c));
    for (int64_t c = 0; c < a->c; c += VL) {
      const int64_t n = a->c - c;
      const vf mean = gn_spread(a, a->mu + image * a->groups, c), r = gn_spread(a, a->r + image * a->groups, c);
      vf s = splat(0), d = splat(0);
      for (int64_t i = first; i < end; i++) {
        const vf g = load_n(a->dy + i * a->c + c, n);
        s += g;
        d += g * (load_n(a->x + i * a->c + c, n) - mean);
      }
      d *= r;
      for (int64_t j = 0; j < min64(VL, n); j++) sum[c + j] += s[j], dot[c + j] += d[j];
    }
  }
}

// An image's coefficients of dx = γ·r·dy + c1·(x-μ) + c2: coef[image] = [groups c1, groups c2].
static void group_norm_coef(const void *args, int64_t image) {
  const group_norm_args *a = args;
  const int64_t each = a->c / a->groups;
  float *coef = a->coef + image * 2 * a->groups;
  for (int64_t g = 0; g < a->groups; g++) {
    double d = 0, s = 0;
    for (int64_t t = image * a->chunks; t < (image + 1) * a->chunks; t++) {
      const double *part = a->part + t * 2 * a->c;
      for (int64_t c = g * each; c < (g + 1) * each; c++) d += a->gamma[c] * part[c], s += a->gamma[c] * part[a->c + c];
    }
    const double r = a->r[image * a->groups + g], m = (double)a->m * each;
    coef[g] = (float)(-r * r * d / m);
    coef[a->groups + g] = (float)(-r * s / m);
  }
}

static void group_norm_backward(const void *args, int64_t task) {
  const group_norm_args *a = args;
  GN_RANGE(lo, hi, image, a, task);
  const float *coef = a->coef + image * 2 * a->groups;
  for (int64_t c = 0; c < a->c; c += VL) {
    const int64_t n = a->c - c;
    const vf mean = gn_spread(a, a->mu + image * a->groups, c), c1 = gn_spread(a, coef, c), c2 = gn_spread(a, coef + a->groups, c);
    const vf c0 = gn_spread(a, a->r + image * a->groups, c) * load_n(a->gamma + c, n);
    for (int64_t i = lo; i < hi; i++)
      store_n(a->y + i * a->c + c, n, c0 * load_n(a->dy + i * a->c + c, n) + c1 * (load_n(a->x + i * a->c + c, n) - mean) + c2);
  }
}
