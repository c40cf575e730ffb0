package gpu

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/potstill/potstill/cuda/fake"
	"github.com/potstill/potstill/cuda/kernels"
	"github.com/potstill/potstill/engine/backendtest"
)

// racesEnv marks TestRaces' child processes; its value is the planted bug, or "none".
const racesEnv = "POTSTILL_TEST_RACES"

// The tests that run with the check besides the suite: exchanges of ranks, and products
// through libraries with kernels of ours around them.
const (
	exchanging = "Exchanges"
	beside     = "Libraries"
)

// racing are bugs that make a race: all barriers that TestPlanted takes out, the
// fences round the counter by which the last block is found, and, in kernels whose
// threads do not wait for each other, two threads that come to one place.
func racing() (all []plant) {
	const counted = "*flag = atomicAdd(counter, 1u) == blocks - 1u;"
	for _, p := range plants {
		if strings.HasPrefix(p.name, "no barrier") {
			all = append(all, p)
		}
	}
	return append(all,
		plant{"no fence before the counter", "loss", "CrossEntropy", "fence();\n\t\t" + counted, counted},
		plant{"no fence before the norm's counter", "optimizer", "ClipScale", "fence();\n\t\t" + counted, counted},
		plant{"a counter that is not atomic", "mse", "MSE", counted, "*flag = (*counter)++ == blocks - 1u;"},
		plant{"no barrier before the counter", "depthwise", "Conv2DBackwardWeight", "DEVICE int last_block(u32 *counter, u32 blocks, int *flag) {\n\t__syncthreads();", "DEVICE int last_block(u32 *counter, u32 blocks, int *flag) {"},
		plant{"no barrier of the warp between pixels", "augment", "Augment", "\t__syncwarp();\n", ""},
		plant{"no barrier before a crop's sum", "augment", "Augment", "sums[t / 32] = sum;\n" + sync1, "sums[t / 32] = sum;\n"},
		plant{"no barrier in the pooled gradient's merge", "batchnorm_pool", "BatchNormActBackward", sync2 + "\t\tif (b->line < half", "\t\tif (b->line < half"},
		plant{"no barrier before a column's sum", "depthwise3x3", "Conv2DBackwardWeight", "= k[q];\n\t}\n" + sync1, "= k[q];\n\t}\n"},
		plant{"no barrier behind the places of pixels", "conv2d_weight", "Conv2DBackwardWeight", "locate(&from, k0, image0, base, 0, a, t);\n" + sync1, "locate(&from, k0, image0, base, 0, a, t);\n"},
		plant{"no barrier before the norm's sum", "optimizer", "ClipScale", "total[threadIdx.x] = s;\n" + sync1, "total[threadIdx.x] = s;\n"},
		plant{"no barrier behind the first layer's patch", "firstlayer", "Conv2D", "a.h, a.w_);\n" + sync1, "a.h, a.w_);\n"},
		plant{"no barrier in the merge of a factor's sums", "channelwise", "MulBackward", sync2 + "\t\tif (line >= half", "\t\tif (line >= half"},
		plant{"no barrier before the parts' sum", "split_sum", "Conv2DBackwardWeight", "sums[warp][lane] = sum;\n" + sync1, "sums[warp][lane] = sum;\n"},
		plant{"no barrier before packed weights", "weights", beside, "* cols + left + lane];\n\t}\n" + sync1, "* cols + left + lane];\n\t}\n"},
		plant{"no barrier before a gradient's transpose", "layout", beside, "* a.cols + left + lane);\n\t}\n" + sync1, "* a.cols + left + lane);\n\t}\n"},
		plant{"no barrier before a bias gradient's sum", "layout", beside, "sums[t] = sum;\n" + sync1, "sums[t] = sum;\n"},
		plant{"two threads that pack into one place", "allreduce", exchanging, "if (i < n) stf4(to + i, a.absent", "if (i < n) stf4(to + i / 8 * 4, a.absent"},
		plant{"two threads that unpack into one place", "allreduce", exchanging, "store_up_to(a.p[t], i, n, ldf4(from + i))", "store_up_to(a.p[t], i / 8 * 4, n, ldf4(from + i))"},
		plant{"two threads with one sum of ranks", "allreduce", exchanging, "stf4(a.sums + i, s);", "stf4(a.sums + i / 8 * 4, s);"},
		plant{"the running statistic of the next channel", "allreduce", exchanging, "float v = a.running[t][i];", "float v = a.running[t][(i + 1) % n];"},
		plant{"the running mean of the next channel", "syncbatchnorm", exchanging, "keep * a.run_mean[c]);", "keep * a.run_mean[(c + 1) % a.channels]);"},
		plant{"coefficients that overlap", "syncbatchnorm", exchanging, "a.coef[a.channels + c] =", "a.coef[a.channels - 1 + c] ="},
	)
}

// TestRaces runs cases of every operator with the check for races: no kernel has
// one, and each that is planted is found.
func TestRaces(t *testing.T) {
	o := fakeOptions(t)
	o.CacheDir = filepath.Join(fake.Dir(t), "cache-watched")
	withLibraries := o
	o.NoLibraries = true
	if name := os.Getenv(racesEnv); name != "" {
		b := openBackend(t, o)
		for _, p := range racing() {
			if p.name == name {
				b.source = p.read
			}
		}
		s, products := interpreted, backendtest.Suite{Only: products, Interpreted: true, Around: some(2 * raceCases)}
		if name == "none" { // the check is slow
			s.Around = some(raceCases)
		}
		libraries := openBackend(t, withLibraries)
		libraries.source, libraries.prefers = b.source, []string{"cudnn ", "cublasLt "}
		t.Run("child", func(t *testing.T) {
			t.Run(exchanging, func(t *testing.T) { exchangeAlone(t, b) })
			t.Run(beside, func(t *testing.T) { products.Run(t, libraries) })
			s.Run(t, b)
		})
		return
	}
	t.Parallel()
	child := func(t *testing.T, name, op string) ([]byte, error) {
		cmd := exec.CommandContext(t.Context(), os.Args[0], "-test.run=^TestRaces$/^child$/"+op, "-test.v", "-test.failfast", "-test.timeout=10m")
		cmd.Env = append(os.Environ(), racesEnv+"="+name, "FAKE_RACES=1", "FAKE_MULTIPROCESSORS=24")
		return cmd.CombinedOutput()
	}
	t.Run("none", func(t *testing.T) {
		t.Parallel()
		out, err := child(t, "none", "")
		if err != nil {
			t.Errorf("%v\n%s", err, last(out))
		}
		if n := strings.Count(string(out), "--- PASS: TestRaces/child/"); n < 200 {
			t.Errorf("only %d cases were run", n)
		}
	})
	for _, p := range racing() {
		t.Run(p.name, func(t *testing.T) {
			t.Parallel()
			if text, err := kernels.Source(p.source); err != nil {
				t.Fatal(err)
			} else if _, err := p.planted(text); err != nil {
				t.Fatal(err)
			}
			out, err := child(t, p.name, "^"+p.cases+"$")
			if err == nil || !strings.Contains(string(out), "race: it ") {
				t.Errorf("it is not found (%v)\n%s", err, last(out))
			}
		})
	}
}

// raceCases says that one of so many cases of an operator is run with the check.
const raceCases = 9

// some runs one of so many cases of an operator, eight at most, and none of the largest.
func some(each int) func(name string, run func()) {
	count := make(map[string]int)
	return func(name string, run func()) {
		op, _, _ := strings.Cut(name, "/")
		if n := count[op]; n%each == 0 && n < 8*each && !strings.Contains(name, "16500") {
			run()
		}
		count[op]++
	}
}
