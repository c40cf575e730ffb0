package gpu

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/potstill/potstill/cuda/fake"
	"github.com/potstill/potstill/cuda/kernels"
)

// racesEnv marks TestRaces' child processes; its value is the planted bug, or "none".
const racesEnv = "POTSTILL_TEST_RACES"

// racing are bugs that make a race: all barriers that TestPlanted takes out, and
// the fences round the counter by which the last block is found.
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
	)
}

// TestRaces runs cases of every operator with the check for races: no kernel has
// one, and each that is planted is found.
func TestRaces(t *testing.T) {
	o := fakeOptions(t)
	o.NoLibraries, o.CacheDir = true, filepath.Join(fake.Dir(t), "cache-races")
	if name := os.Getenv(racesEnv); name != "" {
		b := openBackend(t, o)
		for _, p := range racing() {
			if p.name == name {
				b.source = p.read
			}
		}
		s, count := interpreted, make(map[string]int)
		if name == "none" { // some cases of each operator: the check is slow
			s.Around = func(name string, run func()) {
				op, _, _ := strings.Cut(name, "/")
				if n := count[op]; n%raceCases == 0 && n < 8*raceCases && !strings.Contains(name, "16500") {
					run()
				}
				count[op]++
			}
		}
		t.Run("child", func(t *testing.T) { s.Run(t, b) })
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
			out, err := child(t, p.name, "^"+p.op+"$")
			if err == nil || !strings.Contains(string(out), "race: it ") {
				t.Errorf("it is not found (%v)\n%s", err, last(out))
			}
		})
	}
}

// raceCases says that one of so many cases of an operator is run with the check,
// eight at most.
const raceCases = 9
