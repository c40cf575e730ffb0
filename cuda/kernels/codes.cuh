/* Codes in uint8: engine.Codes has the rounding. Every multiplication, division and
 * addition of floats here rounds to nearest by itself (the _rn intrinsics are never
 * contracted), so that codes have the same bits as on every backend. */

typedef unsigned char u8;
typedef signed char s8;

typedef struct {
	int zero;
	float least, most; /* codes less the zero point */
} codes;

/* The code of v; the least for a NaN. */
DEVICE u8 code_of(float v, codes y) {
	v = v >= y.least ? v : y.least;
	v = v > y.most ? y.most : v;
	return (u8)((int)rintf(v) + y.zero);
}
