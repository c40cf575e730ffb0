package study

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/potstill/potstill/distill/study/report"
	"github.com/potstill/potstill/engine"
	"github.com/potstill/potstill/engine/cpu"
	"github.com/potstill/potstill/engine/metrics"
	"github.com/potstill/potstill/engine/train"
)

func backend(t *testing.T) engine.Backend {
	t.Helper()
	b, err := cpu.New(cpu.Options{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = b.Close() })
	return b
}

// tiny returns the recipe of testdata, with parts of its text replaced.
func tiny(t *testing.T, oldnew ...string) *Recipe {
	t.Helper()
	text, err := os.ReadFile("testdata/tiny.yaml")
	if err != nil {
		t.Fatal(err)
	}
	s := string(text)
	for i := 0; i < len(oldnew); i += 2 {
		if !strings.Contains(s, oldnew[i]) {
			t.Fatalf("%q is not in the recipe", oldnew[i])
		}
		s = strings.Replace(s, oldnew[i], oldnew[i+1], 1)
	}
	r, err := Parse("tiny.yaml", []byte(s))
	if err != nil {
		t.Fatal(err)
	}
	return r
}

// log records what a study says of its progress.
type log struct {
	lines   []string
	done    []string // steps done in this run
	open    string
	advance func(step string, done int)
	end     func(step string)
}

func (l *log) Begin(step string, i, n, total int) {
	l.lines = append(l.lines, fmt.Sprintf("%d/%d %s of %d", i, n, step, total))
	l.open = step
}

func (l *log) Advance(step string, done int, _ string) {
	if l.advance != nil {
		l.advance(step, done)
	}
}

func (l *log) End(step, note string, cached bool) {
	if l.open != step {
		l.lines = append(l.lines, "ended without beginning: "+step)
	}
	l.open = ""
	if !cached && note != "stopped" {
		l.done = append(l.done, step)
	}
	if l.end != nil {
		l.end(step)
	}
}

var tinySteps = []string{"teacher", "student", "pruned", "stale", "chart.1", "chart.3", "int8", "figures.student", "figures.int8", "figures.chart.3"}

// run runs a study that must succeed, and returns what was done and results.json.
func run(t *testing.T, b engine.Backend, r *Recipe, o Options) (*report.Results, []string, string) {
	t.Helper()
	l := &log{}
	o.Progress = l
	res, paths, err := Run(t.Context(), b, r, o)
	if err != nil {
		t.Fatal(err)
	}
	text, err := os.ReadFile(paths.JSON)
	if err != nil {
		t.Fatal(err)
	}
	return res, l.done, string(text)
}

// sameFigures compares two studies in all that does not depend on the time.
func sameFigures(t *testing.T, got, want *report.Results) {
	t.Helper()
	plain := func(r *report.Results) *report.Results {
		c := *r
		c.Started, c.Seconds = time.Time{}, 0
		c.Rows = slices.Clone(c.Rows)
		for i := range c.Rows {
			c.Rows[i].ImagesPerSecond, c.Rows[i].Latency = 0, nil
		}
		c.Training = slices.Clone(c.Training)
		for i := range c.Training {
			c.Training[i].Epochs = slices.Clone(c.Training[i].Epochs)
			for j := range c.Training[i].Epochs {
				c.Training[i].Epochs[j].ImagesPerSecond = 0
			}
		}
		return &c
	}
	if a, b := plain(got), plain(want); !reflect.DeepEqual(a, b) {
		x, _ := json.MarshalIndent(a, "", " ")
		y, _ := json.MarshalIndent(b, "", " ")
		t.Errorf("the figures differ:\n%s\n%s", x, y)
	}
}

