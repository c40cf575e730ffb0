package main

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
)

// pytorch measures PyTorch's best at the same distillation, and which kernels
// the teacher takes there.
func pytorch(ctx context.Context, v *visit, r *result) {
	if _, err := v.command(ctx, nil, v.python, "-c", "import torch, sys; sys.exit(not torch.cuda.is_available())"); err != nil {
		r.skip("%s has no PyTorch that sees the card", v.python)
		return
	}
	out, err := v.command(ctx, []string{"PYTHONUNBUFFERED=1"}, v.python, filepath.Join(v.scripts, "bench_gpu.py"), "--potstill", filepath.Join(v.bin, "potstill"),
		"--quick", "--teacher", "--out", filepath.Join(v.out, "pytorch.json"))
	r.Lines = append(r.Lines, lastLines(out, 40)...)
	if err != nil {
		r.fail("%v", err)
	}
}

// lastLines returns the last so many lines that are not empty, each of bounded length.
func lastLines(text string, n int) (lines []string) {
	for line := range strings.Lines(text) {
		if line = strings.TrimRight(line, "\n "); line != "" {
			lines = append(lines, line[:min(len(line), 160)])
		}
	}
	return lines[max(0, len(lines)-n):]
}

// profile says where a distillation step's time goes: by ncu where it may count,
// else by timing each kernel between events.
func profile(ctx context.Context, v *visit, r *result) {
	if ncu, err := find("ncu"); err == nil {
		out, err := v.command(ctx, nil, ncu, "--metrics", "gpu__time_duration.sum,dram__bytes.sum", "--launch-skip", "2000", "--launch-count", "250", "--print-summary", "per-kernel",
			filepath.Join(v.bin, "potstill"), "bench", "train", "--device", "cuda:0", "--arch", "cnn-dwpw", "--size", "128", "--batch", "256", "--precision", "bfloat16", "--time", "100ms")
		if err == nil && !strings.Contains(out, "ERR_NVGPUCTRPERM") {
			r.say("ncu: see logs.txt")
			r.Lines = append(r.Lines, lastLines(out, 30)...)
			return
		}
		r.say("ncu is refused: %s", firstLine(strings.Join(lastLines(out, 1), "")))
	}
	table(ctx, v, r, "resnet18", "infer", "teacher")
	table(ctx, v, r, "cnn-dwpw", "train", "student")
}

// find looks for a tool on PATH and where the CUDA toolkit puts it.
func find(tool string) (string, error) {
	if path, err := exec.LookPath(tool); err == nil {
		return path, nil
	}
	path := filepath.Join("/usr/local/cuda/bin", tool)
	_, err := os.Stat(path)
	return path, err
}

// table prints the kernels of a net that take longest, with what was chosen.
func table(ctx context.Context, v *visit, r *result, arch, passes, who string) {
	var b kernelBench
	if err := bench(ctx, v, &b, arch, passes); err != nil {
		r.fail("%v", err)
		return
	}
	total := 0.0
	slices.SortFunc(b.Rows, func(x, y kernelRow) int {
		if x.US*x.Count > y.US*y.Count {
			return -1
		}
		return 1
	})
	for i, row := range b.Rows {
		total += row.US * row.Count
		if i < 14 {
			r.say("%8.1f µs ×%2.0f %4.0f %% of %-6s %s %s %s", row.US, row.Count, row.Percent, row.Bound, row.Op, strings.Join(row.In[:min(1, len(row.In))], ""), row.Implementation)
		}
	}
	r.say("%s: %.0f µs of kernels a step, one by one", who, total)
	r.note(who+"_us", total)
	r.note("matrix_gflops", b.Limits.Matrix)
	r.note("copy_gbs", b.Limits.Copy)
}

// few leaves most operators out of a rehearsal: the stand-ins are slow.
func (v *visit) few(passes string) []string {
	if v.rehearsal && passes == "infer" {
		return []string{"--filter", "AvgPool", "--own-kernels"}
	}
	if v.rehearsal {
		return []string{"--filter", "BatchNormAct", "--own-kernels"}
	}
	return nil
}

// kernelBench is the part of bench kernels' JSON that is used.
type kernelBench struct {
	Limits struct {
		Matrix float64 `json:"matrix_gflops"`
		Copy   float64 `json:"copy_gbs"`
	}
	Rows []kernelRow
}

type kernelRow struct {
	Op, Bound, Implementation string
	In                        []string
	Count, US, Percent        float64
	Error                     *float64
}

func bench(ctx context.Context, v *visit, b *kernelBench, arch, passes string, more ...string) error {
	args := slices.Concat([]string{"bench", "kernels", "--device", "cuda:0", "--arch", arch, "--passes", passes, "--json", "--time", v.each("300ms")}, v.shape(), v.few(passes), more)
	out, err := v.potstill(ctx, args...)
	if err != nil {
		return err
	}
	return jsonOf(out, b)
}

var errorSummary = regexp.MustCompile(`(?m)^=+ *((ERROR|RACECHECK|LEAK) SUMMARY:.*)$`)

// sanitize runs compute-sanitizer over the kernels whose blocks wait for each
// other by counters.
func sanitize(ctx context.Context, v *visit, r *result) {
	tool, err := find("compute-sanitizer")
	if err != nil {
		r.skip("there is no compute-sanitizer")
		return
	}
	const few = "^TestSuite$/^device$/^ours$/^(CrossEntropy|ClipScale|MSE|BatchNorm|Conv2DBackwardWeight)$/^[^_]*(2x9x7x35|1x9x7x121|1x8x9x44|3x5x7x3|7)"
	for _, t := range []string{"memcheck", "racecheck"} {
		out, err := v.command(ctx, []string{"POTSTILL_TEST_CUDA=1"}, tool, "--tool", t, "--error-exitcode", "9", filepath.Join(v.bin, "gpu.test"), "-test.run="+few, "-test.timeout=9m")
		for _, m := range errorSummary.FindAllStringSubmatch(out, -1) {
			r.say("%s: %s", t, m[1])
		}
		if err != nil {
			r.fail("%s: %v", t, err)
		}
	}
}

// wanted is the part of the copy limit that depthwise convolutions are to reach.
const wanted = 80

// kernels holds every kernel of the student to the card's limits.
func kernels(ctx context.Context, v *visit, r *result) {
	var b kernelBench
	arch := "cnn-dwpw"
	if err := bench(ctx, v, &b, arch, "all", "--check"); err != nil {
		r.fail("%v", err)
		return
	}
	r.say("limits: a matrix product in bfloat16 reaches %.0f GFLOP/s, a copy %.0f GB/s", b.Limits.Matrix, b.Limits.Copy)
	below, worst := 0, 0.0
	for _, row := range b.Rows {
		if row.Error != nil && *row.Error > worst {
			worst = *row.Error
		}
		if row.Error != nil && *row.Error > 0.05 {
			r.fail("%s %v is off by %.2g", row.Op, row.In, *row.Error)
		}
		if row.Percent < 50 && row.US > 10 {
			below++
		}
		if len(r.Lines) < 30 && row.US > 5 {
			r.say("%8.1f µs %4.0f %% of %-6s %s %s", row.US, row.Percent, row.Bound, row.Op, strings.Join(row.In[:min(2, len(row.In))], " "))
		}
	}
	r.say("%s", fmt.Sprintf("%d kernels; %d of more than 10 µs are below half of their limit; the goal for depthwise is %d %%; worst error %.1g", len(b.Rows), below, wanted, worst))
	r.note("worst_error", worst)
}
