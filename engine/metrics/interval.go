package metrics

import (
	"encoding/json"
	"math"
)

// An Interval is a range of shares. Its JSON form is a list of two numbers.
type Interval struct{ Low, High float64 }

// MarshalJSON implements json.Marshaler.
func (i Interval) MarshalJSON() ([]byte, error) { return json.Marshal([2]float64{i.Low, i.High}) }

// UnmarshalJSON implements json.Unmarshaler.
func (i *Interval) UnmarshalJSON(text []byte) error {
	var pair [2]float64
	if err := json.Unmarshal(text, &pair); err != nil {
		return err
	}
	i.Low, i.High = pair[0], pair[1]
	return nil
}

// z95 is the 0.975 quantile of the standard normal distribution.
const z95 = 1.959963984540054

// Wilson returns the 95 % confidence interval of a share that was measured on n
// samples (E. B. Wilson, "Probable inference, the law of succession, and
// statistical inference", JASA 22, 1927):
//
//	(p + z²/2n ± z·√(p(1-p)/n + z²/4n²)) / (1 + z²/n),  z = 1.96
//
// It says how far the share may be from that of all the samples there could be;
// what another run of the same training would give, it does not say. Without
// samples it is all of [0, 1].
func Wilson(share float64, n int) Interval {
	if n < 1 {
		return Interval{0, 1}
	}
	z2 := z95 * z95 / float64(n)
	center := share + z2/2
	half := z95 * math.Sqrt(share*(1-share)/float64(n)+z2/4/float64(n))
	return Interval{max(0, (center-half)/(1+z2)), min(1, (center+half)/(1+z2))}
}
