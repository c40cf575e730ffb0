// Command gpu is what scripts/gpu.sh runs on a machine with a card: it takes no
// longer than it is told, keeps three files that are whole after every part,
// and prints little, the verdicts last.
package main

import (
	"context"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"path/filepath"
	"strings"
	"syscall"
	"time"
)

func main() {
	var v visit
	flag.StringVar(&v.bin, "bin", "bin/gpu", "folder of potstill and gpu.test")
	flag.StringVar(&v.scripts, "scripts", "scripts", "folder of bench_gpu.py")
	flag.StringVar(&v.out, "out", "", "folder of summary.txt, results.json and logs.txt")
	flag.StringVar(&v.python, "python", "python3", "a Python with PyTorch for CUDA")
	flag.DurationVar(&v.limit, "limit", 8*time.Minute, "how long all parts may take together")
	flag.BoolVar(&v.rehearsal, "rehearsal", false, "small shapes, for the stand-ins")
	flag.Usage = func() {
		fmt.Fprintf(flag.CommandLine.Output(), "usage: gpu [flags] [part...]\nparts: %s\n", strings.Join(partNames(), " "))
		flag.PrintDefaults()
	}
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	ok, err := v.run(ctx, flag.Args())
	if err != nil {
		fmt.Fprintln(os.Stderr, "gpu:", err)
		os.Exit(2)
	}
	if !ok {
		os.Exit(1)
	}
}

// A visit is one call: its settings, and what has come of it so far.
type visit struct {
	bin, scripts, out, python string
	limit                     time.Duration
	rehearsal                 bool

	begin time.Time
	log   *os.File
	done  []result
}

// run runs the named parts, or all, in their order. It reports whether none of
// them failed.
func (v *visit) run(ctx context.Context, names []string) (ok bool, err error) {
	chosen, err := choose(names)
	if err != nil {
		return false, err
	}
	for _, f := range []string{"potstill", "gpu.test"} {
		if _, err := os.Stat(filepath.Join(v.bin, f)); err != nil {
			return false, fmt.Errorf("%w: run scripts/gpu.sh build where there is Go", err)
		}
	}
	if v.out == "" {
		v.out = filepath.Join(v.bin, "out")
	}
	if err := os.MkdirAll(v.out, 0o755); err != nil {
		return false, err
	}
	if v.log, err = os.Create(filepath.Join(v.out, "logs.txt")); err != nil {
		return false, err
	}
	defer v.log.Close()
	v.begin = time.Now()
	ctx, cancel := context.WithTimeout(ctx, v.limit)
	defer cancel()
	for _, p := range chosen {
		v.done = append(v.done, v.part(ctx, p))
		if err := v.write(); err != nil {
			return false, err
		}
	}
	fmt.Print(cut(v.summary(), printed))
	for _, r := range v.done {
		if r.Verdict == failed {
			return false, nil
		}
	}
	return true, nil
}
