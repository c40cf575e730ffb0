/* A training batch from images that lie on the card: crop, flip, color jitter,
 * rotation and normalization in one pass, which is bound by memory. Bytes are
 * gathered, a thread for each output pixel; a warp puts the values of its 32
 * pixels side by side in shared memory, so that it writes whole lines.
 *
 * All arithmetic is that of PIL: integers, and floats and doubles each rounded
 * on its own. Products of doubles that a subtraction follows are exact, so that
 * it does not matter whether the compiler fuses the two. */

#define THREADS 256

enum { FLIP = 1, SYMMETRIC = 2 };                               /* flags */
enum { BRIGHTNESS = 1, CONTRAST = 2, SATURATION = 3, HUE = 4 }; /* in the bytes of order */

/* A row of the op's params. */
typedef struct ALIGNED(16) {
	int y, x;
	u32 flags;
	int padding, x0, ax, bx, y0, ay, by;
	u32 order;
	float brightness, contrast, saturation;
	u32 hue, unused;
} choice;

typedef struct {
	const unsigned char *images;
	const u32 *index;
	const choice *params;
	const float *table;
	u32 *mean; /* luma of each crop, for contrast */
	real *y;
	fastdiv tiles, across; /* tiles of an image, pixels of an output row */
	u32 n;                 /* images there are */
	int h, w, oh, ow;
} augment_args;

typedef struct { int r, g, b; } pixel;

/* The place, on a line of n pixels that goes on by reflection, of pixel i. */
DEVICE int reflected(int i, int n) {
	if ((u32)i < (u32)n) return i;
	i %= 2 * n;
	if (i < 0) i += 2 * n;
	return i < n ? i : 2 * n - 1 - i;
}

DEVICE int reflected_twice(int i, int n, int padding) {
	if ((u32)i < (u32)n) return i;
	return reflected(reflected(i + padding, n + 2 * padding) - padding, n);
}

/* Pixel (y, x) of the mirrored crop. */
DEVICE pixel cropped(const augment_args *a, const unsigned char *image, const choice *c, int y, int x) {
	pixel p = { 0, 0, 0 };
	if (c->flags & FLIP) x = a->ow - 1 - x;
	y += c->y, x += c->x;
	if (c->flags & SYMMETRIC) {
		y = reflected_twice(y, a->h, c->padding);
		x = reflected_twice(x, a->w, c->padding);
	}
	if ((u32)y < (u32)a->h && (u32)x < (u32)a->w) {
		const unsigned char *q = image + ((i64)y * a->w + x) * 3;
		p.r = q[0], p.g = q[1], p.b = q[2];
	}
	return p;
}

DEVICE const unsigned char *image_of(const augment_args *a, u32 b) {
	u32 i = a->index[b];
	return a->images + (i64)(i < a->n ? i : a->n - 1u) * a->h * a->w * 3;
}

#ifdef JITTER

/* a + f·(v-a), cut off and truncated. */
DEVICE int blend(int a, int v, float f) {
	float z = __fadd_rn((float)a, __fmul_rn(f, (float)(v - a)));
	return z <= 0.f ? 0 : z >= 255.f ? 255 : (int)z;
}

DEVICE pixel blend3(int a, pixel p, float f) {
	p.r = blend(a, p.r, f), p.g = blend(a, p.g, f), p.b = blend(a, p.b, f);
	return p;
}

DEVICE int luma(pixel p) { return (19595 * p.r + 38470 * p.g + 7471 * p.b + 0x8000) >> 16; }

/* v·(1-share), rounded. */
DEVICE int less(int v, double share) { return (int)round((double)v * (1.0 - share)); }

/* The hue shifted, in the hexagonal cone of A. R. Smith (1978). */
DEVICE pixel turn_hue(pixel p, u32 shift) {
	int most = max(p.r, max(p.g, p.b)), least = min(p.r, min(p.g, p.b));
	if (most == least) return p;
	float span = (float)(most - least);
	float r = (float)(most - p.r) / span, g = (float)(most - p.g) / span, b = (float)(most - p.b) / span;
	float f = most == p.r ? b - g : most == p.g ? (float)(2.0 + (double)r - (double)b) : (float)(4.0 + (double)g - (double)r);
	double share = (double)f / 6.0 + 1.0;
	u32 h = ((u32)((double)(float)(share - floor(share)) * 255.0) + shift) & 255u;
	int s = (int)((double)(span / (float)most) * 255.0), v = most;
	pixel q = { v, v, v };
	if (s == 0) return q;
	float sixths = (float)((double)h * 6.0 / 255.0);
	int sixth = (int)sixths;
	double rest = (double)(sixths - (float)sixth), fs = (double)(float)((double)s / 255.0);
	int low = less(v, fs), falling = less(v, fs * rest), rising = less(v, fs * (1.0 - rest));
	switch (sixth) {
	case 1: q.r = falling, q.b = low; break;
	case 2: q.r = low, q.b = rising; break;
	case 3: q.r = low, q.g = falling; break;
	case 4: q.r = rising, q.g = low; break;
	case 5: q.g = low, q.b = falling; break;
	default: q.g = rising, q.b = low; /* 0, and 6, the whole circle */
	}
	return q;
}

