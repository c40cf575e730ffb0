package kernels_test

import (
	"math"
	"math/big"
	"math/rand/v2"
	"os"
	"regexp"
	"slices"
	"strings"
	"testing"
	"unsafe"

	"github.com/potstill/potstill/cuda"
	"github.com/potstill/potstill/cuda/fake"
	"github.com/potstill/potstill/cuda/kernels"
)

// probe are kernels that call what common.cuh defines and nothing else.
const probe = `
typedef struct { const float *x; void *y; int n; } bfloat_args;
/* y[i] = bf16(x[i]), then the same two at a time, then bf16(x[i]) as float */
KERNEL(bfloat)(bfloat_args a) {
	int i = 2 * (int)(blockIdx.x * blockDim.x + threadIdx.x);
	if (i + 1 >= a.n) return;
	bf16 *y = (bf16 *)a.y;
	y[i] = to_bf16(a.x[i]);
	y[i + 1] = to_bf16(a.x[i + 1]);
	u32 two = to_bf16x2(a.x[i], a.x[i + 1]);
	((u32 *)(y + a.n))[i / 2] = two;
	float *z = (float *)(y + 2 * a.n);
	z[i] = low_bf16(two);
	z[i + 1] = from_bf16(y[i + 1]);
}

typedef struct { const float *x; real *y; int n; } move_args;
/* y = x one, four and VEC reals at a time, then four and one through y */
KERNEL(move)(move_args a) {
	int i = 8 * (int)threadIdx.x;
	if (i >= a.n) return;
	for (int k = 0; k < 8; k++) st(a.y + i + k, a.x[i + k]);
	for (int k = 0; k < 8; k += 4) st4(a.y + a.n + i + k, ldf4(a.x + i + k));
	for (int k = 0; k < 8; k += VEC) stv(a.y + 2 * a.n + i + k, a.x + i + k);
	for (int k = 0; k < 8; k += 4) st4(a.y + 3 * a.n + i + k, ld4(a.y + i + k));
	for (int k = 0; k < 8; k += VEC) {
		float v[VEC];
		ldv(a.y + i + k, v);
		for (int l = 0; l < VEC; l++) st(a.y + 4 * a.n + i + k + l, v[l]);
	}
	for (int k = 0; k < 8; k++) st(a.y + 5 * a.n + i + k, ld(a.y + i + k));
}

typedef struct { const u32 *x; u32 *y; int n; fastdiv by; } divide_args;
KERNEL(divide)(divide_args a) {
	int i = (int)(blockIdx.x * blockDim.x + threadIdx.x);
	if (i >= a.n) return;
	a.y[i] = div_by(a.x[i], a.by);
	a.y[a.n + i] = mod_by(a.x[i], a.y[i], a.by);
}

typedef struct { const float *x; float *y; int n; } act_probe_args;
/* y[f] = act(f, x), y[3+f] = act4, y[6+f] = slope */
KERNEL(act_probe)(act_probe_args a) {
	int i = (int)threadIdx.x;
	if (i >= a.n) return;
	for (int f = 0; f < 3; f++) {
		a.y[f * a.n + i] = act(f, a.x[i]);
		a.y[(3 + f) * a.n + i] = act4(f, splat4(a.x[i])).z;
		a.y[(6 + f) * a.n + i] = (float)act_slope(f, a.x[i]);
	}
}

typedef struct { const float *x; float *y; } reduce_args;
/* y = the block's sum, largest, sum again, and the warp's sum and largest */
KERNEL(reduce)(reduce_args a) {
	__shared__ float shared[32];
	int t = thread_index(), n = thread_count();
	float v = a.x[t], sum = block_sum(v, shared), most = block_max(v, shared);
	a.y[t] = sum;
	a.y[n + t] = most;
	a.y[2 * n + t] = block_sum(v, shared);
	a.y[3 * n + t] = warp_sum(v);
	a.y[4 * n + t] = warp_max(v);
}

typedef struct { u32 *values, *out, *arrived; } last_args;
/* the last block sums what all blocks wrote */
KERNEL(last)(last_args a) {
	__shared__ int flag;
	if (thread_index() == 0) a.values[blockIdx.x] = blockIdx.x + 1;
	if (!last_block(a.arrived + 1, gridDim.x, &flag)) return;
	if (thread_index() > 0) return;
	for (u32 b = 0; b < gridDim.x; b++) a.out[0] += a.values[b];
	a.out[1] += a.arrived[0] + a.arrived[1] + 1;
}
`

// A device is the stand-in with the probe compiled for it.
type device struct {
	t      *testing.T
	ctx    *cuda.Context
	stream *cuda.Stream
	module *cuda.Module
}

