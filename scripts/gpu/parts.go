package main

import (
	"context"
	"encoding/json"
	"fmt"
	"math"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"sync"
	"time"
)

// A part is one thing that is done on the card, within a limit of its own.
type part struct {
	name        string
	least, most time.Duration // it is left out where less is left
	run         func(ctx context.Context, v *visit, r *result)
}

// parts in their order: what others need, then what decides most.
var parts = []part{
	{"libraries", 5 * time.Second, 20 * time.Second, libraries},
	{"warm", 5 * time.Second, 60 * time.Second, warm},
	{"step", 10 * time.Second, 60 * time.Second, step},
	{"distill", 20 * time.Second, 60 * time.Second, distill},
	{"suite", 20 * time.Second, 110 * time.Second, suite},
	{"nccl", 5 * time.Second, 20 * time.Second, nccl},
	{"pytorch", 30 * time.Second, 120 * time.Second, pytorch},
	{"profile", 20 * time.Second, 60 * time.Second, profile},
	{"sanitize", 20 * time.Second, 60 * time.Second, sanitize},
	{"kernels", 20 * time.Second, 75 * time.Second, kernels},
}

func partNames() (names []string) {
	for _, p := range parts {
		names = append(names, p.name)
	}
	return names
}

// choose returns the parts of the given names, all of them for none.
func choose(names []string) (chosen []part, err error) {
	for _, n := range names {
		if !slices.Contains(partNames(), n) {
			return nil, fmt.Errorf("there is no part %s; there are %s", n, strings.Join(partNames(), ", "))
		}
	}
	for _, p := range parts {
		if len(names) == 0 || slices.Contains(names, p.name) {
			chosen = append(chosen, p)
		}
	}
	return chosen, nil
}

// shape returns the flags of what is measured.
func (v *visit) shape() []string {
	if v.rehearsal {
		return []string{"--size", "32", "--batch", "2", "--precision", "bfloat16"}
	}
	return []string{"--size", "128", "--batch", "256", "--precision", "bfloat16"}
}

// jsonOf decodes the JSON at the end of a command's output.
func jsonOf(text string, into any) error {
	at := strings.Index(text, "\n{")
	if !strings.HasPrefix(text, "{") {
		if at < 0 {
			return fmt.Errorf("there is no JSON in %q", cut(text, 200))
		}
		text = text[at+1:]
	}
	return json.NewDecoder(strings.NewReader(text)).Decode(into)
}

// libraries says which of CUDA's libraries are found.
func libraries(ctx context.Context, v *visit, r *result) {
	out, err := v.potstill(ctx, "devices", "--json")
	var d struct {
		CUDA struct {
			Available bool
			Reason    string
			Libraries []struct{ Name, Path, Version, Error string }
		}
		Devices []struct{ Name, Model string }
	}
	if err == nil {
		err = jsonOf(out, &d)
	}
	if err != nil {
		r.fail("%v", err)
		return
	}
	for _, x := range d.Devices {
		r.say("%s: %s", x.Name, x.Model)
	}
	for _, l := range d.CUDA.Libraries {
		r.say("%s %s %s %s", l.Name, l.Version, l.Path, firstLine(l.Error))
		if l.Error != "" && l.Name != "libnccl" { // which several cards need; see the part nccl
			r.fail("%s is missing", l.Name)
		}
	}
	if !d.CUDA.Available {
		r.fail("%s", d.CUDA.Reason)
	}
	if _, err := exec.LookPath("nvidia-smi"); err == nil {
		out, _ := v.command(ctx, nil, "nvidia-smi", "--query-gpu=name,driver_version,clocks.max.sm,clocks.max.mem,power.limit", "--format=csv,noheader")
		r.say("%s", firstLine(out))
	}
}

func firstLine(text string) string {
	line, _, _ := strings.Cut(text, "\n")
	return line
}

// warm compiles the kernels that the other parts use.
func warm(ctx context.Context, v *visit, r *result) {
	out, err := v.potstill(ctx, slices.Concat([]string{"warm", "--arch", "cnn-dwpw,resnet18", "--json"}, v.shape())...)
	var w struct{ Compiled, Kept float64 }
	if err == nil {
		err = jsonOf(out, &w)
	}
	if err != nil {
		r.fail("%v", err)
		return
	}
	r.note("compiled", w.Compiled)
	r.say("%.0f kernels compiled, %.0f were there", w.Compiled, w.Kept)
}

// stepWithin is how far the losses of the first steps on the card may be from
// those on the CPU, for each step taken before.
const stepWithin = 2e-3

// step takes distillation steps on the card and on the CPU, from the same file.
func step(ctx context.Context, v *visit, r *result) {
	name, file := "distill_128", filepath.Join(v.out, "step.safetensors")
	if v.rehearsal {
		name = "block_train_64"
	}
	defer os.Remove(file)
	if _, err := v.potstill(ctx, "bench", "step", name, "--device", "cpu", "--save", file); err != nil {
		r.fail("%v", err)
		return
	}
	var checks [2][]float64
	for i, device := range []string{"cpu", "cuda:0"} {
		out, err := v.potstill(ctx, "bench", "step", name, "--load", file, "--device", device, "--time", "100ms", "--json")
		var b struct {
			Check []float64
			MS    float64
		}
		if err == nil {
			err = jsonOf(out, &b)
		}
		if err != nil {
			r.fail("on %s: %v", device, err)
			return
		}
		checks[i] = b.Check
		r.say("%s, float32, on %s: losses %.6g, %.2f ms a step", name, device, b.Check[:min(3, len(b.Check))], b.MS)
	}
	worst := 0.0
	for i, want := range checks[0] {
		if i >= len(checks[1]) {
			r.fail("the card gives %d losses, the CPU %d", len(checks[1]), len(checks[0]))
			return
		}
		d := math.Abs(checks[1][i]-want) / math.Max(math.Abs(want), 1e-6)
		worst = math.Max(worst, d/float64(i+1))
		if !(d <= stepWithin*float64(i+1)) {
			r.fail("loss %d is %.7g on the card, %.7g on the CPU", i, checks[1][i], want)
		}
	}
	r.note("worst", worst)
	if len(checks[0]) == 0 {
		r.fail("there is no loss to compare")
	}
}

