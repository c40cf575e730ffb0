// Package observe finds the range of a tensor's values that its integers are to
// cover, and the scale and zero point of that range.
//
//	minmax      the least and the greatest value
//	moving      a moving average of the least and greatest values of each batch
//	percentile  the range that holds all but a small share of the values
//	entropy     the range whose integers lose the least information
//	mse         the range whose integers have the least squared error
//
// Scale, zero point and the first four observers are held bit for bit to those
// of ONNX Runtime 1.32 (onnxruntime.quantization), which computes in float32
// where NumPy does; entropy to the same bin of the histogram.
package observe

import (
	"fmt"
	"slices"
)

// An Observer sees the values of one tensor, batch by batch, and tells their
// range. It is not safe for concurrent use.
type Observer interface {
	// Add takes the values of a batch into account. A value that is not finite is
	// an error, and leaves the observer as it is. So is a batch without values.
	Add(values []float32) error
	// Range returns the range found. It is an error if there were no values.
	Range() (lo, hi float32, err error)
}

// Names are the observers that New makes.
func Names() []string { return []string{"minmax", "moving", "percentile", "entropy", "mse"} }

// Options are the settings of observers. The zero value stands for the defaults.
type Options struct {
	// Symmetric asks for a range [-a, a].
	Symmetric bool
	// Percentile is the percentage of values that lie in the range of percentile;
	// 0 means 99.999.
	Percentile float64
	// Average is the weight of a batch in the moving average; 0 means 0.01.
	Average float32
	// Bins is the number of bins that histograms have at first; 0 means 2048.
	Bins int
	// Levels is the number of integers: 0 means 256. (Entropy merges bins to 128
	// levels whatever it is, as ONNX Runtime does.)
	Levels int
}

// New returns an observer of the given name.
func New(name string, o Options) (Observer, error) {
	if o.Percentile == 0 {
		o.Percentile = 99.999
	}
	if o.Average == 0 {
		o.Average = 0.01
	}
	if o.Bins == 0 {
		o.Bins = 2048
	}
	if o.Levels == 0 {
		o.Levels = 256
	}
	switch {
	case !(o.Percentile > 50 && o.Percentile <= 100):
		return nil, fmt.Errorf("a percentile of %g; give one above 50, at most 100", o.Percentile)
	case !(o.Average > 0 && o.Average <= 1):
		return nil, fmt.Errorf("a moving average that gives a batch the weight %g; give one above 0, at most 1", o.Average)
	case o.Bins < entropyLevels || o.Bins > maxBins || o.Bins%2 != 0:
		return nil, fmt.Errorf("a histogram of %d bins; give an even number from %d to %d", o.Bins, entropyLevels, maxBins)
	case o.Levels < 3 || o.Levels > 1<<16:
		return nil, fmt.Errorf("%d levels; give a number from 3 to 65536", o.Levels)
	}
	switch name {
	case "minmax":
		return &minMax{o: o}, nil
	case "moving":
		return &minMax{o: o, moving: true}, nil
	case "percentile":
		if o.Symmetric {
			return &magnitudes{o: o}, nil
		}
		return &percentile{o: o, h: histogram{bins: o.Bins}}, nil
	case "entropy":
		return &entropy{o: o, h: histogram{bins: o.Bins}}, nil
	case "mse":
		return &mse{o: o, h: histogram{bins: o.Bins}}, nil
	}
	return nil, fmt.Errorf("there is no observer %q; choose one of %q", name, Names())
}

// errNone is the error of a range of nothing.
var errNone = fmt.Errorf("no values were observed")

// ends returns the least and the greatest of values, which must be finite.
func ends(values []float32) (lo, hi float32, err error) {
	if len(values) == 0 {
		return 0, 0, errNone
	}
	// v-v is 0 for a finite v, NaN for others.
	if i := slices.IndexFunc(values, func(v float32) bool { return v-v != 0 }); i >= 0 {
		return 0, 0, fmt.Errorf("a value is %g; ranges are of finite ones", values[i])
	}
	return slices.Min(values), slices.Max(values), nil
}

// symmetric widens a range to [-a, a].
func symmetric(lo, hi float32) (float32, float32) {
	a := max(lo, -lo, hi, -hi)
	return -a, a
}
