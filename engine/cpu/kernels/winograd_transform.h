// Winograd's minimal filtering in one dimension (Lavin and Gray, arXiv:1509.09308):
// m results of a kernel of three taps from t = m+2 inputs by t multiplications,
//
//   y = Aᵀ·[(G·w) ⊙ (Bᵀ·x)]
//
// with the points 0, ±1 and ∞ for m = 2, and 0, ±√½, ±√2 and ∞ for m = 4, whose
// rounding errors are a quarter of those of the usual 0, ±1, ±2 (Barabasz and
// others, arXiv:1803.10986, on choosing points). A transform in two dimensions is one
// of the columns and one of the rows. t is a constant where these are inlined.

enum { WINO_MAX = 6 }; // the largest t
#define WINO_ROOT 1.41421356237309504880f // √2

// d ← Bᵀ·d, of t numbers.
INLINE void wino_bt(const int t, vf *d) {
  if (t == 4) {
    const vf a = d[0] - d[2], b = d[1] + d[2], c = d[2] - d[1], e = d[1] - d[3];
    d[0] = a, d[1] = b, d[2] = c, d[3] = e;
    return;
  }
  const vf root = splat(WINO_ROOT), half = splat(WINO_ROOT / 2), point = splat(2.5f);
  const vf first = d[0] - point * d[2] + d[4], last = d[1] - point * d[3] + d[5];
  const vf a = d[4] - splat(2) * d[2], b = half * d[3] - root * d[1];
  const vf c = d[4] - splat(0.5f) * d[2], e = root * d[3] - half * d[1];
  d[0] = first, d[1] = a + b, d[2] = a - b, d[3] = c + e, d[4] = c - e, d[5] = last;
}

// u = G·w, of three numbers t.
INLINE void wino_g(const int t, const vf w[3], vf *u) {
  if (t == 4) {
    const vf s = splat(0.5f) * (w[0] + w[2]), d = splat(0.5f) * w[1];
    u[0] = w[0], u[1] = s + d, u[2] = s - d, u[3] = w[2];
    return;
  }
  const vf third = splat(1.0f / 3);
  const vf s = splat(-2.0f / 3) * w[0] - third * w[2], d = splat(-WINO_ROOT / 3) * w[1];
  const vf q = splat(1.0f / 6) * w[0] + third * w[2], e = splat(WINO_ROOT / 6) * w[1];
  u[0] = w[0], u[1] = s + d, u[2] = s - d, u[3] = q + e, u[4] = q - e, u[5] = w[2];
}

// y = Aᵀ·q, of t numbers t-2.
INLINE void wino_at(const int t, const vf *q, vf *y) {
  const vf s = q[1] + q[2], d = q[1] - q[2];
  if (t == 4) {
    y[0] = q[0] + s, y[1] = d - q[3];
    return;
  }
  const vf s2 = q[3] + q[4], d2 = q[3] - q[4];
  y[0] = q[0] + s + s2;
  y[1] = splat(WINO_ROOT / 2) * d + splat(WINO_ROOT) * d2;
  y[2] = splat(0.5f) * s + splat(2) * s2;
  y[3] = splat(WINO_ROOT / 4) * d + splat(2 * WINO_ROOT) * d2 + q[5];
}

// q = A·y, of t-2 numbers t: what the gradient of y becomes.
INLINE void wino_a(const int t, const vf *y, vf *q) {
  if (t == 4) {
    q[0] = y[0], q[1] = y[0] + y[1], q[2] = y[0] - y[1], q[3] = -y[1];
    return;
  }
  const vf even = y[0] + splat(0.5f) * y[2], odd = splat(WINO_ROOT / 2) * y[1] + splat(WINO_ROOT / 4) * y[3];
  const vf even2 = y[0] + splat(2) * y[2], odd2 = splat(WINO_ROOT) * y[1] + splat(2 * WINO_ROOT) * y[3];
  q[0] = y[0], q[1] = even + odd, q[2] = even - odd, q[3] = even2 + odd2, q[4] = even2 - odd2, q[5] = y[3];
}

// w = Gᵀ·u, of t numbers three: what the gradient of u becomes.
INLINE void wino_gt(const int t, const vf *u, vf w[3]) {
  const vf s = u[1] + u[2], d = u[1] - u[2];
  if (t == 4) {
    w[0] = u[0] + splat(0.5f) * s, w[1] = splat(0.5f) * d, w[2] = u[3] + splat(0.5f) * s;
    return;
  }
  const vf s2 = u[3] + u[4], d2 = u[3] - u[4], third = splat(1.0f / 3);
  w[0] = u[0] - splat(2.0f / 3) * s + splat(1.0f / 6) * s2;
  w[1] = splat(WINO_ROOT / 6) * d2 - splat(WINO_ROOT / 3) * d;
  w[2] = u[5] + third * (s2 - s);
}