func open(t *testing.T, options ...string) *device {
	t.Helper()
	d := &device{t: t}
	driver, err := cuda.Load(cuda.Options{Search: []string{fake.Dir(t)}, CacheDir: t.TempDir()})
	d.must(err)
	d.ctx, err = driver.Open(0)
	d.must(err)
	t.Cleanup(func() { d.must(d.ctx.Close()) })
	d.stream, err = d.ctx.NewStream()
	d.must(err)
	common, err := os.ReadFile("common.cuh")
	d.must(err)
	d.module, err = d.ctx.Compile("probe", string(common)+probe, options...)
	d.must(err)
	return d
}

func (d *device) must(err error) {
	d.t.Helper()
	if err != nil {
		d.t.Fatal(err)
	}
}

// upload returns a copy of x in device memory, download the first n elements there.
func upload[T any](d *device, x []T) cuda.Ptr {
	d.t.Helper()
	p, err := d.ctx.Alloc(len(x) * int(unsafe.Sizeof(x[0])))
	d.must(err)
	d.must(d.stream.Write(p, unsafe.Slice((*byte)(unsafe.Pointer(&x[0])), len(x)*int(unsafe.Sizeof(x[0])))))
	return p
}

func download[T any](d *device, p cuda.Ptr, n int) []T {
	d.t.Helper()
	x := make([]T, n)
	d.must(d.stream.Read(unsafe.Slice((*byte)(unsafe.Pointer(&x[0])), n*int(unsafe.Sizeof(x[0]))), p))
	return x
}

func run[A any](d *device, kernel string, grid, block [3]int, args A) {
	d.t.Helper()
	f, err := d.module.Function(kernel)
	d.must(err)
	d.must(d.stream.Launch(f, grid, block, 0, unsafe.Pointer(&args), int(unsafe.Sizeof(args))))
}

type (
	moveArgs struct {
		x, y cuda.Ptr
		n    int32
		_    uint32
	}
	divideArgs struct {
		x, y cuda.Ptr
		n    int32
		by   kernels.FastDiv
	}
	pairArgs   struct{ x, y cuda.Ptr }
	tripleArgs struct{ x, y, z cuda.Ptr }
)

func one(n int) [3]int { return [3]int{n, 1, 1} }

// nearestBF16 rounds by exact arithmetic: the candidates are the float cut off
// and its neighbor away from zero.
func nearestBF16(v float32) uint16 {
	u := math.Float32bits(v)
	lo, hi := uint16(u>>16), uint16(u>>16)+1
	if u&0x7f800000 == 0x7f800000 {
		return lo // an infinity
	}
	value := func(h uint16) *big.Float {
		if h&0x7fff == 0x7f80 { // what would come after the largest number
			f := big.NewFloat(math.Ldexp(1, 128))
			if h&0x8000 != 0 {
				f.Neg(f)
			}
			return f
		}
		return big.NewFloat(float64(math.Float32frombits(uint32(h) << 16)))
	}
	x := big.NewFloat(float64(v))
	below := new(big.Float).Sub(x, value(lo))
	above := new(big.Float).Sub(value(hi), x)
	switch c := below.Abs(below).Cmp(above.Abs(above)); {
	case c < 0, c == 0 && lo%2 == 0:
		return lo
	}
	return hi
}

func TestBFloat16(t *testing.T) {
	d := open(t)
	var x []float32
	for h := range 1 << 16 {
		for _, low := range []uint32{0, 1, 0x7fff, 0x8000, 0x8001, 0xffff} {
			x = append(x, math.Float32frombits(uint32(h)<<16|low))
		}
	}
	n := len(x)
	y, err := d.ctx.Alloc(8 * n)
	d.must(err)
	run(d, "bfloat", one((n/2+255)/256), one(256), moveArgs{x: upload(d, x), y: y, n: int32(n)})
	got := download[uint16](d, y, 2*n)
	back := download[float32](d, y+cuda.Ptr(4*n), n)
	for i, v := range x {
		one, two, z := got[i], got[n+i], back[i]
		if math.IsNaN(float64(v)) {
			for _, h := range []uint16{one, two} {
				if f := math.Float32frombits(uint32(h) << 16); !math.IsNaN(float64(f)) {
					t.Fatalf("NaN %#08x becomes %#04x", math.Float32bits(v), h)
				}
			}
			continue
		}
		want := nearestBF16(v)
		if one != want || two != want || math.Float32bits(z) != uint32(want)<<16 {
			t.Fatalf("%g (%#08x) becomes %#04x, two at a time %#04x, and back %#08x; want %#04x", v, math.Float32bits(v), one, two, math.Float32bits(z), want)
		}
	}
}

