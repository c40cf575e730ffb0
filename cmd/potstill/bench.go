package main

import (
	"context"
	"slices"
	"time"
)

// benchCmd is potstill bench.
type benchCmd struct {
	Train   benchTrainCmd   `cmd:"" help:"Images a second of training, of inference, and of distillation."`
	Kernels benchKernelsCmd `cmd:"" help:"Every operator at every shape of the study's nets."`
	Model   benchModelCmd   `cmd:"" help:"How long a model takes: percentiles, at a batch and a size."`
	Step    benchStepCmd    `cmd:"" help:"One step on given weights and images, to compare with another tool."`
}

// benchFlags are common to train and kernels.
type benchFlags struct {
	Arch    []string      `default:"cnn-dwpw,cnn-plain,cnn-group,resnet18" help:"Families of nets, or YAML files of nets; operators is a net of those that the study's nets lack."`
	Base    int           `placeholder:"N" help:"Base width of every net, if not its family's own."`
	Size    int           `default:"128" help:"Height and width of the images."`
	Batch   int           `default:"32" help:"Images a step."`
	Classes int           `default:"11" help:"Classes."`
	Time    time.Duration `default:"1s" help:"How long each measurement takes at least."`
	precisionFlag
	deviceFlags
	jsonFlag
}

// measure runs f often enough to fill the time, at least three times after one
// to warm up, and returns the median.
func measure(ctx context.Context, atLeast time.Duration, f func() error) (time.Duration, error) {
	var times []time.Duration
	if err := f(); err != nil {
		return 0, err
	}
	for begin := time.Now(); len(times) < 3 || time.Since(begin) < atLeast; {
		if err := canceled(ctx, "the measurement was stopped"); err != nil {
			return 0, err
		}
		t := time.Now()
		if err := f(); err != nil {
			return 0, err
		}
		times = append(times, time.Since(t))
	}
	return median(times), nil
}

// measureMean runs f often enough to fill the time after warming up, and returns the
// mean: for what is made ahead, whose single calls say nothing.
func measureMean(ctx context.Context, atLeast time.Duration, f func() error) (time.Duration, error) {
	const warm = 16 // batches made ahead are used up by then
	var begin time.Time
	for n := 0; ; n++ {
		if n == warm {
			begin = time.Now()
		}
		if d := time.Since(begin); n > warm && d >= atLeast {
			return d / time.Duration(n-warm), nil
		}
		if err := canceled(ctx, "the measurement was stopped"); err != nil {
			return 0, err
		}
		if err := f(); err != nil {
			return 0, err
		}
	}
}

// median sorts a copy of times.
func median(times []time.Duration) time.Duration {
	s := slices.Clone(times)
	slices.Sort(s)
	return s[len(s)/2]
}
