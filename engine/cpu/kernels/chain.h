// Chains of convolutions and pools, depth-first: a link computes a few rows as soon
// as it can, so that it finds what it reads in the first cache. What it has made
// lies in memory of the thread, as many rows as the next link still needs; these
// move to its beginning when it is full. The kernels are those that run alone, told
// where row 0 would lie.

// Rows [from, to) of a picture of a product, of all groups.
static void igemm_rows(const igemm_args *a, int64_t from, int64_t to) {
  const int64_t lo = from * a->gw, hi = to * a->gw, blocks = (hi - lo + GEMM_PIXELS - 1) / GEMM_PIXELS;
  for (int64_t k = 0; k < blocks; k++)
    for (int64_t g = 0; g < a->groups; g++)
      igemm_part(a, lo + (hi - lo) * k / blocks, lo + (hi - lo) * (k + 1) / blocks, g, 0);
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
    case CHAIN_RGB_POOL: {
      CHAIN_ARGS(rgb_args);
      rgb_pool_rows(&a, from, to);
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

// What a thread has of a link: rows [base, have) in its memory.
typedef struct {
  float *memory;
  int64_t base, have;
} chain_state;

// Makes room for rows up to `to`, and returns where row 0 of the link would be. The
// rows before keep are needed no more.
static float *chain_room(const chain_link *l, chain_state *s, int64_t keep, int64_t to) {
  if (to - s->base > l->room) {
    if (s->have > keep)
      memmove(s->memory, s->memory + (keep - s->base) * l->out, (s->have - keep) * l->out * sizeof *s->memory);
    s->base = keep;
  }
  return s->memory - s->base * l->out;
}

// Computes rows up to `to` of link i for picture n, `grain` at a time, and of the
// links before it what these need.
static void chain_pull(const chain_args *a, chain_state *s, int64_t n, int64_t i, int64_t to) {
  const int64_t last = a->count - 1;
  const chain_link *l = &a->links[i];
  if (i < last) s[i].have = max64(s[i].have, l[1].need[2 * s[i + 1].have]); // nobody needs what is skipped
  while (s[i].have < to) {
    const int64_t end = min64(to, s[i].have + l->grain);
    if (i) chain_pull(a, s, n, i - 1, l->need[2 * end - 1]);
    const float *x = i ? s[i - 1].memory - s[i - 1].base * l->in : a->x + n * a->picture;
    float *y = i < last ? chain_room(l, &s[i], l[1].need[2 * s[i + 1].have], end) : a->y + n * l->rows * l->out;
    chain_rows(l, x, y, n, s[i].have, end);
    s[i].have = end;
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
    s[i] = (chain_state){a->memory + slot * a->slot + a->links[i].memory, first, first};
    first = a->links[i].need[2 * first];
  }
  chain_pull(a, s, n, last, hi);
  __atomic_store_n(&a->busy[slot], 0, __ATOMIC_RELEASE);
}