func TestStudy(t *testing.T) {
	b, dir := backend(t), filepath.Join(t.TempDir(), "out")
	whole, done, text := run(t, b, tiny(t), Options{Dir: dir, Version: "v1", Command: "study"})
	if !slices.Equal(done, tinySteps) {
		t.Fatalf("did %v", done)
	}
	checkResults(t, whole, dir)

	t.Run("again", func(t *testing.T) {
		_, done, again := run(t, b, tiny(t), Options{Dir: dir, Version: "v1", Command: "study"})
		if len(done) != 0 || again != text {
			t.Errorf("did %v again, results.json the same: %v", done, again == text)
		}
	})
	t.Run("relabeled", func(t *testing.T) {
		res, done, _ := run(t, b, tiny(t, "name: 8-bit", "name: eight bits", "mistakes: 3", "mistakes: 1"), Options{Dir: dir})
		if len(done) != 0 || res.Rows[len(res.Rows)-1].Name != "eight bits" || len(res.Mistakes) > 3 {
			t.Errorf("did %v, rows %+v", done, res.Rows)
		}
	})
	t.Run("changed", func(t *testing.T) {
		_, done, _ := run(t, b, tiny(t, "scheme: affine8", "scheme: affine8-channel"), Options{Dir: dir})
		if !slices.Equal(done, []string{"int8", "figures.int8"}) {
			t.Errorf("a new scheme redid %v", done)
		}
		_, done, _ = run(t, b, tiny(t, "temperature: 4", "temperature: 5"), Options{Dir: dir})
		if !slices.Equal(done, tinySteps[1:]) {
			t.Errorf("a new temperature redid %v", done)
		}
		_, done, _ = run(t, b, tiny(t, "mult: 0.5", "mult: 0.6"), Options{Dir: dir})
		if !slices.Equal(done, []string{"pruned"}) {
			t.Errorf("a new share redid %v", done)
		}
		if _, done, again := run(t, b, tiny(t), Options{Dir: dir, Version: "v1", Command: "study"}); len(done) != 0 || again != text {
			t.Errorf("going back redid %v", done)
		}
	})
	t.Run("damaged", func(t *testing.T) {
		files, err := filepath.Glob(filepath.Join(dir, "work", "pruned-*", "best.safetensors"))
		if err != nil || len(files) == 0 {
			t.Fatal(files, err)
		}
		for _, f := range files {
			raw, err := os.ReadFile(f)
			if err != nil {
				t.Fatal(err)
			}
			raw[len(raw)/2] ^= 1
			if err := os.WriteFile(f, raw, 0o666); err != nil {
				t.Fatal(err)
			}
		}
		res, done, _ := run(t, b, tiny(t), Options{Dir: dir, Version: "v1", Command: "study"})
		if !slices.Equal(done, []string{"pruned"}) {
			t.Errorf("did %v", done)
		}
		sameFigures(t, res, whole)
	})
	t.Run("stopped", func(t *testing.T) { testStopped(t, b, whole) })
}

