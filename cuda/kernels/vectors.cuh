/* Grid-stride loops over the elements of a tensor, sixteen bytes at a time. */

/* Runs over the whole vectors of n elements, then over the rest: V is the first
 * element of a vector, E a single element. */
#define FIRST ((i64)blockIdx.x * blockDim.x + threadIdx.x)
#define STEP ((i64)gridDim.x * blockDim.x)
#define VECTORS_OF(size, V, n) ROLLED for (i64 V = FIRST * (size); V + (size) <= (n); V += STEP * (size))
#define REST_OF(size, E, n) ROLLED for (i64 E = (n) / (size) * (size) + FIRST; E < (n); E += STEP)
#define VECTORS(V, n) VECTORS_OF(VEC, V, n)
#define REST(E, n) REST_OF(VEC, E, n)