// distill measures images a second, and what those of cnn-dwpw are where every kernel
// waits for the end of the one before it.
func distill(ctx context.Context, v *visit, r *result) {
	archs := "cnn-dwpw,resnet18"
	if v.rehearsal {
		archs = "cnn-dwpw"
	}
	for _, row := range v.rates(ctx, r, nil, archs) {
		r.say("%s %s: %.0f images/s, %.3f ms a step", row.Arch, row.Mode, row.ImagesPerSecond, row.MS)
		r.note(row.Mode, row.ImagesPerSecond)
		if row.Mode == "distill" {
			r.say("150 epochs of 9,866 images at this rate: %.1f s", 150*9866/row.ImagesPerSecond)
		}
	}
	for _, row := range v.rates(ctx, r, []string{"POTSTILL_CUDA_OVERLAP=0"}, "cnn-dwpw") {
		r.say("%s %s with POTSTILL_CUDA_OVERLAP=0: %.0f images/s, %.3f ms a step", row.Arch, row.Mode, row.ImagesPerSecond, row.MS)
		r.note(row.Mode+" without overlap", row.ImagesPerSecond)
	}
}

// A rate is a line of bench train.
type rate struct {
	Arch, Mode      string
	MS              float64
	ImagesPerSecond float64 `json:"images_per_second"`
}

// rates measures nets in an environment.
func (v *visit) rates(ctx context.Context, r *result, env []string, archs string) []rate {
	args := slices.Concat([]string{"bench", "train", "--device", "cuda:0", "--arch", archs, "--json", "--time", v.each("2s")}, v.shape())
	out, err := v.command(ctx, env, filepath.Join(v.bin, "potstill"), args...)
	var t struct{ Rows []rate }
	if err == nil {
		err = jsonOf(out, &t)
	}
	if err != nil || len(t.Rows) == 0 {
		r.fail("%d rows, %v", len(t.Rows), err)
	}
	return t.Rows
}

// each is how long one measurement takes.
func (v *visit) each(d string) string {
	if v.rehearsal {
		return "1ms"
	}
	return d
}

var verdictLine = regexp.MustCompile(`(?m)^ *--- (PASS|FAIL|SKIP): (\S+)`)

// suite runs the backend suite on the card, in several processes.
func suite(ctx context.Context, v *visit, r *result) {
	shards := []string{"ours/^[A-B]", "ours/^[D-L]", "ours/^[M-Z]", "ours/^C", "chosen/^[A-B]", "chosen/^C", "chosen/^[D-Z]", "libraries"}
	if v.rehearsal {
		shards = []string{"ours/^ClipScale$", "chosen/^Softmax$"}
	}
	var mu sync.Mutex
	var wg sync.WaitGroup
	total := make(map[string]int)
	for i, s := range shards {
		wg.Go(func() {
			var log tail
			cmd := exec.CommandContext(ctx, filepath.Join(v.bin, "gpu.test"), "-test.run=^TestSuite$/^device$/"+s, "-test.v", "-test.timeout=9m")
			cmd.Env = append(os.Environ(), "POTSTILL_TEST_CUDA=1")
			cmd.Stdout, cmd.Stderr = &log, &log
			err := cmd.Run()
			mu.Lock()
			defer mu.Unlock()
			fmt.Fprintf(v.log, "\n==== suite, process %d: %s\n%s", i, s, log.String())
			cases := 0
			for _, m := range verdictLine.FindAllStringSubmatch(log.String(), -1) {
				if strings.Count(m[2], "/") < 4 { // not a case
					continue
				}
				total[m[1]]++
				cases++
				if m[1] == "FAIL" && len(r.Lines) < 12 {
					r.say("FAIL %s", strings.TrimPrefix(m[2], "TestSuite/device/"))
				}
			}
			if err != nil || cases == 0 {
				r.fail("%s: %d cases, %v", s, cases, err)
			}
		})
	}
	wg.Wait()
	for name, n := range total {
		r.note(name, float64(n))
	}
	r.say("%d cases passed, %d failed, in %d processes", total["PASS"], total["FAIL"], len(shards))
}

// nccl has the card exchange with itself, in a captured graph: NCCL refuses two ranks on one
// card.
func nccl(ctx context.Context, v *visit, r *result) {
	cmd := exec.CommandContext(ctx, filepath.Join(v.bin, "gpu.test"), "-test.run=^TestPeerAlone$/^device$", "-test.v", "-test.timeout=1m")
	cmd.Env = append(os.Environ(), "POTSTILL_TEST_CUDA=1")
	out, err := cmd.CombinedOutput()
	fmt.Fprintf(v.log, "\n==== nccl\n%s", out)
	switch text := string(out); {
	case err != nil:
		r.fail("%v: %s", err, cut(text, 400))
	case strings.Contains(text, "--- SKIP"):
		r.skip("there is no NCCL: pip install nvidia-nccl-cu13")
	case strings.Contains(text, "--- PASS: TestPeerAlone/device"):
		r.say("a world of one rank: sums in the order of the ranks and running statistics, to the bit, in a graph, too")
	default:
		r.fail("nothing was run: %s", cut(text, 400))
	}
}