// checkResults looks at what the tiny study must have come to.
func checkResults(t *testing.T, res *report.Results, dir string) {
	t.Helper()
	for _, name := range []string{"results.json", "report.md", "report.html", "chart.png", "chart.svg"} {
		if info, err := os.Stat(filepath.Join(dir, name)); err != nil || info.Size() == 0 {
			t.Errorf("%s: %v", name, err)
		}
	}
	var names []string
	for _, w := range res.Rows {
		names = append(names, w.Name)
		files, err := filepath.Glob(filepath.Join(dir, "work", w.Step+"-*", "*.safetensors"))
		if err != nil {
			t.Fatal(err)
		}
		ok := slices.ContainsFunc(files, func(f string) bool { info, err := os.Stat(f); return err == nil && info.Size() == w.Bytes })
		if !ok || w.Params == 0 || w.ValAccuracy == nil || w.ValLoss == nil {
			t.Errorf("row %+v, files %v", w, files)
		}
		if measured := w.Step == "student" || w.Step == "int8"; (w.ImagesPerSecond > 0) != measured {
			t.Errorf("%s: %v images a second", w.Name, w.ImagesPerSecond)
		}
	}
	if want := []string{"teacher", "big model", "pruned", "stale", "8-bit"}; !slices.Equal(names, want) {
		t.Errorf("rows %q, want %q", names, want)
	}
	big, pruned, int8 := res.Rows[1], res.Rows[2], res.Rows[4]
	if big.Published == nil || *big.Published.ValAccuracy != 0.7871 || big.Parent != "teacher" || big.Method != "distilled, 4 channels at first" {
		t.Errorf("row %+v", big)
	}
	if pruned.Params >= big.Params || pruned.Parent != "student" || int8.Bytes >= big.Bytes || int8.Params != big.Params {
		t.Errorf("rows %+v", res.Rows)
	}
	if len(res.Curves) != 1 || len(res.Curves[0].Points) != 3 {
		t.Fatalf("curves %+v", res.Curves)
	}
	// Base 4: widths 4 8 16 32 32 32 64 64 64; the first three and the last stay.
	p := res.Curves[0].Points
	if p[0].Round != 0 || p[0].Bytes != big.Bytes || !slices.Equal(p[2].Widths, []int{4, 8, 16, 16, 16, 16, 32, 32, 64}) {
		t.Errorf("points %+v", p)
	}
	if len(res.Training) != 4 || len(res.Training[1].Epochs) != 2 || *res.Training[0].Epochs[0].ValAccuracy != *res.Rows[0].ValAccuracy {
		t.Errorf("training %+v", res.Training)
	}
	sum := 0
	for _, row := range res.Confusions[0].Matrix {
		for _, n := range row {
			sum += n
		}
	}
	if len(res.Confusions) != 3 || sum != 40 {
		t.Errorf("%d confusion matrices, %d images in the first", len(res.Confusions), sum)
	}
	for _, m := range res.Mistakes {
		if m.True == m.Predicted || m.H != 28 || len(m.Pix) != 28*28*3 || m.File == "" {
			t.Errorf("mistake %+v", m)
		}
	}
	if len(res.Mistakes) != 9 || res.Mistakes[0].Prob < res.Mistakes[1].Prob {
		t.Errorf("%d mistakes", len(res.Mistakes))
	}
	if len(res.Checks) != 2 || !res.Checks[0].Pass || res.Checks[1].Pass {
		t.Errorf("checks %+v", res.Checks)
	}
	if res.Rows[0].Notes != "" || res.Rows[3].Notes != "as published" {
		t.Errorf("notes of %+v", res.Rows)
	}
	checkFigures(t, res, dir)
}

// checkFigures looks at the figures beside the accuracy, and at the files.
func checkFigures(t *testing.T, res *report.Results, dir string) {
	t.Helper()
	if res.Data.Test != 40 || !slices.Equal(res.Seeds, []uint64{3}) || len(res.Differences) != 0 {
		t.Errorf("%d test images, seeds %v, differences %v", res.Data.Test, res.Seeds, res.Differences)
	}
	for _, w := range res.Rows {
		if v, k := w.Validation, w.Test; v == nil || k == nil || v.N != 60 || k.N != 40 || v.Top1 != *w.ValAccuracy || k.Top1 != *w.TestAccuracy ||
			v.Loss != *w.ValLoss || k.Loss != *w.TestLoss || len(k.Classes) != 10 || k.Top5 == nil || w.MACs == 0 || w.TestSpread != nil {
			t.Errorf("row %+v", w)
		}
		if len(w.Runs) != 1 || w.Runs[0].Seed != 3 || *w.Runs[0].TestAccuracy != *w.TestAccuracy {
			t.Fatalf("runs of %s: %+v", w.Name, w.Runs)
		}
		if info, err := os.Stat(filepath.Join(dir, w.Runs[0].File)); err != nil || info.Size() != w.Bytes {
			t.Errorf("%s: the file %s: %v", w.Name, w.Runs[0].File, err)
		}
		measured := w.Step == "student" || w.Step == "int8"
		if l := w.Latency; (l != nil) != measured || measured && (l.Runs < 50 || !(l.P10 > 0 && l.P10 <= l.Median && l.Median <= l.P90)) {
			t.Errorf("%s: latency %+v", w.Name, l)
		}
		if (w.MemoryBytes > 0) != measured {
			t.Errorf("%s: %d bytes of memory", w.Name, w.MemoryBytes)
		}
	}
	if res.Confusions[0].Part != "test" {
		t.Errorf("the matrix is of %s images", res.Confusions[0].Part)
	}
}

