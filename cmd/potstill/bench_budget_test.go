package main

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/potstill/potstill/layers"
	"github.com/potstill/potstill/layers/checkpoint"
	"github.com/potstill/potstill/layers/checkpoint/checkpointtest"
)

func TestBenchModelUnder(t *testing.T) {
	m, s := checkpointtest.Draw(t, layers.Arch{Family: "mlperf_resnet8", Classes: 10}, 1)
	path := filepath.Join(t.TempDir(), "net.safetensors")
	if _, err := checkpoint.Save(path, &checkpoint.Checkpoint{Net: m.Net(), State: s, Preprocess: checkpoint.Preprocess{Size: 32}}); err != nil {
		t.Fatal(err)
	}
	info, err := os.Stat(path)
	if err != nil {
		t.Fatal(err)
	}
	quick := []string{"bench", "model", path, "--runs", "5", "--time", "1ms", "--under"}
	v := decode(t, succeeds(t, append(quick, fmt.Sprintf("%dB, 79k params, 10s@3, 1GB ram", info.Size()), "--json")...).out)
	u := v["under"].(map[string]any)
	cost := u["cost"].(map[string]any)
	if u["met"] != true || v["batch"] != 3.0 || cost["bytes"] != float64(info.Size()) || cost["ms"] != v["p50_ms"] || !(u["steps_ms"].(float64) > 0) {
		t.Errorf("%v", v)
	}
	r := succeeds(t, append(quick, "13M macs")...)
	if !strings.Contains(r.out, "under 13,000,000 multiply-adds  met: 12,501,632") {
		t.Errorf("bench model says\n%s", r.out)
	}
	r = potstill(t, append(quick, fmt.Sprintf("%dB", info.Size()-1))...)
	if r.code != 1 || !strings.Contains(r.err, "it is not under") || !strings.Contains(r.out, "not met") {
		t.Errorf("a file that is a byte too large: %d\n%s%s", r.code, r.out, r.err)
	}
	fails(t, []string{"is no budget"}, append(quick, "many")...)
}
