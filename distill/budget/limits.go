// Package budget says what a network costs, before it is written or trained: the exact
// bytes of its file, its parameters, its multiply-adds, the memory that it needs, and
// its time by a table of measurements on this machine; and holds that to limits.
package budget

import (
	"errors"
	"fmt"
	"math"
	"strconv"
	"strings"
)

// Limits are what a network may cost; a zero is no limit.
type Limits struct {
	Bytes  int64   `json:"bytes,omitempty"`  // of the file
	Params int64   `json:"params,omitempty"` // trained numbers, of whatever size
	MACs   int64   `json:"macs,omitempty"`   // multiply-adds of one image
	RAM    int64   `json:"ram,omitempty"`    // bytes, as Cost.RAM
	MS     float64 `json:"ms,omitempty"`     // milliseconds of a batch
	Batch  int     `json:"batch,omitempty"`  // of MS: images at a time
}

// A Cost is what a network costs, in the units of Limits.
type Cost struct {
	Bytes  int64 `json:"bytes"`
	Params int64 `json:"params"`
	MACs   int64 `json:"macs"`
	// RAM is the memory for what lies between the layers of a program for one image,
	// as the planner places it, with the kernels' scratch and without weights; 0
	// where it was not asked for, like MS.
	RAM int64   `json:"ram,omitempty"`
	MS  float64 `json:"ms,omitempty"`
}

// Parse reads limits, one or several in each text: "98496B" or "96KB" of the file,
// "0.5ms@1" for a batch of one image (of one, if it is left out), "2M params",
// "20M macs", "96KB ram", separated by commas. A KB is 1000 bytes, a KiB 1024. Two
// limits of one kind are an error.
func Parse(texts ...string) (Limits, error) {
	var l Limits
	for _, text := range texts {
		for one := range strings.SplitSeq(text, ",") {
			if err := l.add(strings.TrimSpace(one)); err != nil {
				return Limits{}, err
			}
		}
	}
	return l, nil
}

// add reads one limit.
func (l *Limits) add(text string) error {
	lower := strings.ToLower(text)
	set := func(to *int64, kind, number string, read func(string) (int64, error)) error {
		if *to != 0 {
			return fmt.Errorf("%q is a second limit of %s; give one", text, kind)
		}
		n, err := read(strings.TrimSpace(number))
		if err != nil {
			return unclear(text)
		}
		*to = n
		return nil
	}
	for _, x := range []struct {
		suffix string
		to     *int64
		read   func(string) (int64, error)
	}{{"params", &l.Params, parseCount}, {"macs", &l.MACs, parseCount}, {"ram", &l.RAM, ParseBytes}} {
		if number, ok := strings.CutSuffix(lower, x.suffix); ok {
			return set(x.to, x.suffix, number, x.read)
		}
	}
	if number, batch, at := strings.Cut(lower, "@"); at || strings.HasSuffix(lower, "s") {
		return l.addTime(text, number, batch, at)
	}
	if !strings.HasSuffix(lower, "b") {
		return unclear(text)
	}
	return set(&l.Bytes, "bytes", lower, ParseBytes)
}

func (l *Limits) addTime(text, number, batch string, at bool) error {
	if l.MS != 0 {
		return fmt.Errorf("%q is a second limit of time; give one", text)
	}
	l.Batch = 1
	if at {
		n, err := strconv.Atoi(strings.TrimSpace(batch))
		if err != nil || n < 1 || n > 1<<16 {
			return fmt.Errorf("%q: %q is no number of images; give a batch as in 0.5ms@1", text, batch)
		}
		l.Batch = n
	}
	number = strings.TrimSpace(number)
	for _, u := range []struct {
		name string
		ms   float64
	}{{"ms", 1}, {"us", 1e-3}, {"µs", 1e-3}, {"s", 1e3}} {
		if rest, ok := strings.CutSuffix(number, u.name); ok {
			v, err := strconv.ParseFloat(strings.TrimSpace(rest), 64)
			if v *= u.ms; err == nil && v > 0 && !math.IsInf(v, 0) {
				l.MS = v
				return nil
			}
			break
		}
	}
	return unclear(text)
}

func unclear(text string) error {
	return fmt.Errorf("%q is no budget; give one as 98496B, 96KB, 0.5ms@1, 2M params, 20M macs or 96KB ram", text)
}

// errSize is what a number that cannot be read comes to.
var errSize = errors.New("it is no number from 1 to 2⁵⁰")

// parseCount reads a number, as 2000000, 2M or 77.7k.
func parseCount(text string) (int64, error) {
	return scaled(text, []unit{{"K", 1e3}, {"M", 1e6}, {"G", 1e9}})
}

// ParseBytes reads a number of bytes, as 98496, 98496B, 96KB or 1.5MiB, upper or lower
// case; a KB is 1000. The letters K, M, G and T alone are as much.
func ParseBytes(text string) (int64, error) {
	n, err := scaled(text, []unit{
		{"KIB", 1 << 10}, {"MIB", 1 << 20}, {"GIB", 1 << 30}, {"TIB", 1 << 40},
		{"KB", 1e3}, {"MB", 1e6}, {"GB", 1e9}, {"TB", 1e12}, {"K", 1e3}, {"M", 1e6}, {"G", 1e9}, {"T", 1e12}, {"B", 1},
	})
	if err != nil {
		return 0, fmt.Errorf("%q is no number of bytes; give one as 98496B or 96KB", text)
	}
	return n, nil
}

type unit struct {
	name string // in capitals
	n    float64
}

// scaled reads a number with one of the units, or without.
func scaled(text string, units []unit) (int64, error) {
	t, factor := strings.ToUpper(strings.TrimSpace(text)), 1.0
	for _, u := range units {
		if rest, ok := strings.CutSuffix(t, u.name); ok {
			t, factor = strings.TrimSpace(rest), u.n
			break
		}
	}
	v, err := strconv.ParseFloat(t, 64)
	if err != nil || !(v*factor >= 1) || v*factor > 1<<50 {
		return 0, errSize
	}
	return int64(math.Round(v * factor)), nil
}

// String returns the limits as Parse reads them, "" for none.
func (l Limits) String() string {
	var parts []string
	add := func(n int64, unit string) {
		if n > 0 {
			parts = append(parts, strconv.FormatInt(n, 10)+unit)
		}
	}
	add(l.Bytes, "B")
	if l.MS > 0 {
		parts = append(parts, fmt.Sprintf("%sms@%d", strconv.FormatFloat(l.MS, 'g', -1, 64), max(l.Batch, 1)))
	}
	add(l.Params, " params")
	add(l.MACs, " macs")
	add(l.RAM, "B ram")
	return strings.Join(parts, ", ")
}

// Any reports whether there is a limit.
func (l Limits) Any() bool { return l.String() != "" }

// Met reports whether a cost is within all limits.
func (l Limits) Met(c Cost) bool { return l.Excess(c) <= 1 }

// Excess returns the largest ratio of a cost to its limit: 1 or less if all are met,
// and 0 if there are none.
func (l Limits) Excess(c Cost) float64 {
	worst := 0.0
	for _, x := range [][2]float64{
		{float64(c.Bytes), float64(l.Bytes)}, {float64(c.Params), float64(l.Params)}, {float64(c.MACs), float64(l.MACs)},
		{float64(c.RAM), float64(l.RAM)}, {c.MS, l.MS},
	} {
		if x[1] > 0 {
			worst = max(worst, x[0]/x[1])
		}
	}
	return worst
}