// TestSeeds runs a study with three seeds, of which the first had been run
// before, and holds what it comes to to the seeds one by one.
func TestSeeds(t *testing.T) {
	b, dir := backend(t), t.TempDir()
	few := func() *Recipe {
		return tiny(t, "  pruned: {kind: prune, from: student, mult: 0.5, rows: [{table: Compression}]}\n", "",
			"  stale: {kind: prune, from: student, mult: 0.5, optimizer: stale, rows: [{table: Compression, notes: as published}]}\n", "",
			"rounds: [1, 3]", "rounds: [2]", "from: [student, int8, chart]", "from: [student]",
			"base: 4, rows: [{table: Distillation", "base: 4, seed: 3, rows: [{table: Distillation")
	}
	var alone []*report.Results
	for seed := range uint64(3) {
		res, _, _ := run(t, b, few(), Options{Dir: dir, Seed: new(3 + seed)})
		alone = append(alone, res)
	}
	fresh := t.TempDir()
	_, done, _ := run(t, b, few(), Options{Dir: fresh})
	if len(done) != 5 {
		t.Fatalf("did %v", done)
	}
	res, done, text := run(t, b, few(), Options{Dir: fresh, Seeds: 3})
	// The teacher names its seed, which is that of all.
	want := []string{"student, seed 4", "chart.2, seed 4", "int8, seed 4", "figures.student, seed 4",
		"student, seed 5", "chart.2, seed 5", "int8, seed 5", "figures.student, seed 5"}
	if !slices.Equal(done, want) {
		t.Errorf("did %q", done)
	}
	if !slices.Equal(res.Seeds, []uint64{3, 4, 5}) {
		t.Errorf("seeds %v", res.Seeds)
	}
	for i, w := range res.Rows {
		if w.Step == "teacher" {
			if len(w.Runs) != 1 || w.TestSpread != nil || *w.TestAccuracy != *alone[0].Rows[i].TestAccuracy {
				t.Errorf("the teacher is %+v", w)
			}
			continue
		}
		var test, val []float64
		for k, a := range alone {
			test, val = append(test, *a.Rows[i].TestAccuracy), append(val, *a.Rows[i].ValAccuracy)
			if r := w.Runs[k]; r.Seed != uint64(3+k) || *r.TestAccuracy != test[k] || *r.ValAccuracy != val[k] {
				t.Errorf("run %d of %s is %+v", k, w.Name, r)
			}
		}
		if *w.TestSpread != metrics.Spread(test) || *w.ValSpread != metrics.Spread(val) || *w.TestAccuracy != w.TestSpread.Mean {
			t.Errorf("%s: %+v and %+v of %v and %v", w.Name, w.TestSpread, w.ValSpread, test, val)
		}
	}
	if d := res.Differences; len(d) != 1 || d[0].Step != "int8" || d[0].Less != "student" || d[0].N != 3 || len(d[0].Values) != 3 ||
		d[0].Values[1] != *alone[1].Rows[2].TestAccuracy-*alone[1].Rows[1].TestAccuracy || !(d[0].Interval.Low <= d[0].Mean) {
		t.Errorf("differences %+v", d)
	}
	p := res.Curves[0].Points
	if len(p) != 2 || p[1].TestSpread == nil || p[1].TestSpread.N != 3 || p[0].Bytes != res.Rows[1].Bytes {
		t.Errorf("points %+v", p)
	}
	if c := res.Checks; len(c) != 2 || !strings.Contains(c[0].Got, "3 of 3 seeds") || !strings.Contains(c[1].Got, "0 of 3 seeds") {
		t.Errorf("checks %+v", c)
	}
	if _, done, again := run(t, b, few(), Options{Dir: fresh, Seeds: 3}); len(done) != 0 || again != text {
		t.Errorf("did %v again", done)
	}
	if _, _, err := Run(t.Context(), b, few(), Options{Dir: fresh, Seeds: -1}); err == nil || !strings.Contains(err.Error(), "1 to 100 seeds") {
		t.Errorf("error %v", err)
	}
}

