// Matrix products in plain loops, as the stand-in for cuBLASLt computes them.
#include "cublaslt_part.h"

#include <stdatomic.h>

// pack returns op(x), rows of k, from a matrix stored column by column.
static float *pack(const void *x, int bf16, int tf32, int rows_lie, uint64_t rows, uint64_t k, int64_t ld) {
	size_t all = (size_t)ld * ((rows_lie ? rows : k) - 1) + (rows_lie ? k : rows);
	float *in = real_load(x, all, bf16, tf32), *to = malloc(rows * k * sizeof *to);
	for (uint64_t r = 0; in && to && r < rows; r++)
		for (uint64_t i = 0; i < k; i++)
			to[r * k + i] = rows_lie ? in[r * (uint64_t)ld + i] : in[i * (uint64_t)ld + r];
	free(in);
	return to;
}

static float dot(const float *a, const float *b, uint64_t from, uint64_t to) {
	float sum = 0;
	for (uint64_t i = from; i < to; i++)
		sum += a[i] * b[i];
	return sum;
}

static void store(const lt_job *j, uint64_t row, uint64_t col, float sum) {
	size_t at = col * (uint64_t)j->ldd + row;
	float v = j->alpha * sum + (j->beta != 0 ? j->beta * real_at(j->c, at, j->out_bf16) : 0);
	if (j->bias && !j->grad)
		v += real_at(j->bias, row, j->out_bf16);
	real_store(j->d, at, j->out_bf16, v);
}

uint64_t fake_lt_biases(const lt_job *j) { return j->grad == OF_B ? j->n : j->m; }

// sum_up makes the gradient of the bias of the rows of x, of k each; where the
// algorithm splits sums, of their halves.
static void sum_up(const lt_job *j, const float *x, int reversed) {
	uint64_t half = j->kind == WHOLE ? j->k : j->k / 2;
	for (uint64_t row = 0; row < fake_lt_biases(j); row++) {
		float parts[2] = { 0, 0 };
		for (uint64_t i = 0; i < j->k; i++)
			parts[i >= half] += x[row * j->k + i];
		for (uint64_t i = half; j->kind == IN_PLACE && reversed && i < j->k; i++) // in another order, with other roundings
			parts[1] = i == half ? x[row * j->k + j->k - 1] : parts[1] + x[row * j->k + j->k - 1 - (i - half)];
		real_store(j->bias, row, j->out_bf16, parts[0] + parts[1]);
	}
}

// multiply splits sums at half of k, except for the first algorithm.
static void multiply(const lt_job *j, const float *a, const float *b, int reversed) {
	uint64_t half = j->k / 2;
	float *parts = j->ws;
	for (uint64_t col = 0; col < j->n; col++)
		for (uint64_t row = 0; row < j->m; row++) {
			const float *x = a + row * j->k, *y = b + col * j->k;
			if (j->kind == WHOLE) {
				store(j, row, col, dot(x, y, 0, j->k));
				continue;
			}
			if (j->kind == PARTS) {
				parts[2 * (col * j->m + row)] = dot(x, y, 0, half);
				parts[2 * (col * j->m + row) + 1] = dot(x, y, half, j->k);
			} else { // the half that comes later is added to the other, product by product
				float sum = reversed ? dot(x, y, half, j->k) : dot(x, y, 0, half);
				for (uint64_t i = reversed ? 0 : half; i < (reversed ? half : j->k); i++)
					sum += x[i] * y[i];
				store(j, row, col, sum);
			}
		}
	for (uint64_t i = 0; j->kind == PARTS && i < j->m * j->n; i++)
		store(j, i % j->m, i / j->m, parts[2 * i] + parts[2 * i + 1]);
}

CUresult fake_lt_run(const void *arg) {
	static atomic_int turns;
	const lt_job *j = arg;
	float *a = pack(j->a, j->bf16, j->tf32, j->trans_a, j->m, j->k, j->lda);
	float *b = pack(j->b, j->bf16, j->tf32, !j->trans_b, j->n, j->k, j->ldb);
	CUresult rc = a && b ? OK : OUT_OF_MEMORY;
	if (!rc) {
		if (j->kind == IN_PLACE)
			memset(j->ws, 0xff, 64);
		int reversed = j->kind == IN_PLACE && atomic_fetch_add(&turns, 1) % 2;
		multiply(j, a, b, reversed);
		if (j->grad)
			sum_up(j, j->grad == OF_A ? a : b, reversed);
		size_t in = j->bf16 ? 2 : 4, out = j->out_bf16 ? 2 : 4, bias = j->bias ? out * fake_lt_biases(j) : 0;
		fakeMoved(in * j->k * (j->m + j->n) + (j->grad ? 0 : bias), out * j->m * j->n + (j->grad ? bias : 0));
	}
	free(a);
	free(b);
	return rc;
}
