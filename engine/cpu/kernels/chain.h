// Chains of convolutions and pools, depth-first: some rows go through all links
// before the next rows do. What a link has made lies in memory of the thread, as
// many rows as the next link still needs; these move to its beginning when it is
// full. The kernels are those that run alone, told where row 0 would lie.

// Rows [from, to) of a picture of a product, of all groups.
static void igemm_rows(const igemm_args *a, int64_t from, int64_t to) {
  const int64_t lo = from * a->gw, hi = to * a->gw, blocks = (hi - lo + GEMM_PIXELS - 1) / GEMM_PIXELS;
  for (int64_t k = 0; k < blocks; k++)
    for (int64_t g = 0; g < a->groups; g++)
      igemm_pixels(a, lo + (hi - lo) * k / blocks, lo + (hi - lo) * (k + 1) / blocks, g, 0);
}

// Rows [from, to) of y of picture n.
static void chain_rows(const chain_link *l, const float *x, float *y, int64_t n, int64_t from, int64_t to) {
#define CHAIN_ARGS(TYPE)              \
  TYPE a = *(const TYPE *)l->args;    \
  a.x = (const void *)x;              \
  a.y = (void *)y
  switch (l->kind) {
    case CHAIN_PAD: {
      CHAIN_ARGS(pad_args);
      for (int64_t r = from; r < to; r++) pad_row(&a, r);
      break;
    }
    case CHAIN_RGB: {
      CHAIN_ARGS(rgb_args);
      rgb_rows(&a, from, to);
      break;
    }
    case CHAIN_PRODUCT: {
      CHAIN_ARGS(igemm_args);
      if (a.res) a.res = (const void *)((const elem *)a.res + n * l->rows * l->out);
      igemm_rows(&a, from, to);
      break;
    }
    case CHAIN_DEPTHWISE: {
      CHAIN_ARGS(depthwise_args);
      if (a.residual) a.residual += n * l->rows * l->out;
      depthwise_rows(&a, from, to);
      break;
    }
    case CHAIN_MAXPOOL: {
      CHAIN_ARGS(pool_args);
      maxpool_rows(&a, from, to);
      break;
    }
    case CHAIN_AVGPOOL: {
      CHAIN_ARGS(pool_args);
      avgpool_rows(&a, from, to);
      break;
    }
  }
#undef CHAIN_ARGS
}

// What a thread has of a link: rows [base, have) in its memory, of which the
// next link has computed what it can.
typedef struct {
  float *memory;
  int64_t base, have, to;
} chain_state;

// Makes room for rows up to s->to, and returns where row 0 of the link would be.
// The rows before keep are needed no more.
static float *chain_room(const chain_link *l, chain_state *s, int64_t keep) {
  if (s->to - s->base > l->room) {
    if (s->have > keep)
      memmove(s->memory, s->memory + (keep - s->base) * l->out, (s->have - keep) * l->out * sizeof *s->memory);
    s->base = keep;
  }
  return s->memory - s->base * l->out;
}

// Takes rows up to s[last].to of picture n through all links.
static void chain_step(const chain_args *a, chain_state *s, int64_t n) {
  const int64_t last = a->count - 1;
  const chain_link *l = a->links;
  for (int64_t i = last; i > 0; i--) s[i - 1].to = max64(s[i - 1].have, l[i].need[2 * s[i].to - 1]);
  for (int64_t i = 0; i <= last; i++) {
    if (s[i].to <= s[i].have) continue;
    const float *x = i ? s[i - 1].memory - s[i - 1].base * l[i].in : a->x + n * a->picture;
    float *y = a->y + n * l[last].rows * l[last].out;
    if (i < last) {
      const int64_t keep = l[i + 1].need[2 * s[i + 1].have];
      y = chain_room(&l[i], &s[i], keep);
      s[i].have = max64(s[i].have, keep); // nobody needs what is skipped
    }
    chain_rows(&l[i], x, y, n, s[i].have, s[i].to);
    s[i].have = s[i].to;
  }
}

static void chain(const void *args, int64_t task) {
  const chain_args *a = args;
  const int64_t last = a->count - 1, n = task / a->tiles;
  TASK_RANGE(lo, hi, task % a->tiles, a->rows, a->links[last].rows);
  if (lo >= hi) return;
  int64_t slot = 0;
  while (__atomic_exchange_n(&a->busy[slot], 1, __ATOMIC_ACQUIRE)) slot = (slot + 1) % a->slots;
  chain_state s[CHAIN_LINKS];
  int64_t first = lo;
  for (int64_t i = last; i >= 0; i--) {
    s[i] = (chain_state){a->memory + slot * a->slot + a->links[i].memory, first, first, first};
    first = a->links[i].need[2 * first];
  }
  for (int64_t r = lo; r < hi; r += a->step) {
    s[last].to = min64(r + a->step, hi);
    chain_step(a, s, n);
  }
  __atomic_store_n(&a->busy[slot], 0, __ATOMIC_RELEASE);
}