// TestEarlierOutcome takes a study's outcomes their newer figures, as they were
// when an earlier version wrote them: they are measured again, and nothing is
// made anew.
func TestEarlierOutcome(t *testing.T) {
	b, dir := backend(t), t.TempDir()
	whole, _, _ := run(t, b, tiny(t), Options{Dir: dir})
	files, err := filepath.Glob(filepath.Join(dir, "work", "*", outcomeFile))
	if err != nil || len(files) != len(tinySteps) {
		t.Fatal(files, err)
	}
	for _, f := range files {
		var o map[string]any
		text, err := os.ReadFile(f)
		if err != nil || json.Unmarshal(text, &o) != nil {
			t.Fatal(f, err)
		}
		for _, key := range []string{"val", "test", "macs", "latency", "memory"} {
			delete(o, key)
		}
		if text, err = json.Marshal(o); err != nil || os.WriteFile(f, text, 0o666) != nil {
			t.Fatal(f, err)
		}
	}
	res, done, text := run(t, b, tiny(t), Options{Dir: dir})
	if len(done) != 0 {
		t.Errorf("made anew: %v", done)
	}
	sameFigures(t, res, whole)
	if _, _, again := run(t, b, tiny(t), Options{Dir: dir}); again != text {
		t.Error("the figures were measured once more")
	}
	few := tiny(t, "val: 60, test: 40", "val: 60, test: 10")
	if res, done, _ := run(t, b, few, Options{Dir: dir}); len(done) != 0 || res.Data.Test != 10 || res.Rows[0].Test.N != 10 {
		t.Errorf("with fewer test images: made %v anew, %d images", done, res.Rows[0].Test.N)
	}
}

// testStopped stops the study after its second step, then within a step's
// training, and lets it go on.
func testStopped(t *testing.T, b engine.Backend, whole *report.Results) {
	o := Options{Dir: t.TempDir(), Version: "v1", Command: "study"}
	ctx, cancel := context.WithCancel(t.Context())
	first := &log{end: func(step string) {
		if step == "student" {
			cancel()
		}
	}}
	o.Progress = first
	_, _, err := Run(ctx, b, tiny(t), o)
	var stopped *InterruptedError
	if !errors.As(err, &stopped) || !errors.Is(err, context.Canceled) || stopped.Step != "pruned" || stopped.Done != 2 || !slices.Equal(first.done, tinySteps[:2]) {
		t.Fatalf("error %v after %v", err, first.done)
	}
	ctx, cancel = context.WithCancel(t.Context())
	second := &log{advance: func(step string, done int) {
		if step == "pruned" {
			cancel()
		}
	}}
	o.Progress = second
	if _, _, err := Run(ctx, b, tiny(t), o); !errors.As(err, &stopped) || stopped.Step != "pruned" {
		t.Fatalf("error %v", err)
	}
	if files, _ := filepath.Glob(filepath.Join(o.Dir, "work", "pruned-*", "last.safetensors")); len(files) != 1 {
		t.Errorf("saved %v", files)
	}
	res, done, _ := run(t, b, tiny(t), Options{Dir: o.Dir, Version: "v1", Command: "study"})
	if !slices.Equal(done, tinySteps[2:]) {
		t.Errorf("went on with %v", done)
	}
	sameFigures(t, res, whole)
	for _, line := range slices.Concat(first.lines, second.lines) {
		if strings.HasPrefix(line, "ended") {
			t.Error(line)
		}
	}
}

