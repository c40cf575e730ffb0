// Products of codes for x86-64 with AMX-INT8, beside AVX-512 and AVX512_VNNI. Tiles have to be asked
// of the system, which is done for Linux alone.
#if defined(__x86_64__) && defined(__linux__)
#include "target.h"
PS_TARGET_BEGIN("avx512f,avx512dq,avx512bw,avx512vl,avx512vnni,avx2,fma,amx-tile,amx-int8")
#include <immintrin.h>
#define VL 16
#define PS_MASK_AVX512
#define PS_TILES
#define PS_TABLE ps_dottiles
#include "dot.h"

int ps_tiles_right(void) {
  uint8_t x[QSIDE][QROW];
  int8_t w[QSIDE][QROW];
  int32_t sums[QSIDE][QSIDE];
  for (int i = 0; i < QSIDE * QROW; i++) x[i / QROW][i % QROW] = (uint8_t)(i * 97), w[i / QROW][i % QROW] = (int8_t)(i * 61);
  for (int i = 0; i < QSIDE * QSIDE; i++) sums[i / QSIDE][i % QSIDE] = i - 100;
  TILES_BEGIN();
  TILE_LOAD(0, sums, QROW);
  TILE_LOAD(4, x, QROW);
  TILE_LOAD(6, w, QROW);
  TILE_DOT(0, 4, 6);
  TILE_STORE(0, sums, QROW);
  TILES_END();
  for (int r = 0; r < QSIDE; r++)
    for (int o = 0; o < QSIDE; o++) {
      int32_t want = r * QSIDE + o - 100;
      for (int k = 0; k < QROW; k++) want += (int32_t)x[r][k] * w[k / 4][4 * o + k % 4];
      if (sums[r][o] != want) return 0;
    }
  return 1;
}
PS_TARGET_END
#endif
