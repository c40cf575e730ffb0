package gpu

import (
	"fmt"
	"os"
	"os/exec"
	"regexp"
	"strings"
	"testing"

	"github.com/potstill/potstill/cuda/kernels"
)

// plantedEnv names the bug that TestPlanted's child process plants.
const plantedEnv = "POTSTILL_TEST_PLANTED"

// ordersEnv marks TestSuiteOrders' child processes.
const ordersEnv = "POTSTILL_TEST_ORDER"

// A plant is a bug: an edit of a kernel's source that the suite must find, by a
// failing case. The cases that are run are "operator", which are all of it, or
// "operator/pattern", where many others would pass before the one that fails.
type plant struct {
	name, source, cases string
	old, new            string
}

// run returns the operator, and the pattern of the cases for go test's -run.
func (p plant) run() (op, pattern string) {
	op, some, _ := strings.Cut(p.cases, "/")
	return op, "^" + op + "$/" + some
}

// planted returns the source with the bug in it. The text that it takes the
// place of must be there once, so that it is clear what is planted.
func (p plant) planted(text string) (string, error) {
	if n := strings.Count(text, p.old); n != 1 {
		return "", fmt.Errorf("%q is %d times in %s.cu, not once: plant %q anew", p.old, n, p.source, p.name)
	}
	return strings.Replace(text, p.old, p.new, 1), nil
}

// TestPlanted shows that the suite over cuda/fake finds bugs of the kinds that
// kernels have: each is planted into a backend of a child process, whose suite
// must then fail in the operator's cases, with the threads in one of the orders
// that TestSuite and TestSuiteOrders run them in.
func TestPlanted(t *testing.T) {
	o := fakeOptions(t)
	o.NoLibraries = true
	if name := os.Getenv(plantedEnv); name != "" {
		b := openBackend(t, o)
		for _, p := range plants {
			if p.name == name {
				b.source = p.read
			}
		}
		t.Run("child", func(t *testing.T) { interpreted.Run(t, b) })
		return
	}
	t.Parallel()
	names := make(map[string]bool)
	for _, p := range plants {
		if names[p.name] {
			t.Errorf("two plants are called %q", p.name)
		}
		names[p.name] = true
		t.Run(p.name, func(t *testing.T) {
			t.Parallel()
			if text, err := kernels.Source(p.source); err != nil {
				t.Fatal(err)
			} else if _, err := p.planted(text); err != nil {
				t.Fatal(err)
			}
			op, pattern := p.run()
			failed := regexp.MustCompile(`(?m)^ +--- FAIL: TestPlanted/child/` + op + `/`)
			for _, order := range orders {
				out, err := child(t, p.name, pattern, order)
				if err != nil && failed.Match(out) {
					t.Logf("found in order %q", order)
					return
				}
				if err != nil || order == orders[len(orders)-1] {
					t.Errorf("the suite does not find it (order %q, exit: %v)\n%s", order, err, last(out))
				}
			}
		})
	}
	t.Run("none", func(t *testing.T) {
		if out, err := child(t, "none", "^Add$", ""); err != nil {
			t.Errorf("the suite fails without a bug: %v\n%s", err, last(out))
		}
	})
}

// TestSuiteOrders runs the suite in other legal orders, each in a process of its
// own: the threads of a block and the blocks of a grid from the last to the first
// and a stream's work only when somebody waits for it, and the threads of a block
// interleaved. The first of them is as on a card of 132 multiprocessors, an H100 or
// an H200, for which work is cut into other parts.
func TestSuiteOrders(t *testing.T) {
	o := fakeOptions(t)
	o.NoLibraries = true
	if os.Getenv(ordersEnv) != "" {
		t.Run("child", func(t *testing.T) { interpreted.Run(t, openBackend(t, o)) })
		return
	}
	t.Parallel()
	for name, env := range map[string][]string{
		"reverse on 132 multiprocessors": {"FAKE_ORDER=reverse", "FAKE_QUEUE=lazy", "FAKE_MULTIPROCESSORS=132"},
		"interleave":                     {"FAKE_ORDER=interleave", "FAKE_QUEUE=lazy"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			cmd := exec.CommandContext(t.Context(), os.Args[0], "-test.run=^TestSuiteOrders$/^child$", "-test.v", "-test.timeout=15m")
			cmd.Env = append(append(os.Environ(), ordersEnv+"="+name), env...)
			out, err := cmd.CombinedOutput()
			if err != nil {
				t.Fatalf("%v\n%s", err, out)
			}
			if n := strings.Count(string(out), "--- PASS: TestSuiteOrders/child/"); n < 1000 {
				t.Errorf("only %d cases were run", n)
			}
		})
	}
}

