package layers

import (
	"fmt"
	"math"
	"strconv"
	"strings"
)

// The values of a weight_init beside "", PyTorch's default of ±1/√fan_in. For a
// weight [O,I,KH,KW] fan_in is I·KH·KW and fan_out is O·KH·KW, for one [O,I]
// they are I and O.
const (
	// KaimingNormalFanOut starts a weight normal with mean 0 and variance
	// 2/fan_out, torchvision's choice for ResNet (He et al., arXiv:1502.01852).
	KaimingNormalFanOut = "kaiming_normal_fan_out"
	// KaimingNormalFanIn has variance 2/fan_in.
	KaimingNormalFanIn = "kaiming_normal_fan_in"
	// KaimingUniformFanIn is uniform with variance 2/fan_in: ±√(6/fan_in).
	KaimingUniformFanIn = "kaiming_uniform_fan_in"
	// KaimingUniformFanOutSigmoid is uniform with variance 1/fan_out:
	// ±√(3/fan_out), torchvision's choice for the last layer of MNASNet.
	KaimingUniformFanOutSigmoid = "kaiming_uniform_fan_out_sigmoid"
	// UniformFanOut is uniform in ±1/√fan_out, torchvision's choice for the last
	// layer of EfficientNet.
	UniformFanOut = "uniform_fan_out"
	// HeNormal is Keras's he_normal: normal with variance 2/fan_in, of which
	// what is beyond two standard deviations is drawn again.
	HeNormal = "he_normal"
	// normalPrefix before a standard deviation is a normal distribution with
	// mean 0, as "normal_0.01".
	normalPrefix = "normal_"
)

// Zeros is the value of a bias_init that starts a bias at 0; "" is PyTorch's
// default of ±1/√fan_in.
const Zeros = "zeros"

// NormalInit returns the weight_init for a normal distribution with mean 0 and
// the given standard deviation.
func NormalInit(std float64) string {
	return normalPrefix + strconv.FormatFloat(std, 'g', -1, 64)
}

// weightInit returns what a weight_init means for a weight of these fans.
func weightInit(name string, fanIn, fanOut int) (Init, error) {
	in, out := float64(fanIn), float64(fanOut)
	switch name {
	case "":
		return Uniform(1 / math.Sqrt(in)), nil
	case KaimingNormalFanOut:
		return Normal(math.Sqrt(2 / out)), nil
	case KaimingNormalFanIn:
		return Normal(math.Sqrt(2 / in)), nil
	case KaimingUniformFanIn:
		return Uniform(math.Sqrt(6 / in)), nil
	case KaimingUniformFanOutSigmoid:
		return Uniform(math.Sqrt(3 / out)), nil
	case UniformFanOut:
		return Uniform(1 / math.Sqrt(out)), nil
	case HeNormal:
		return TruncatedNormal(math.Sqrt(2 / in)), nil
	}
	if text, ok := strings.CutPrefix(name, normalPrefix); ok {
		if std, err := strconv.ParseFloat(text, 64); err == nil && std > 0 && std <= 1 {
			return Normal(std), nil
		}
	}
	return Init{}, fmt.Errorf("unknown weight_init %s; leave it out, or use %s", short(name), strings.Join([]string{
		KaimingNormalFanOut, KaimingNormalFanIn, KaimingUniformFanIn, KaimingUniformFanOutSigmoid, UniformFanOut, HeNormal,
		"or " + NormalInit(0.01) + " with a standard deviation up to 1"}, ", "))
}

// checkInits reports settings of weights and biases that are not known.
func checkInits(weight, bias string) error {
	if _, err := weightInit(weight, 1, 1); err != nil {
		return err
	}
	if bias != "" && bias != Zeros {
		return fmt.Errorf("unknown bias_init %s; leave it out, or use %s", short(bias), Zeros)
	}
	return nil
}

// starts returns how a weight of these fans and its bias start, for settings
// that checkInits has accepted.
func starts(weight, bias string, fanIn, fanOut int) (w, b Init) {
	w, _ = weightInit(weight, fanIn, fanOut)
	if bias == "" {
		b = Uniform(1 / math.Sqrt(float64(fanIn)))
	}
	return w, b
}
