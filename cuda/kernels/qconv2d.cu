/* Convolutions and linear layers of codes, a thread an output; sums are exact in
 * int. With -DFOUR the channels of a group are a multiple of four, and a thread takes
 * four products at a time (dp4a) of weights that qpack has transposed. */

#include "codes.cuh"

typedef struct {
	const u8 *x;
	const s8 *w;          /* [KH,KW,cg,O] */
	const int *packed;    /* with FOUR [O][KH·KW][cg/4], and behind it the sums [O][KH·KW] */
	const int *bias;
	const float *m;
	void *y;
	i64 n; /* outputs */
	int h, wd, c, oh, ow, o, kh, kw, sh, sw, dh, dw, top, left, cg, og, zero, floats;
	codes out;
} qconv2d_args;

KERNEL(qconv2d)(qconv2d_args a) {
	WAIT_FOR_EARLIER();
	for (i64 i = (i64)blockIdx.x * blockDim.x + threadIdx.x; i < a.n; i += (i64)gridDim.x * blockDim.x) {
		int o = (int)(i % a.o), j = (int)(i / a.o % a.ow), row = (int)(i / a.o / a.ow % a.oh);
		const u8 *x = a.x + i / a.o / a.ow / a.oh * a.h * a.wd * a.c + o / a.og * a.cg;
		int acc = a.bias[o];
		for (int t = 0; t < a.kh * a.kw; t++) {
			int h = row * a.sh + t / a.kw * a.dh - a.top, w = j * a.sw + t % a.kw * a.dw - a.left;
			if (h < 0 || h >= a.h || w < 0 || w >= a.wd) continue;
			const u8 *p = x + ((i64)h * a.wd + w) * a.c;
#ifdef FOUR
			const int *q = a.packed + ((i64)o * a.kh * a.kw + t) * (a.cg / 4);
			/* x-zero = (x-128) - (zero-128), and x-128 is a signed byte */
			for (int e = 0; e < a.cg / 4; e++) acc = __dp4a((int)(((const u32 *)p)[e] ^ 0x80808080u), q[e], acc);
			acc -= (a.zero - 128) * a.packed[(i64)a.o * a.kh * a.kw * (a.cg / 4) + (i64)o * a.kh * a.kw + t];
#else
			const s8 *q = a.w + (i64)t * a.cg * a.o + o;
			for (int e = 0; e < a.cg; e++) acc += ((int)p[e] - a.zero) * (int)q[(i64)e * a.o];
#endif
		}
		float v = __fmul_rn((float)acc, a.m[o]);
		if (a.floats) ((float *)a.y)[i] = v;
		else ((u8 *)a.y)[i] = code_of(v, a.out);
	}
}

typedef struct {
	const s8 *w;
	int *packed;
	int o, taps, cg;
} qpack_args;

/* A thread packs one tap of one output. */
KERNEL(qpack)(qpack_args a) {
	WAIT_FOR_EARLIER();
	i64 n = (i64)a.o * a.taps;
	for (i64 i = (i64)blockIdx.x * blockDim.x + threadIdx.x; i < n; i += (i64)gridDim.x * blockDim.x) {
		int o = (int)(i / a.taps), t = (int)(i % a.taps), sum = 0;
		for (int e = 0; e < a.cg; e += 4) {
			u32 four = 0;
			for (int k = 0; k < 4; k++) {
				int v = a.w[((i64)t * a.cg + e + k) * a.o + o];
				sum += v;
				four |= (u32)(v & 255) << (8 * k);
			}
			a.packed[i * (a.cg / 4) + e / 4] = (int)four;
		}
		a.packed[n * (a.cg / 4) + i] = sum;
	}
}