// orders are those in which cuda/fake runs threads.
var orders = []string{"", "reverse", "interleave"}

// read is kernels.Source with the bug.
func (p plant) read(name string) (string, error) {
	text, err := kernels.Source(name)
	if err != nil || name != p.source {
		return text, err
	}
	return p.planted(text)
}

// child runs the cases of an operator in a process with a bug, the threads in an
// order, up to the first case that fails.
func child(t *testing.T, name, cases, order string) ([]byte, error) {
	cmd := exec.CommandContext(t.Context(), os.Args[0], "-test.run=^TestPlanted$/^child$/"+cases, "-test.failfast", "-test.timeout=5m")
	cmd.Env = append(os.Environ(), plantedEnv+"="+name, "FAKE_ORDER="+order)
	return cmd.CombinedOutput()
}

func last(out []byte) []byte { return out[max(0, len(out)-2000):] }

// The kernels' barriers, as they are indented.
const (
	sync1 = "\t__syncthreads();\n"
	sync2 = "\t" + sync1
	sync3 = "\t" + sync2
)

var plants = []plant{
	// Borders and sizes.
	{"a column too many", "depthwise", "Conv2D", "if (w < 0 || w >= g.w) continue;", "if (w < 0 || w > g.w) continue;"},
	{"the border of the first layer", "firstlayer", "Conv2D", "z < w * CHANNELS", "z <= w * CHANNELS"},
	{"the row below the strip", "depthwise3x3", "Conv2D/1x31x33x16",
		"r = at.j + 1 < w, last = end < h ? end + 1 : h; /* of x */", "r = at.j + 1 < w, last = end; /* of x */"},
	{"the column behind the picture", "depthwise3x3", "Conv2DBackwardData/s2p1d1g12", "int r = at.j + 1 < a.g.ow, wide", "int r = 1, wide"},
	{"padding on the other side", "conv2d", "Conv2D", "r.first = 0, r.base = -a.pad,", "r.first = 0, r.base = a.pad,"},
	{"the columns' step for the rows", "conv2d", "Conv2D/s1x2", "h.base + (backward ? i : i * a.rows.stride)", "h.base + (backward ? i : i * a.cols.stride)"},
	{"the columns' dilation for the rows", "conv2d_weight", "Conv2DBackwardWeight/d1x2", "tap / a.kw * a.dilation_h", "tap / a.kw * a.dilation_w"},
	{"padding above for the left", "depthwise", "Conv2DBackwardData", "met(at.j + g.left -", "met(at.j + g.top -"},
	{"a window too few", "pool2d", "AvgPool2DBackward", "return t < windows ? t : windows - 1;", "return t < windows - 1 ? t : windows - 2;"},
	{"the left border's padding above", "pool2d", "MaxPool2DBackward", "col = (int)p.col + a.left;", "col = (int)p.col + a.top;"},
	{"a mean over what hangs over", "pool2d", "AvgPool2D", "bottom = bottom < below ? bottom : below, right", "right"},
	{"a place between two of a window", "pool2d", "MaxPool2DBackward/d2", "counts &= (k % a.dilation_h == 0) & (m % a.dilation_w == 0);", "counts &= m % a.dilation_w == 0;"},
	{"a window that ends too early", "adaptivepool", "AdaptiveMaxPool2D", "((i64)(i + 1) * n + m - 1) / m", "((i64)(i + 1) * n) / m"},
	{"the pixels of another window", "adaptivepool", "AdaptiveAvgPool2DBackward", "pixels_of(window_of(i, j, a))", "pixels_of(window_of(0, 0, a))"},
	{"the border pixel mirrored too", "pad2d", "Pad2D", "2 * (n - 1) - s", "2 * n - 1 - s"},
	{"a mirrored pixel too many", "pad2d", "Pad2DBackward", "(k == 1 ? i > 0 : i < n - 1)", "i < n - 1"},
	{"as many channels before as behind", "localresponsenorm", "LocalResponseNormBackward", "int lo = c - a.behind, hi = c + a.before;", "int lo = c - a.before, hi = c + a.before;"},
	{"the pixels left over", "batchnorm_pool", "BatchNormActBackward", "u < POOL && s->i * POOL + u < a->h", "u < POOL - 1 && s->i * POOL + u < a->h"},
	{"beyond the last vector", "activation", "Activation/Neg", "VECTORS(i, a.n) {\n\t\tfloat v[VEC];\n\t\tldv(a.x + i, v);\n\t\tUNROLL\n\t\tfor (int l = 0; l < VEC; l++) v[l] = act(",
		"VECTORS(i, a.n + VEC - 1) {\n\t\tfloat v[VEC];\n\t\tldv(a.x + i, v);\n\t\tUNROLL\n\t\tfor (int l = 0; l < VEC; l++) v[l] = act("},
	// Lost tails.
	{"the last elements", "elementwise", "Add", "REST(i, a.n) {\n\t\tfloat sum = 0.f;", "REST(i, a.n - 1) {\n\t\tfloat sum = 0.f;"},
	{"the last terms", "gemm", "Linear", "left = CEIL_DIV(a.k, TILE_K) - first;", "left = a.k / TILE_K - first;"},
	{"the last pixels", "conv2d_weight", "Conv2DBackwardWeight", "const i64 left = (a.pixels - k0 + TILE_K - 1) / TILE_K;", "const i64 left = (a.pixels - k0) / TILE_K;"},
	{"the last rows", "batchnorm", "BatchNorm", "if (left > 0) bn_group(p, step, left, &n, mean, m2);", ""},
	{"what is behind the last row", "batchnorm_backward", "BatchNormBackward", "for (int i = 0; i < f.tail; i++)", "for (int i = 0; i < f.tail - 1; i++)"},
	{"the last element of a parameter", "optimizer", "SGD", "if (i + 1 < n) x[i + 1] = v.y;", ""},
	{"the last part", "split_sum", "Conv2DBackwardWeight", "for (int w = 1; w < WARPS; w++)", "for (int w = 1; w < WARPS - 1; w++)"},
	// Strides and indices.
	{"the pixels of the next image", "groupnorm", "GroupNorm", "s.to = s.from + a.rows < end ? s.from + a.rows : end;", "s.to = s.from + a.rows;"},
	{"the last line's sums", "layernorm", "LayerNormBackward", "line >= half || line + half >= c.lines", "line >= half || line + half >= c.lines - 1"},
	{"a stride that is not one", "depthwise", "Conv2DBackwardData", "return i < n && i * stride == t ? i : -1;", "return i < n ? i : -1;"},
	{"a stride of the wrong matrix", "gemm", "LinearBackwardWeight", "put_row(dw + (i64)(row0 + r) * a.n + col0 + c,", "put_row(dw + (i64)(row0 + r) * a.m + col0 + c,"},
	{"a stride of the wrong tensor", "conv2d_weight", "Conv2DBackwardWeight", "(i64)(y * a.w + z) * a.c + channel[i], hit);", "(i64)(y * a.ow + z) * a.c + channel[i], hit);"},
	{"swapped indices", "elementwise", "Flatten", "= tile[tx][ty + u];", "= tile[ty + u][tx];"},
	{"swapped extents", "pool2d", "MaxPool2D", "load(x + ((i64)r * a.w + q) * a.c * WIDTH, z);\n\t\t\tUNROLL\n\t\t\tfor (int l = 0; l < WIDTH; l++) {",
		"load(x + ((i64)r * a.h + q) * a.c * WIDTH, z);\n\t\t\tUNROLL\n\t\t\tfor (int l = 0; l < WIDTH; l++) {"},
	{"the bias of another channel", "depthwise", "Conv2D", "load_vec(a.bias + at.c)", "load_vec(a.bias + c)"},
	{"the kernel not turned", "depthwise3x3", "Conv2DBackwardData", "flip ? 8 - t : t", "t"},
	{"the first group's weights", "conv2d", "Conv2D/g7", "const int group = group0 + col / SLOT, n = col % SLOT;", "const int group = col / SLOT, n = col % SLOT;"},
	{"the running variance of all pixels", "batchnorm", "BatchNorm", "(q / (m - 1))", "(q / m)"},
	{"the row's first channels", "concat", "Slice", "a.x_row + a.x_first + c]", "a.x_row + c]"},
	{"a channel too many", "concat", "SliceBackward", "c < a.count) v", "c <= a.count) v"},
	{"the row of the other side", "concat", "Concat", "a.y[(i64)r * a.y_row + k]", "a.y[(i64)r * a.x_row + k]"},
	{"group and channel swapped", "channelshuffle", "ChannelShuffle", "x[(i64)mod_by(o, q, a.by_groups) * a.each + q]", "x[(i64)q * a.each + mod_by(o, q, a.by_groups)]"},
	{"the vector's first channels' scale", "layernorm", "LayerNorm", "a.gamma[k * WIDTH + l], a.beta[k * WIDTH + l]);", "a.gamma[k], a.beta[k * WIDTH + l]);"},
	{"the group of the vector's first channel", "groupnorm", "GroupNorm", "int g = image * a.groups + (k * WIDTH + l) / a.each;", "int g = image * a.groups + k * WIDTH / a.each;"},
	{"SiLU without its second term", "activation", "ActivationBackward/SiLU", "return g.up + s * (g.up * g.down);", "return g.up;"},
	{"an exponential that overflows", "activation", "Activation/Mish", "e = expf(v > 20.f ? 20.f : v), t", "e = expf(v), t"},
	{"the factors of the first image", "channelwise", "Mul", "load_factors(a.w + (i64)div_by(row, a.by_image) * a.by_row.div * WIDTH + c, w);", "load_factors(a.w + c, w);"},
	{"the rows of another image", "channelwise", "MulBackward", "((image * a.rows + row) * a.c.vectors + at.k)", "((image * a.chunk + row) * a.c.vectors + at.k)"},
	{"the parts of the first image", "channelwise", "MulBackward", "a.part[((i64)image * a.chunks + k)", "a.part[((i64)k)"},
	{"the slope where x is positive", "channelwise", "PReLUBackward", "if (v[l] > 0.f) continue;", ""},
	{"a part of the slope", "channelwise", "PReLUBackward", "i < a.n; i += NORM_THREADS", "i < a.n - 1; i += NORM_THREADS"},
	{"the shift of the vector's first channel", "channelwise", "ScaleShift", "b[l] = a.b[SHIFT_OF(c + l)];", "b[l] = a.b[SHIFT_OF(c)];"},
	{"no division of equals", "pointwise", "ChosenBackward", "return a > b ? dy : a == b ? 0.5f * dy : 0.f;", "return a >= b ? dy : 0.f;"},
	{"the parts of the first block alone", "mse", "MSE", "i < (int)gridDim.x; i += thread_count()) sum", "i < 1; i += thread_count()) sum"},
	{"half of the slope", "mse", "MSEBackward", "scale = 2.f * *a.dloss", "scale = *a.dloss"},
	{"no largest taken off", "softmax", "Softmax", "sum += expf(v[l] - top);", "sum += expf(v[l]);"},
	{"the word of another image", "elementwise", "StochasticDepth", "u32 k = image % 4, word", "u32 k = 0, word"},
	{"r once", "groupnorm", "GroupNormBackward", "(float)(-r * r * d / m)", "(float)(-r * d / m)"},
	{"a random word twice", "elementwise", "Dropout", "philox((u32)(i / 4) + (u32)q,", "philox((u32)(i / 4),"},
	// Barriers.
	{"no barrier before the transpose is read", "elementwise", "Flatten", sync2 + "\t\tUNROLL\n\t\tfor (int u = 0; u < TILE; u += TILE_ROWS) {\n\t\t\tint r = row + tx",
		"\t\tUNROLL\n\t\tfor (int u = 0; u < TILE; u += TILE_ROWS) {\n\t\t\tint r = row + tx"},
	{"no barrier between panels", "gemm", "Linear", "else along_store(pb, TILE_N, vb, CARRY(TILE_N), t);\n" + sync3, "else along_store(pb, TILE_N, vb, CARRY(TILE_N), t);\n"},
	{"no barrier behind the places", "conv2d", "Conv2D", "w.base + (backward ? j : j * a.cols.stride);\n\t}\n" + sync1, "w.base + (backward ? j : j * a.cols.stride);\n\t}\n"},
	{"no barrier in the merge", "batchnorm", "BatchNorm", sync2 + "\t\tif (s.line < half", "\t\tif (s.line < half"},
	{"no barrier before the next sum", "batchnorm", "BatchNorm", "v = shared[t % BN_CHANNELS];\n" + sync1, "v = shared[t % BN_CHANNELS];\n"},
	{"no barrier in the merge of a group's pixels", "groupnorm", "GroupNorm", sync2 + "\t\tif (at.line < half", "\t\tif (at.line < half"},
	{"no barrier in the merge of sums", "layernorm", "LayerNormBackward", sync2 + "\t\tif (line >= half", "\t\tif (line >= half"},
	{"no barrier before the group's next sum", "groupnorm", "GroupNorm", "v = shared[0];\n" + sync1, "v = shared[0];\n"},
	{"no barrier in the gradient's merge", "batchnorm_backward", "BatchNormBackward", sync2 + "\t\tif (b.line < half", "\t\tif (b.line < half"},
	{"no barrier between the rows' results", "firstlayer", "Conv2DBackwardWeight", sync2 + "\t\tif (row != r) continue;", "\t\tif (row != r) continue;"},
	{"a barrier that some threads miss", "split_sum", "Conv2DBackwardWeight", "sums[warp][lane] = sum;\n" + sync1, "sums[warp][lane] = sum;\n\tif (warp == 0) __syncthreads();\n"},
	{"no barrier in the block's sum", "loss", "CrossEntropy", "v = t % 32 < warps ? shared[t % 32] : 0.f;\n\tv = warp_sum(v);\n" + sync1, "v = t % 32 < warps ? shared[t % 32] : 0.f;\n\tv = warp_sum(v);\n"},
	{"no barrier before the warps' sum", "depthwise", "Conv2DBackwardWeight", "shared[t] = v;\n" + sync1 + "\tif (t < CHANNELS)", "shared[t] = v;\n\tif (t < CHANNELS)"},
	{"no barrier before the pixels' sum", "pool2d", "GlobalAvgPool", sync2 + "\t\t/* A thread for each", "\t\t/* A thread for each"},
	// Warps, counters, numbers.
	{"half a warp", "loss", "CrossEntropy", "for (int i = 16; i > 0; i >>= 1) v += __shfl_xor_sync", "for (int i = 8; i > 0; i >>= 1) v += __shfl_xor_sync"},
	{"a counter that is not reset", "optimizer", "ClipScale", "if (*flag) *counter = 0u;", ""},
	{"no wait for what is earlier", "batchnorm", "BatchNorm", "KERNEL(bn_finish)(bn_finish_args a) {\n\tWAIT_FOR_EARLIER();\n", "KERNEL(bn_finish)(bn_finish_args a) {\n"},
	{"a bfloat16 cut off", "elementwise", "Cast", "return (bf16)((u + 0x7fffu + ((u >> 16) & 1u)) >> 16);", "return (bf16)(u >> 16);"},
	{"a NaN that loses", "pool2d", "MaxPool2D", "(z[l] > best[l]) | ((z[l] != z[l]) & (best[l] == best[l]))", "z[l] > best[l]"},
	{"the last of equals", "batchnorm_pool", "BatchNormActBackward", "if (u == 0 || y > best ||", "if (u == 0 || y >= best ||"},
}
