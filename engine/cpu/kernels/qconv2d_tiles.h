// Convolutions of codes by tiles: AMX-INT8 multiplies 16 rows of 64 bytes with 16 columns of as
// many in one instruction, and adds the products to 16x16 sums in int32. A row is a pixel, with what
// it reads gathered one tap behind the other; a column is an output, and 16 steps of the packed
// weights are as they lie the tile that has them. Two tiles of pixels times two of outputs are
// computed together.
//
// PS_TILES_EMULATED has the instructions in C, for tests on machines without them.

enum { QSIDE = 16, QROW = 64 }; // rows of a tile, and their bytes

#if defined(PS_TILES_EMULATED)
static __thread uint8_t qtile_rows[8][QSIDE][QROW];

static void qtile_load(int t, const void *from, int64_t stride) {
  for (int r = 0; r < QSIDE; r++) memcpy(qtile_rows[t][r], (const uint8_t *)from + r * stride, QROW);
}

static void qtile_store(int t, void *to, int64_t stride) {
  for (int r = 0; r < QSIDE; r++) memcpy((uint8_t *)to + r * stride, qtile_rows[t][r], QROW);
}

static void qtile_dot(int sums, int x, int w) {
  for (int r = 0; r < QSIDE; r++)
    for (int o = 0; o < QSIDE; o++) {
      int32_t sum;
      memcpy(&sum, &qtile_rows[sums][r][4 * o], sizeof sum);
      for (int k = 0; k < QROW; k++) sum += (int32_t)qtile_rows[x][r][k] * (int8_t)qtile_rows[w][k / 4][4 * o + k % 4];
      memcpy(&qtile_rows[sums][r][4 * o], &sum, sizeof sum);
    }
}

#define TILES_BEGIN() ((void)0)
#define TILES_END() ((void)0)
#define TILE_LOAD(t, from, stride) qtile_load(t, from, stride)
#define TILE_STORE(t, to, stride) qtile_store(t, to, stride)
#define TILE_DOT(sums, x, w) qtile_dot(sums, x, w)
#else
// All eight tiles have 16 rows of 64 bytes.
static const struct {
  uint8_t palette, start, reserved[14];
  uint16_t bytes[16];
  uint8_t rows[16];
} qtile_config = {1, 0, {0}, {QROW, QROW, QROW, QROW, QROW, QROW, QROW, QROW}, {QSIDE, QSIDE, QSIDE, QSIDE, QSIDE, QSIDE, QSIDE, QSIDE}};

// Some compilers do not know that these read memory: what is stored before must be there.
#define TILES_BEGIN() (_tile_loadconfig(&qtile_config))
#define TILES_END() _tile_release()
#define TILE_LOAD(t, from, stride)  \
  do {                              \
    __asm__ volatile("" ::: "memory"); \
    _tile_loadd(t, from, stride);   \
  } while (0)
#define TILE_STORE(t, to, stride)   \
  do {                              \
    _tile_stored(t, to, stride);    \
    __asm__ volatile("" ::: "memory"); \
  } while (0)
#define TILE_DOT(sums, x, w) _tile_dpbusd(sums, x, w)
#endif

// M tiles of pixels, gathered at x in rows of `row` bytes, times N tiles of outputs from vector v on;
// the first `keep` pixels are stored. Tiles 0 to 3 hold the sums: of the first pixels times the first and
// the second outputs, of the second pixels times these. 4 and 5 hold pixels, 6 and 7 weights.
INLINE void qtiles(const qconv_args *a, const int M, const int N, const qpixels *t, const uint8_t *x, int64_t row, int64_t pixel,
                   int64_t keep, int64_t v) {
  const int32_t *bias = qbias_at(a, t->group, v), *w = qweights_at(a, t->group, v), *w1 = w + t->steps * VL;
  TILE_LOAD(0, bias, 0);
  if (N > 1) TILE_LOAD(1, bias + VL, 0);
  if (M > 1) TILE_LOAD(2, bias, 0);
  if (M > 1 && N > 1) TILE_LOAD(3, bias + VL, 0);
  for (int64_t k = 0; k < row; k += QROW, w += QSIDE * VL, w1 += QSIDE * VL) {
    TILE_LOAD(4, x + k, row);
    TILE_LOAD(6, w, QROW);
    TILE_DOT(0, 4, 6);
    if (N > 1) {
      TILE_LOAD(7, w1, QROW);
      TILE_DOT(1, 4, 7);
    }
    if (M > 1) {
      TILE_LOAD(5, x + QSIDE * row + k, row);
      TILE_DOT(2, 5, 6);
    }
    if (M > 1 && N > 1) TILE_DOT(3, 5, 7);
  }
  vi sums[2 * QSIDE][2];
  TILE_STORE(0, &sums[0][0], sizeof sums[0]);
  if (N > 1) TILE_STORE(1, &sums[0][1], sizeof sums[0]);
  if (M > 1) TILE_STORE(2, &sums[QSIDE][0], sizeof sums[0]);
  if (M > 1 && N > 1) TILE_STORE(3, &sums[QSIDE][1], sizeof sums[0]);
  enum { TOGETHER = 4 };
  for (int64_t r = 0; r < M * QSIDE && r < keep; r += TOGETHER) {
    vi acc[QFEW][QVECTORS];
    for (int i = 0; i < TOGETHER; i++)
      for (int n = 0; n < N; n++) acc[i][n] = sums[r + i][n];
    qfinish(a, TOGETHER, N, t, acc, pixel + r, keep - r, v);
  }
}

static void qconv(const void *args, int64_t task) {
  const qconv_args *a = args;
  const qpixels t = qpixels_of(a, task);
  if (t.v0 == t.v1) return;
  const int64_t used = t.steps * QSTEP, row = (used + QROW - 1) / QROW * QROW, n = t.p1 - t.p0;
  uint8_t *x = (uint8_t *)ps_scratch();
  qpixel at = qpixel_at(a, t.p0);
  for (int64_t p = 0; p < n; p++) { // zeros behind what a pixel reads: what weights come there does not matter
    qgather(a, x + p * row, at, t.group);
    memset(x + p * row + used, 0, row - used);
    qpixel_next(a, &at);
  }
  TILES_BEGIN();
  for (int64_t v = t.v0; v < t.v1; v += 2)
    for (int64_t p = 0; p < n; p += 2 * QSIDE) {
      const uint8_t *from = x + p * row;
      const int64_t pixel = t.p0 + p, keep = n - p;
      if (keep > QSIDE && v + 1 < t.v1) qtiles(a, 2, 2, &t, from, row, pixel, keep, v);
      else if (keep > QSIDE) qtiles(a, 2, 1, &t, from, row, pixel, keep, v);
      else if (v + 1 < t.v1) qtiles(a, 1, 2, &t, from, row, pixel, keep, v);
      else qtiles(a, 1, 1, &t, from, row, pixel, keep, v);
    }
  TILES_END();
}
