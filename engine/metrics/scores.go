package metrics

import (
	"fmt"
	"math"
)

// TopK is how many classes the top-5 accuracy looks at.
const TopK = 5

// Bins is the number of bins of the calibration error, as in Guo et al.
const Bins = 15

// Scores adds up how images were classified. The zero value is not usable: see
// [New].
type Scores struct {
	classes   int
	n         int
	top5      int
	loss      float64
	confusion [][]int // [true][predicted]
	bins      [Bins]bin
}

// A bin holds the images whose confidence lies in one part of (0, 1].
type bin struct {
	n, right   int
	confidence float64 // the sum
}

// New returns scores of nets with so many classes.
func New(classes int) *Scores {
	s := &Scores{classes: classes, confusion: make([][]int, classes)}
	for i := range s.confusion {
		s.confusion[i] = make([]int, classes)
	}
	return s
}

// Add counts one image of class label by its logits. The class that it was
// taken for is the first of the largest logits.
func (s *Scores) Add(logits []float32, label int) error {
	if len(logits) != s.classes || label < 0 || label >= s.classes {
		return fmt.Errorf("metrics: %d logits and class %d, for a net of %d classes", len(logits), label, s.classes)
	}
	class, p := Confidence(logits)
	s.n++
	s.confusion[label][class]++
	s.loss += nll(logits, label)
	if rank(logits, label) < TopK {
		s.top5++
	}
	b := &s.bins[min(max(int(math.Ceil(p*Bins))-1, 0), Bins-1)]
	b.n++
	b.confidence += p
	if class == label {
		b.right++
	}
	return nil
}

// Confidence returns the class of the largest logit, the first of several, and
// its probability, the softmax.
func Confidence(logits []float32) (class int, prob float64) {
	for i, v := range logits {
		if v > logits[class] {
			class = i
		}
	}
	sum := 0.0
	for _, v := range logits {
		sum += math.Exp(float64(v) - float64(logits[class]))
	}
	return class, 1 / sum
}

// rank counts the classes that come before k: with a larger logit, or the same
// and a smaller number.
func rank(logits []float32, k int) int {
	n := 0
	for i, v := range logits {
		if v > logits[k] || v == logits[k] && i < k {
			n++
		}
	}
	return n
}

// nll is -log softmax(x)[k].
func nll(x []float32, k int) float64 {
	top := math.Inf(-1)
	for _, v := range x {
		top = max(top, float64(v)) // NaN if any is
	}
	sum := 0.0
	for _, v := range x {
		sum += math.Exp(float64(v) - top)
	}
	return math.Log(sum) + top - float64(x[k])
}

// Figures are what [Scores] come to. Shares are in [0, 1]. The names of the JSON
// fields are an interface.
type Figures struct {
	N int `json:"n"` // images
	// Top1 is the share classified right, and Interval its 95 % confidence
	// interval: see [Wilson].
	Top1     float64  `json:"top1"`
	Interval Interval `json:"top1_interval"`
	// Top5 is the share whose class is among the five of the largest logits;
	// nil where there are no more than five classes.
	Top5 *float64 `json:"top5,omitempty"`
	// Loss is the mean cross-entropy, in nats.
	Loss float64 `json:"loss"`
	// MacroF1 is the mean of the classes' F1, over the classes that occur, as
	// true or as predicted ones.
	MacroF1 float64 `json:"macro_f1"`
	// ECE is the expected calibration error (C. Guo, G. Pleiss, Y. Sun and K. Q.
	// Weinberger, "On calibration of modern neural networks", ICML 2017): with
	// the images in 15 bins of equal width by the probability of the class that
	// they were taken for, Σ n_b/n · |accuracy_b - mean probability_b|.
	ECE     float64 `json:"ece"`
	Classes []Class `json:"classes,omitempty"`
	// Confusion counts images, [true][predicted].
	Confusion [][]int `json:"confusion,omitempty"`
}

// A Class is how one class did. A figure that is not defined is nil.
type Class struct {
	N         int      `json:"n"`                   // images that belong to it
	Precision *float64 `json:"precision,omitempty"` // of those taken for it, the share that belong to it
	Recall    *float64 `json:"recall,omitempty"`    // of those that belong to it, the share taken for it
	F1        *float64 `json:"f1,omitempty"`        // 2·right/(taken for it + belong to it)
}

// Figures returns the figures of the images so far. Without any, shares and
// loss are NaN.
func (s *Scores) Figures() Figures {
	n := float64(s.n)
	f := Figures{N: s.n, Loss: s.loss / n, Confusion: s.confusion}
	right := 0
	for i := range s.confusion {
		right += s.confusion[i][i]
	}
	f.Top1 = float64(right) / n
	f.Interval = Wilson(f.Top1, s.n)
	if s.classes > TopK {
		f.Top5 = new(float64(s.top5) / n)
	}
	f.Classes = Classes(s.confusion)
	sum, occur := 0.0, 0
	for _, c := range f.Classes {
		if c.F1 != nil {
			sum, occur = sum+*c.F1, occur+1
		}
	}
	f.MacroF1 = sum / float64(occur)
	for _, b := range s.bins {
		f.ECE += math.Abs(float64(b.right)-b.confidence) / n
	}
	return f
}

// Classes returns the figures of every class of a confusion matrix,
// [true][predicted].
func Classes(confusion [][]int) []Class {
	var out []Class
	for i, row := range confusion {
		c, taken, right := Class{}, 0, row[i]
		for j, n := range row {
			c.N += n
			taken += confusion[j][i]
		}
		share := func(of, times int) *float64 {
			if of == 0 {
				return nil
			}
			return new(float64(times*right) / float64(of))
		}
		c.Precision, c.Recall, c.F1 = share(taken, 1), share(c.N, 1), share(taken+c.N, 2)
		out = append(out, c)
	}
	return out
}