func TestOverrides(t *testing.T) {
	r := tiny(t)
	o := Options{Data: "folder", Size: 24, Epochs: 7, Batch: 10, LR: 0.5, Seed: new(uint64(9))}
	c, err := r.override(o)
	if err != nil {
		t.Fatal(err)
	}
	units, err := c.plan()
	if err != nil {
		t.Fatal(err)
	}
	s := &session{r: c, o: o, units: units}
	if err := s.overrideTraining(); err != nil {
		t.Fatal(err)
	}
	if c.Data.Source != "folder" || c.Data.Size != 24 || r.Data.Size != 28 {
		t.Errorf("data %+v, before %+v", c.Data, r.Data)
	}
	for i, u := range units[:4] {
		k := u.train.Config
		if want := []int{7, 7, 1, 1}[i]; k.Epochs != want || k.Batch != 10 || k.Seed != 9 || k.Optimizer.LR != 0.5 || k.Train.Size != 24 {
			t.Errorf("%s: %+v", u.name, k)
		}
	}
	quick, err := Builtin("hw7", false)
	if err != nil {
		t.Fatal(err)
	}
	if q, err := quick.override(Options{Quick: true}); err != nil || q.Data.Source != "builtin:fashion" {
		t.Errorf("quick form: %v", err)
	}
	for want, f := range map[string]func() (*Recipe, error){
		"names no data":        func() (*Recipe, error) { return quick.override(Options{}) },
		"has no quick form":    func() (*Recipe, error) { return r.override(Options{Quick: true}) },
		"may be negative":      func() (*Recipe, error) { return r.override(Options{Epochs: -1}) },
		"recipe gives no size": func() (*Recipe, error) { return tiny(t, "  size: 28\n", "").override(Options{}) },
	} {
		if _, err := f(); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("error %v, want %q", err, want)
		}
	}
}

func TestBadSurroundings(t *testing.T) {
	b := backend(t)
	file := filepath.Join(t.TempDir(), "file")
	if err := os.WriteFile(file, nil, 0o666); err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		o    Options
		r    *Recipe
		want []string
	}{
		{Options{}, tiny(t), []string{"no output folder"}},
		{Options{Dir: filepath.Join(file, "out")}, tiny(t), []string{file, "not a directory", "choose another output folder"}},
		{Options{Dir: t.TempDir(), Data: file + "s"}, tiny(t), []string{file + "s", "no such folder"}},
		{Options{Dir: t.TempDir(), Batch: 12, LR: 1e30}, tiny(t), []string{"step teacher", "diverged"}},
		{Options{Dir: t.TempDir()}, tiny(t, "arch: cnn-dwpw\n    base: 4", "arch: cnn-group\n    base: 4"), []string{"step chart.1", "meets no BatchNorm"}},
	} {
		_, _, err := Run(t.Context(), b, c.r, c.o)
		if err == nil || strings.Contains(err.Error(), "\n") {
			t.Errorf("error %v, want one line with %q", err, c.want)
			continue
		}
		for _, w := range c.want {
			if !strings.Contains(err.Error(), w) {
				t.Errorf("error %q, want %q", err, w)
			}
		}
	}
}

