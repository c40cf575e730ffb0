// The stand-in for cuDNN: convolutions in plain loops over NHWC activations and
// KRSC filters, summed in float.
#include "cudnn_part.h"
#include "real.h"

#include <stdatomic.h>

size_t fake_conv_x(const fake_conv *c) { return (size_t)c->n * c->h * c->w * c->c; }
size_t fake_conv_f(const fake_conv *c) { return (size_t)c->o * c->kh * c->kw * (c->c / c->groups); }
size_t fake_conv_y(const fake_conv *c) { return (size_t)c->n * c->oh * c->ow * c->o; }

size_t fake_conv_workspace(const fake_conv *c) {
	if (c->pass == FORWARD)
		return c->algo == IMPLICIT_PRECOMP_GEMM ? sizeof(int32_t) * c->oh * c->ow * c->kh * c->kw : 0;
	if (c->pass == BACKWARD_DATA)
		return c->algo == ALGO_1 ? sizeof(float) * fake_conv_x(c) : 0;
	return c->algo == ALGO_1 ? sizeof(float) * fake_conv_f(c) : c->algo == ALGO_3 ? 64 : 0;
}

// place returns where in a picture of x the filter's tap (p,q) lies for the
// output's (i,j): the pixel's number, -1 outside.
static int32_t place(const fake_conv *c, int i, int j, int p, int q) {
	int h = i * c->stride_h - c->pad_h + p * c->dilation_h, w = j * c->stride_w - c->pad_w + q * c->dilation_w;
	return h < 0 || h >= c->h || w < 0 || w >= c->w ? -1 : h * c->w + w;
}

// forward sums tap by tap. The places come from the workspace where the
// algorithm computes them ahead.
static void forward(const fake_conv *c, const float *x, const float *f, float *y) {
	int taps = c->kh * c->kw, cg = c->c / c->groups, og = c->o / c->groups;
	int32_t *places = c->algo == IMPLICIT_PRECOMP_GEMM ? c->ws : NULL;
	for (int at = 0; places && at < c->oh * c->ow; at++)
		for (int t = 0; t < taps; t++)
			places[at * taps + t] = place(c, at / c->ow, at % c->ow, t / c->kw, t % c->kw);
	for (int n = 0; n < c->n; n++)
		for (int at = 0; at < c->oh * c->ow; at++)
			for (int o = 0; o < c->o; o++) {
				float sum = 0;
				for (int t = 0; t < taps; t++) {
					int32_t p = places ? places[at * taps + t] : place(c, at / c->ow, at % c->ow, t / c->kw, t % c->kw);
					if (p < 0)
						continue;
					const float *xs = x + ((size_t)n * c->h * c->w + p) * c->c + o / og * cg;
					const float *fs = f + ((size_t)o * taps + t) * cg;
					for (int i = 0; i < cg; i++)
						sum += xs[i] * fs[i];
				}
				y[((size_t)n * c->oh * c->ow + at) * c->o + o] = sum;
			}
}

// backward adds every product of the two factors to where it belongs: to of is
// dx (with the filter) or dw (with x). Reversed, it goes through dy from its
// end, which rounds differently.
static void backward(const fake_conv *c, const float *xf, const float *dy, float *to, int reversed) {
	int taps = c->kh * c->kw, cg = c->c / c->groups, og = c->o / c->groups;
	size_t all = (size_t)c->n * c->oh * c->ow;
	for (size_t k = 0; k < all; k++) {
		size_t row = reversed ? all - 1 - k : k;
		int n = (int)(row / ((size_t)c->oh * c->ow)), at = (int)(row % ((size_t)c->oh * c->ow));
		for (int o = 0; o < c->o; o++) {
			float d = dy[row * c->o + o];
			for (int t = 0; t < taps; t++) {
				int32_t p = place(c, at / c->ow, at % c->ow, t / c->kw, t % c->kw);
				if (p < 0)
					continue;
				size_t px = ((size_t)n * c->h * c->w + p) * c->c + o / og * cg, fs = ((size_t)o * taps + t) * cg;
				size_t from = c->pass == BACKWARD_DATA ? fs : px, into = c->pass == BACKWARD_DATA ? px : fs;
				for (int i = 0; i < cg; i++)
					to[into + i] += d * xf[from + i];
			}
		}
	}
}

// An algorithm that is not deterministic takes its sums in another order every
// second time.
static int turn(const fake_conv *c) {
	static atomic_int turns;
	int settled = c->pass == FORWARD || c->algo == ALGO_1;
	return !settled && atomic_fetch_add(&turns, 1) % 2;
}

// fuse is what stands behind the sum of element i. ReLU does not propagate NaN.
static float fuse(const fake_conv *c, size_t i, float sum) {
	float v = c->alpha * sum + real_at(c->bias, i % c->o, c->bf16);
	if (c->alpha2 != 0)
		v += c->alpha2 * real_at(c->z, i, c->bf16);
	return !c->relu || v > 0 ? v : 0;
}

CUresult fake_conv_run(const void *job) {
	const fake_conv *c = job;
	size_t nx = fake_conv_x(c), nf = fake_conv_f(c), ny = fake_conv_y(c);
	size_t n = c->pass == FORWARD ? ny : c->pass == BACKWARD_DATA ? nx : nf;
	void *to = (void *)(c->pass == FORWARD ? c->y : c->pass == BACKWARD_DATA ? c->x : c->f);
	float *x = c->pass == BACKWARD_DATA ? NULL : real_load(c->x, nx, c->bf16, c->tf32);
	float *f = c->pass == BACKWARD_FILTER ? NULL : real_load(c->f, nf, c->bf16, c->tf32);
	float *y = c->pass == FORWARD ? NULL : real_load(c->y, ny, c->bf16, c->tf32);
	int in_ws = c->pass != FORWARD && c->algo == ALGO_1;
	float *sums = in_ws ? c->ws : malloc(n * sizeof *sums + 1);
	CUresult rc = OUT_OF_MEMORY;
	if (sums && (x || c->pass == BACKWARD_DATA) && (f || c->pass == BACKWARD_FILTER) && (y || c->pass == FORWARD)) {
		if (c->pass == FORWARD) {
			forward(c, x, f, sums);
		} else {
			if (c->algo == ALGO_3)
				memset(c->ws, 0xff, c->ws_bytes);
			memset(sums, 0, n * sizeof *sums);
			backward(c, c->pass == BACKWARD_DATA ? f : x, y, sums, turn(c));
		}
		for (size_t i = 0; i < n; i++)
			real_store(to, i, c->bf16, c->fused ? fuse(c, i, sums[i]) : c->alpha * sums[i] + (c->beta != 0 ? c->beta * real_at(to, i, c->bf16) : 0));
		size_t size = c->bf16 ? 2 : 4, all = size * (nx + nf + ny), made = size * n;
		fakeMoved(all - made + (c->fused ? size * ((size_t)c->o + (c->alpha2 != 0 ? ny : 0)) : 0), made);
		rc = OK;
	}
	free(x);
	free(f);
	free(y);
	if (!in_ws)
		free(sums);
	return rc;
}
