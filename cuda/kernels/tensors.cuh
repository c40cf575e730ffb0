/* One launch over many tensors: a block takes one stretch of one of them, which it
 * finds by bisection in the table of the tensors' first blocks. Tensors start at
 * multiples of sixteen bytes; only the last few elements are taken one by one. */

#define THREADS 256
#define TENSORS 100 /* as many as fit into the 4096 bytes of a launch's arguments */

/* t becomes the tensor that this block works on. The table stays in the
 * arguments: a pointer to it would make a copy of them. */
#define FIND_TENSOR(t, a)                                \
	int t = 0;                                             \
	for (int hi_ = (a).count - 1; t < hi_;) {              \
		int mid_ = (t + hi_ + 1) / 2;                        \
		if ((a).first[mid_] <= (int)blockIdx.x) t = mid_;    \
		else hi_ = mid_ - 1;                                 \
	}

/* Vectors of four floats that a thread takes, and the elements of a block. */
#define DEPTH 2
#define STRETCH (THREADS * 4 * DEPTH)

/* Four floats at i of n; beyond n zeros, which are not stored. */
DEVICE float4 load_up_to(const float *x, int i, int n) {
	if (i + 4 <= n) return ldf4(x + i);
	float4 v = zero4();
	if (i < n) v.x = x[i];
	if (i + 1 < n) v.y = x[i + 1];
	if (i + 2 < n) v.z = x[i + 2];
	return v;
}

DEVICE void store_up_to(float *x, int i, int n, float4 v) {
	if (i + 4 <= n) {
		stf4(x + i, v);
		return;
	}
	if (i < n) x[i] = v.x;
	if (i + 1 < n) x[i + 1] = v.y;
	if (i + 2 < n) x[i + 2] = v.z;
}

/* The first element of a thread's vector u. No tensor is so long that this overflows. */
#define ELEMENT(a, t, u) ((((int)blockIdx.x - (a).first[t]) * DEPTH + (u)) * (THREADS * 4) + (int)threadIdx.x * 4)