func TestMoves(t *testing.T) {
	const n, ways = 64, 6
	r := rand.New(rand.NewPCG(1, 2))
	x := make([]float32, n)
	for i := range x {
		x[i] = float32(r.NormFloat64())
	}
	t.Run("float32", func(t *testing.T) {
		d := open(t)
		y := upload(d, make([]float32, ways*n))
		run(d, "move", one(1), one(n/8), moveArgs{x: upload(d, x), y: y, n: n})
		for i, v := range download[float32](d, y, ways*n) {
			if v != x[i%n] {
				t.Fatalf("way %d: element %d is %g, want %g", i/n, i%n, v, x[i%n])
			}
		}
	})
	t.Run("bfloat16", func(t *testing.T) {
		d := open(t, "-DBF16")
		y := upload(d, make([]uint16, ways*n))
		run(d, "move", one(1), one(n/8), moveArgs{x: upload(d, x), y: y, n: n})
		for i, v := range download[uint16](d, y, ways*n) {
			if want := nearestBF16(x[i%n]); v != want {
				t.Fatalf("way %d: element %d is %#04x, want %#04x", i/n, i%n, v, want)
			}
		}
	})
}

func TestDivisor(t *testing.T) {
	d := open(t)
	r := rand.New(rand.NewPCG(3, 4))
	const most = 1<<31 - 1
	divisors := []int{1, 2, 3, 5, 6, 7, 10, 31, 32, 33, 89, 121, 641, 65535, 65536, 65537, 1<<30 - 1, 1 << 30, 1<<30 + 1, most - 1, most, most + 1}
	for range 40 {
		divisors = append(divisors, 1+r.IntN(1<<r.IntN(32)))
	}
	const n = 1024
	y := upload(d, make([]uint32, 2*n))
	for _, by := range divisors {
		x := []uint32{0, 1, 2, most, most - 1}
		for _, near := range []int{by, most / by * by, 2 * by} {
			for _, v := range []int{near - 1, near, near + 1} {
				x = append(x, uint32(min(max(v, 0), most)))
			}
		}
		for len(x) < n {
			v := r.IntN(most/by+1)*by - r.IntN(2) // next to a multiple
			x = append(x, uint32(min(max(v, 0), most)))
		}
		p := upload(d, x)
		run(d, "divide", one(n/256), one(256), divideArgs{x: p, y: y, n: n, by: kernels.Divisor(by)})
		got := download[uint32](d, y, 2*n)
		d.must(d.ctx.Free(p))
		for i, v := range x {
			if got[i] != v/uint32(by) || got[n+i] != v%uint32(by) {
				t.Fatalf("%d by %d gives %d, rest %d", v, by, got[i], got[n+i])
			}
		}
	}
	if kernels.Divisor(0) != kernels.Divisor(1) || kernels.Divisor(-5) != kernels.Divisor(1) || kernels.Divisor(1<<40) != kernels.Divisor(1<<31) {
		t.Error("a divisor outside the range is not taken to its nearer end")
	}
}

func TestActivations(t *testing.T) {
	d := open(t)
	inf, nan := float32(math.Inf(1)), float32(math.NaN())
	x := []float32{-inf, -7, -1, -1e-45, 0, 1e-45, 1, 5.9999995, 6, 6.0000005, 7, inf, nan}
	want := [][]float32{
		x,
		{0, 0, 0, 0, 0, 1e-45, 1, 5.9999995, 6, 6.0000005, 7, inf, nan},
		{0, 0, 0, 0, 0, 1e-45, 1, 5.9999995, 6, 6, 6, 6, nan},
		{1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1},
		{0, 0, 0, 0, 0, 1, 1, 1, 1, 1, 1, 1, 0},
		{0, 0, 0, 0, 0, 1, 1, 1, 0, 0, 0, 0, 0},
	}
	want = slices.Concat(want[:3], want[:3], want[3:]) // act, act4, slope
	n := len(x)
	y := upload(d, make([]float32, 9*n))
	run(d, "act_probe", one(1), one(32), moveArgs{x: upload(d, x), y: y, n: int32(n)})
	got := download[float32](d, y, 9*n)
	for i, v := range got {
		w := want[i/n][i%n]
		if v != w && !(math.IsNaN(float64(v)) && math.IsNaN(float64(w))) {
			t.Errorf("result %d of %g is %g, want %g", i/n, x[i%n], v, w)
		}
	}
}

