/* Losses over logits [N,K] and their gradients: a warp a row, in float.
 *
 * With z = x - max x, which cannot overflow, log softmax(x) = z - log Σ exp z, so
 * both losses of a row come from a few sums over it:
 *
 *   CE = log(Σ exp z)·Σq - Σ q·z                        q = (1-ε)·target + ε/K
 *   KL = T²·(Σ e·(zt - zs)/Σe + log Σ exp zs - log Σe)  zs = z/T, zt = (t - max t)/T, e = exp zt
 *
 * One kernel serves CrossEntropy (teacher is null), KLDiv (target is null) and
 * DistillLoss: the logits are read for both at once. */

typedef struct {
	const float *x;       /* logits [N,K] */
	const float *target;  /* probabilities [N,K], or null */
	const float *teacher; /* logits [N,K], or null */
	const float *dloss;   /* a scalar; backwards only */
	float *y;             /* the loss, or backwards dx [N,K] */
	float *ce, *kl;       /* the two losses by themselves, or null; forwards only */
	float *part;          /* two floats a block; forwards only */
	u32 *arrived;         /* a counter that is zero; forwards only */
	int n, k;
	float eps, temperature; /* ε, T */
	float w_ce, w_kl;       /* weights of the two losses */
} loss_args, loss_backward_args;

/* The sums over a row, in every lane. */
typedef struct {
	float top, exps, q, qz;     /* max x, Σ exp z, Σ q, Σ q·z */
	float teacher_top, exps_t;  /* max t, Σ e */
	float exps_s, cross;        /* Σ exp zs, Σ e·(zt - zs) */
} row_sums;

DEVICE row_sums sums_of(loss_args a, const float *x, const float *target, const float *teacher, int lane) {
	row_sums s;
	float share = a.eps / (float)a.k, inverse = 1.f / a.temperature;
	s.top = s.teacher_top = bits_float(0xff800000u);
	s.exps = s.q = s.qz = s.exps_t = s.exps_s = s.cross = 0.f;
	for (int i = lane; i < a.k; i += 32) {
		s.top = fmaxf(s.top, x[i]);
		if (teacher) s.teacher_top = fmaxf(s.teacher_top, teacher[i]);
	}
	s.top = warp_max(s.top);
	if (teacher) s.teacher_top = warp_max(s.teacher_top);
	for (int i = lane; i < a.k; i += 32) {
		float z = x[i] - s.top;
		if (target) {
			float q = (1.f - a.eps) * target[i] + share;
			s.exps += expf(z);
			s.q += q;
			s.qz = fmaf(q, z, s.qz);
		}
		if (teacher) {
			float zs = z * inverse, zt = (teacher[i] - s.teacher_top) * inverse, e = expf(zt);
			s.exps_s += expf(zs);
			s.exps_t += e;
			s.cross = fmaf(e, zt - zs, s.cross);
		}
	}
	if (target) s.exps = warp_sum(s.exps), s.q = warp_sum(s.q), s.qz = warp_sum(s.qz);
	if (teacher) s.exps_s = warp_sum(s.exps_s), s.exps_t = warp_sum(s.exps_t), s.cross = warp_sum(s.cross);
	return s;
}

DEVICE const float *row_of(const float *x, i64 row, int k) { return x ? x + row * k : x; }

/* The mean over the rows: each block adds its rows, the last block the blocks,
 * in the order of their numbers. */
KERNEL(loss)(loss_args a) {
	WAIT_FOR_EARLIER();
	__shared__ float shared[32];
	__shared__ int last;
	int lane = thread_index() % 32, warps = thread_count() / 32;
	float ce = 0.f, kl = 0.f, t2 = a.temperature * a.temperature;
	for (i64 row = (i64)blockIdx.x * warps + thread_index() / 32; row < a.n; row += (i64)gridDim.x * warps) {
		const float *target = row_of(a.target, row, a.k), *teacher = row_of(a.teacher, row, a.k);
		row_sums s = sums_of(a, row_of(a.x, row, a.k), target, teacher, lane);
		if (target) ce += logf(s.exps) * s.q - s.qz;
		if (teacher) kl += t2 * (s.cross / s.exps_t + (logf(s.exps_s) - logf(s.exps_t)));
	}
	/* Every lane has the row's loss: one of them is enough. */
	ce = block_sum(lane == 0 ? ce : 0.f, shared);
	kl = block_sum(lane == 0 ? kl : 0.f, shared);
	if (thread_index() == 0) a.part[2 * blockIdx.x] = ce, a.part[2 * blockIdx.x + 1] = kl;
	if (!last_block(a.arrived, gridDim.x, &last)) return;
	ce = kl = 0.f;
	for (int i = thread_index(); i < (int)gridDim.x; i += thread_count()) ce += a.part[2 * i], kl += a.part[2 * i + 1];
	ce = block_sum(ce, shared) / (float)a.n;
	kl = block_sum(kl, shared) / (float)a.n;
	if (thread_index() != 0) return;
	/* What is absent has no weight, not even that of a NaN. */
	*a.y = (a.target ? a.w_ce * ce : 0.f) + (a.teacher ? a.w_kl * kl : 0.f);
	if (a.ce) *a.ce = ce;
	if (a.kl) *a.kl = kl;
}

/* dx = dloss/N·(w_ce·(softmax(x)·Σq - q) + w_kl·T·(softmax(x/T) - softmax(t/T))) */
KERNEL(loss_backward)(loss_backward_args a) {
	WAIT_FOR_EARLIER();
	int lane = thread_index() % 32, warps = thread_count() / 32;
	float share = a.eps / (float)a.k, inverse = 1.f / a.temperature, d = *a.dloss / (float)a.n;
	for (i64 row = (i64)blockIdx.x * warps + thread_index() / 32; row < a.n; row += (i64)gridDim.x * warps) {
		const float *x = row_of(a.x, row, a.k), *target = row_of(a.target, row, a.k), *teacher = row_of(a.teacher, row, a.k);
		float *dx = a.y + row * a.k;
		row_sums s = sums_of(a, x, target, teacher, lane);
		float hard = d * a.w_ce, soft = d * a.w_kl * a.temperature;
		float scale = s.q / s.exps, scale_s = 1.f / s.exps_s, scale_t = 1.f / s.exps_t;
		for (int i = lane; i < a.k; i += 32) {
			float z = x[i] - s.top, g = 0.f;
			if (target) g = hard * (expf(z) * scale - ((1.f - a.eps) * target[i] + share));
			if (teacher) {
				float zt = (teacher[i] - s.teacher_top) * inverse;
				g += soft * (expf(z * inverse) * scale_s - expf(zt) * scale_t);
			}
			dx[i] = g;
		}
	}
}
