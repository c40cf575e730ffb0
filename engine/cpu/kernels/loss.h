// Losses over logits [N,K], in double: they are small, and everything hangs on them.

// log Σ_k exp(x_k/t)
static double log_sum_exp(const float *x, int64_t k, double t) {
  double top = -INFINITY, s = 0;
  for (int64_t i = 0; i < k; i++)
    if (!(x[i] <= top)) top = x[i]; // a NaN stays
  for (int64_t i = 0; i < k; i++) s += exp((x[i] - top) / t);
  return top / t + log(s);
}

static void cross_entropy(const void *args, int64_t task) {
  const loss_args *a = args;
  (void)task;
  double loss = 0;
  for (int64_t n = 0; n < a->n; n++) {
    const float *x = a->x + n * a->k, *t = a->t + n * a->k;
    const double z = log_sum_exp(x, a->k, 1);
    for (int64_t i = 0; i < a->k; i++)
      loss -= ((1 - a->param) * t[i] + a->param / a->k) * (x[i] - z);
  }
  *a->y = (float)(loss / a->n);
}

static void cross_entropy_backward(const void *args, int64_t task) {
  const loss_args *a = args;
  const float *x = a->x + task * a->k, *t = a->t + task * a->k;
  const double z = log_sum_exp(x, a->k, 1), scale = (double)*a->dloss / a->n;
  double total = 0;
  for (int64_t i = 0; i < a->k; i++) total += (1 - a->param) * t[i] + a->param / a->k;
  for (int64_t i = 0; i < a->k; i++)
    a->y[task * a->k + i] =
        (float)(scale * (exp(x[i] - z) * total - ((1 - a->param) * t[i] + a->param / a->k)));
}

static void kldiv(const void *args, int64_t task) {
  const loss_args *a = args;
  (void)task;
  const double T = a->param;
  double loss = 0;
  for (int64_t n = 0; n < a->n; n++) {
    const float *s = a->x + n * a->k, *t = a->t + n * a->k;
    const double zs = log_sum_exp(s, a->k, T), zt = log_sum_exp(t, a->k, T);
    for (int64_t i = 0; i < a->k; i++) {
      const double lp = t[i] / T - zt;
      loss += exp(lp) * (lp - (s[i] / T - zs));
    }
  }
  *a->y = (float)(T * T * loss / a->n);
}

static void kldiv_backward(const void *args, int64_t task) {
  const loss_args *a = args;
  const double T = a->param, scale = (double)*a->dloss * T / a->n;
  const float *s = a->x + task * a->k, *t = a->t + task * a->k;
  const double zs = log_sum_exp(s, a->k, T), zt = log_sum_exp(t, a->k, T);
  for (int64_t i = 0; i < a->k; i++)
    a->y[task * a->k + i] = (float)(scale * (exp(s[i] / T - zs) - exp(t[i] / T - zt)));
}