// TestChecks looks at the words and the verdicts of checks at their bounds.
func TestChecks(t *testing.T) {
	r, err := Parse("r.yaml", []byte(base))
	if err != nil {
		t.Fatal(err)
	}
	s := &session{r: r}
	if s.units, err = r.plan(); err != nil {
		t.Fatal(err)
	}
	for _, u := range s.units {
		u.out, u.key = &outcome{Accuracy: 0.8, Bytes: 1000, Params: 10}, u.name
	}
	one := series{s}
	d := one.final("d")[0].out
	for _, c := range []struct {
		check string
		got   float64
		want  string
		pass  bool
	}{
		{"at_least: {of: b, points: -0.5}", 0.795, "at least 79.50 % (0.5 points below the 80.00 % of b)", true},
		{"at_least: {of: b, points: -0.5}", 0.794, "at least 79.50 % (0.5 points below the 80.00 % of b)", false},
		{"at_least: {of: b}", 0.8, "at least 80.00 % (the 80.00 % of b)", true},
		{"at_most: {of: b, share: 0.6}", 0.48, "at most 48.00 % (60 % of the 80.00 % of b)", true},
		{"at_most: {of: b, share: 0.6}", 0.49, "at most 48.00 % (60 % of the 80.00 % of b)", false},
		{"metric: bytes, at_most: {value: 999}", 0, "at most 999 bytes", false},
		{"metric: bytes, at_most: {value: 1000000}", 0, "at most 1,000,000 bytes", true},
		{"metric: params, at_least: {value: 10}", 0, "at least 10 params", true},
	} {
		changed, err := Parse("r.yaml", []byte(strings.Replace(base, "at_least: {of: b, points: -1}", c.check, 1)))
		if err != nil {
			t.Fatal(err)
		}
		r.Checks, d.Accuracy = changed.Checks, c.got
		if got := one.checks()[0]; got.Want != c.want || got.Pass != c.pass {
			t.Errorf("%s at %v: %+v, want %q, pass %v", c.check, c.got, got, c.want, c.pass)
		}
	}
}

// TestSettings resolves a step's settings over the defaults, and those over
// the study's.
func TestSettings(t *testing.T) {
	r, err := Parse("r.yaml", []byte(`study: s
data: {size: 8}
seed: 5
defaults: {epochs: 3, lr: 1e-2, schedule: {kind: cosine, warmup_epochs: 0.5}, augment: {random_resized_crop: {scale: [0.5, 1]}}}
steps:
  a: {kind: train, arch: cnn-plain, lr: 0.1, optimizer: sgd, momentum: 0.9, nesterov: true, weight_decay: 0, clip_norm: 1,
      accumulate: 2, ema: 0.9, label_smoothing: 0.1, mixup: 0.2, patience: 4, seed: 8,
      augment: {crop: true, jitter: {brightness: 0.2, hue: 0.1}, perspective: 0.3}}
  b: {kind: train, arch: cnn-plain, betas: [0.8, 0.9], eps: 1e-6}
`))
	if err != nil {
		t.Fatal(err)
	}
	units, err := r.plan()
	if err != nil {
		t.Fatal(err)
	}
	a, b := units[0].train.Config, units[1].train.Config
	if want := (train.OptimizerConfig{Kind: "sgd", LR: 0.1, Momentum: 0.9, Nesterov: true, Betas: &[2]float64{0.9, 0.999}, Eps: new(1e-8)}); !reflect.DeepEqual(a.Optimizer, want) {
		t.Errorf("a: %+v", a.Optimizer)
	}
	if want := (train.OptimizerConfig{Kind: "adamw", LR: 0.01, WeightDecay: 0.01, Betas: &[2]float64{0.8, 0.9}, Eps: new(1e-6)}); !reflect.DeepEqual(b.Optimizer, want) {
		t.Errorf("b: %+v", b.Optimizer)
	}
	if a.Schedule.Kind != "cosine" || a.Schedule.WarmupEpochs != 0.5 || a.Epochs != 3 || a.Seed != 8 || b.Seed != 5 || !a.Shuffle {
		t.Errorf("a: %+v", a)
	}
	if a.ClipNorm != 1 || a.Accumulate != 2 || a.EMA != 0.9 || a.LabelSmoothing != 0.1 || a.MixupAlpha != 0.2 || a.Patience != 4 {
		t.Errorf("a: %+v", a)
	}
	if a.Train.Jitter == nil || a.Train.Jitter.Hue != 0.1 || a.Train.Perspective != 0.3 || a.Train.RandomResizedCrop != nil {
		t.Errorf("a: %+v", a.Train)
	}
	if c := b.Train.RandomResizedCrop; c == nil || c.Scale != [2]float64{0.5, 1} || c.Ratio != [2]float64{3.0 / 4, 4.0 / 3} {
		t.Errorf("b: %+v", b.Train)
	}
}
