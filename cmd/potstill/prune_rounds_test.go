package main

import (
	"bytes"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// TestPruneInRounds: a cut in rounds comes to the widths of the cut at once, and to
// the same bytes when it is stopped and resumed; its recipe is a study's.
func TestPruneInRounds(t *testing.T) {
	dir := t.TempDir()
	net := model(t)
	flags := []string{"prune", "--model", net, "--ratio", "0.5", "--protect", "cnn.3"}
	rounds := with(flags, "--rounds", "3", "--epochs", "1", "--teach", "--tune", "lr: 1e-3, batch: 8, temperature: 4, augment: {flip: 0.5}",
		"--data", "builtin:fashion", "--limit", "16")
	once := filepath.Join(dir, "once.safetensors")
	succeeds(t, with(flags, "--out", once)...)
	a, b := filepath.Join(dir, "a.safetensors"), filepath.Join(dir, "b.safetensors")
	out := decode(t, succeeds(t, with(rounds, "--out", a, "--json")...).out)
	made := out["rounds"].([]any)
	if len(made) != 4 {
		t.Fatalf("%d steps", len(made))
	}
	before := out["whole"].(map[string]any)["params"]
	for i, m := range made {
		params := m.(map[string]any)["params"]
		if i == 0 && params != before || i > 0 && !(params.(float64) < made[i-1].(map[string]any)["params"].(float64)) {
			t.Errorf("step %d has %v parameters", i, params)
		}
	}
	widths := func(file string) any { return decode(t, succeeds(t, "summary", file, "--json").out)["params"] }
	if x, y := widths(a), widths(once); x != y {
		t.Errorf("%v parameters after three rounds, %v after one", x, y)
	}

	// The work of the last round is lost, and the first file with it.
	succeeds(t, with(rounds, "--out", b)...)
	last := made[3].(map[string]any)["folder"].(string)
	if err := os.RemoveAll(last); err != nil {
		t.Fatal(err)
	}
	if err := os.Remove(a); err != nil {
		t.Fatal(err)
	}
	r := succeeds(t, with(rounds, "--out", a)...)
	if !bytes.Equal(read(t, a), read(t, b)) {
		t.Error("the resumed cut differs")
	}
	if !strings.Contains(r.out, "before") || !strings.Contains(r.out, "a.rounds") {
		t.Errorf("it says\n%s", r.out)
	}
	recipe := filepath.Join(dir, "a.rounds", "recipe.yaml")
	if s := succeeds(t, "study", "show", recipe); !strings.Contains(s.out, "round3") {
		t.Errorf("study show says\n%s", s.out)
	}
}

// TestPruneRoundsRefused: what does not go with rounds is named.
func TestPruneRoundsRefused(t *testing.T) {
	base := []string{"prune", "--model", model(t), "--ratio", "0.5"}
	for want, flags := range map[string][]string{
		"give --rounds, too":            {"--epochs", "2"},
		"give --epochs, too":            {"--rounds", "2", "--data", "builtin:fashion"},
		"name the images with --data":   {"--rounds", "2", "--epochs", "1"},
		"later cuts depend":             {"--rounds", "2", "--epochs", "1", "--dry-run"},
		"number from 1 to 1000":         {"--rounds", "-1"},
		"is made in one cut":            {"--rounds", "2", "--epochs", "1", "--compat", "torch-pruning"},
		"unknown key \"learning_rate\"": {"--rounds", "2", "--epochs", "1", "--data", "builtin:fashion", "--tune", "learning_rate: 1", "--out", filepath.Join(t.TempDir(), "x")},
	} {
		fails(t, []string{want}, with(base, flags...)...)
	}
}