func TestReductions(t *testing.T) {
	r := rand.New(rand.NewPCG(5, 6))
	for _, order := range []string{"", "reverse"} {
		t.Setenv("FAKE_ORDER", order)
		d := open(t)
		for _, block := range [][3]int{one(32), one(96), one(256), one(1024), {8, 4, 3}} {
			n := block[0] * block[1] * block[2]
			x := make([]float32, n)
			for i := range x {
				x[i] = float32(r.NormFloat64()) - 10
			}
			if n > 32 {
				x[40] = float32(math.NaN())
			}
			checkReduction(t, d, block, x, false)
			for i := range x {
				x[i] = float32(r.NormFloat64()) - 10
			}
			checkReduction(t, d, block, x, true)
		}
	}
}

// checkReduction runs the kernel over x twice and checks what every thread got;
// the sums only if no NaN is among x.
func checkReduction(t *testing.T, d *device, block [3]int, x []float32, sums bool) {
	t.Helper()
	n := len(x)
	p, y := upload(d, x), upload(d, make([]float32, 5*n))
	run(d, "reduce", one(1), block, pairArgs{p, y})
	got := download[float32](d, y, 5*n)
	run(d, "reduce", one(1), block, pairArgs{p, y})
	again := download[float32](d, y, 5*n)
	d.must(d.ctx.Free(p))
	d.must(d.ctx.Free(y))
	of := func(x []float32) (sum, most float64) {
		most = math.Inf(-1)
		for _, v := range x {
			sum += float64(v)
			if float64(v) > most {
				most = float64(v)
			}
		}
		return sum, most
	}
	sum, most := of(x)
	for i := range n {
		warpSum, warpMost := of(x[i/32*32 : i/32*32+32])
		for k, want := range []float64{sum, most, sum, warpSum, warpMost} {
			v := got[k*n+i]
			isSum := k != 1 && k != 4
			if isSum && !sums {
				continue
			}
			if math.Float32bits(v) != math.Float32bits(again[k*n+i]) || isSum && v != got[k*n+i/32*32] {
				t.Fatalf("block %v, result %d: thread %d has %g, at a second run %g, the warp's first thread %g", block, k, i, v, again[k*n+i], got[k*n+i/32*32])
			}
			if tolerance := 1e-6 * math.Abs(want); math.Abs(float64(v)-want) > tolerance || !isSum && float64(v) != want {
				t.Fatalf("block %v, result %d: thread %d has %g, want %g", block, k, i, v, want)
			}
		}
	}
}

func TestLastBlock(t *testing.T) {
	d := open(t)
	const blocks, runs = 37, 3
	values, out, counters := upload(d, make([]uint32, blocks)), upload(d, make([]uint32, 2)), upload(d, make([]uint32, 2))
	for range runs {
		run(d, "last", one(blocks), one(64), tripleArgs{values, out, counters})
	}
	got := download[uint32](d, out, 2)
	if got[0] != runs*blocks*(blocks+1)/2 || got[1] != runs {
		t.Errorf("%d runs of %d blocks sum %d with %d last blocks", runs, blocks, got[0], got[1])
	}
}

// variable finds a variable in device memory.
var variable = regexp.MustCompile(`(?m)^(?:static )?(?:__device__|__managed__) +\w[^(\n]*;`)

// kernel finds a kernel, and waiting one that begins by waiting for what is earlier.
var (
	kernel  = regexp.MustCompile(`KERNEL\(\w+\)\(\w+ \w+\) \{`)
	waiting = regexp.MustCompile(kernel.String() + `[\s\\]*WAIT_FOR_EARLIER\(\);`)
)

func TestSource(t *testing.T) {
	if variable.FindString("static __device__ u32 arrived[2];\n") == "" {
		t.Error("a variable is not found")
	}
	names := kernels.Names()
	if !slices.IsSorted(names) || !slices.Contains(names, "depthwise") {
		t.Errorf("Names() = %v", names)
	}
	for _, name := range names {
		text, err := kernels.Source(name)
		if err != nil {
			t.Fatal(err)
		}
		if !strings.HasPrefix(text, "#line 1 \"common.cuh\"\n") || !strings.Contains(text, "\n#line 1 \""+name+".cu\"\n") || !strings.Contains(text, "\nKERNEL(") {
			t.Errorf("source %s does not begin with common.cuh and hold kernels", name)
		}
		if strings.Contains(text, "#include \"") {
			t.Errorf("source %s still includes a file", name)
		}
		if all, wait := len(kernel.FindAllString(text, -1)), len(waiting.FindAllString(text, -1)); wait < all {
			t.Errorf("source %s has kernels that do not begin with WAIT_FOR_EARLIER: %d of %d do", name, wait, all)
		}
		if v := variable.FindString(text); v != "" {
			t.Errorf("source %s has a variable of the module's, which all streams share: %s", name, v)
		}
	}
	if _, err := kernels.Source("none"); err == nil || !strings.Contains(err.Error(), "none.cu") {
		t.Errorf("a missing source gives %v", err)
	}
}