/* The adjustments of c in their order; those before contrast if mean is negative. */
DEVICE pixel adjusted(pixel p, const choice *c, int mean) {
	for (u32 order = c->order; order; order >>= 8) {
		switch (order & 255u) {
		case BRIGHTNESS: p = blend3(0, p, c->brightness); break;
		case CONTRAST:
			if (mean < 0) return p;
			p = blend3(mean, p, c->contrast);
			break;
		case SATURATION: p = blend3(luma(p), p, c->saturation); break;
		case HUE: p = turn_hue(p, c->hue);
		}
	}
	return p;
}

DEVICE int has_contrast(u32 order) {
	for (; order; order >>= 8)
		if ((order & 255u) == CONTRAST) return 1;
	return 0;
}

#define MEAN_THREADS 512
#undef KERNEL_BOUNDS
#define KERNEL_BOUNDS __launch_bounds__(MEAN_THREADS)

/* The mean luma of each crop as it comes to the contrast: a block an image. */
KERNEL(augment_mean)(augment_args a) {
	WAIT_FOR_EARLIER();
	__shared__ u64 sums[32];
	const choice c = a.params[blockIdx.x];
	if (!has_contrast(c.order)) return;
	const unsigned char *image = image_of(&a, blockIdx.x);
	u32 pixels = (u32)a.oh * a.ow;
	int t = thread_index(), warps = thread_count() / 32;
	u64 sum = 0;
	for (u32 i = t; i < pixels; i += thread_count()) {
		u32 y = div_by(i, a.across), x = mod_by(i, y, a.across);
		sum += (u64)luma(adjusted(cropped(&a, image, &c, (int)y, (int)x), &c, -1));
	}
	for (int i = 16; i > 0; i >>= 1) sum += __shfl_xor_sync(FULL_WARP, sum, i);
	if (t % 32 == 0) sums[t / 32] = sum;
	__syncthreads();
	if (t != 0) return;
	for (int i = 1; i < warps; i++) sum += sums[i];
	a.mean[blockIdx.x] = (u32)((2 * sum + pixels) / (2 * (u64)pixels));
}

#endif

#undef KERNEL_BOUNDS
#define KERNEL_BOUNDS __launch_bounds__(THREADS)

/* A block is THREADS pixels of one image: a tile. */
KERNEL(augment)(augment_args a) {
	WAIT_FOR_EARLIER();
	__shared__ float values[THREADS * 3];
	u32 b = div_by(blockIdx.x, a.tiles), tile = mod_by(blockIdx.x, b, a.tiles);
	const choice c = a.params[b];
	u32 pixels = (u32)a.oh * a.ow, first = tile * THREADS + threadIdx.x / 32 * 32, lane = threadIdx.x % 32;
	u32 i = first + lane;
	float *mine = values + threadIdx.x / 32 * 96;
	if (i < pixels) {
		u32 y = div_by(i, a.across), x = mod_by(i, y, a.across);
		int X = (int)((u32)c.x0 + (u32)c.ax * x + (u32)c.bx * y) >> 16;
		int Y = (int)((u32)c.y0 + (u32)c.ay * x + (u32)c.by * y) >> 16;
		pixel p = { 0, 0, 0 };
		if ((u32)X < (u32)a.ow && (u32)Y < (u32)a.oh) {
			p = cropped(&a, image_of(&a, b), &c, Y, X);
#ifdef JITTER
			p = adjusted(p, &c, has_contrast(c.order) ? (int)a.mean[b] : 0);
#endif
		}
		mine[3 * lane] = a.table[p.r];
		mine[3 * lane + 1] = a.table[256 + p.g];
		mine[3 * lane + 2] = a.table[512 + p.b];
	}
	__syncwarp();
	real *y = a.y + ((i64)b * pixels + first) * 3;
	u32 left = first < pixels ? min(pixels - first, 32u) * 3u : 0u;
	UNROLL
	for (u32 k = 0; k < 3; k++) {
		u32 v = 32 * k + lane;
		if (v < left) st(y + v, mine[v]);
	}
}
