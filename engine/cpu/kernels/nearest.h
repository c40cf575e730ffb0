// The integer nearest to each element, halves to the even one, for |v| ≤ 2²².
INLINE vf nearest(vf v) {
  const vf big = v + splat(12582912.f); // 1.5·2²³: floats from 2²³ to 2²⁴ are integers
  return big - splat(12582912.f);
}
