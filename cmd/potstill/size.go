package main

import (
	"fmt"
	"math"
	"strconv"
	"strings"
	"time"

	"github.com/potstill/potstill/distill/budget"
)

// byteSize is a number of bytes, as in 500MB, 2GiB or none.
type byteSize int64

// UnmarshalText implements encoding.TextUnmarshaler.
func (s *byteSize) UnmarshalText(text []byte) error {
	switch string(text) {
	case "none":
		*s = math.MaxInt64
		return nil
	case "0":
		*s = 0
		return nil
	}
	n, err := budget.ParseBytes(string(text))
	if err != nil {
		return fmt.Errorf("%q is no size: give one as in 500MB, 16GB or 2GiB, or none", text)
	}
	*s = byteSize(n)
	return nil
}

// age is a time as in 30d, 2w or 12h.
type age time.Duration

// UnmarshalText implements encoding.TextUnmarshaler.
func (a *age) UnmarshalText(text []byte) error {
	number, unit := split(string(text))
	days, ok := map[string]float64{"d": 1, "w": 7}[unit]
	x, err := strconv.ParseFloat(number, 64)
	d := time.Duration(x * days * 24 * float64(time.Hour))
	if !ok {
		d, err = time.ParseDuration(string(text))
	}
	if err != nil || d < 0 || x*days > 36500 {
		return fmt.Errorf("%q is no time: give one as in 30d, 2w or 12h", text)
	}
	*a = age(d)
	return nil
}

// split parts a number from the unit behind it.
func split(s string) (number, unit string) {
	i := strings.LastIndexAny(s, "0123456789.") + 1
	return s[:i], strings.TrimSpace(s[i:])
}

// ago tells how long ago a time was, roughly.
func ago(t time.Time) string {
	d := time.Since(t)
	for _, u := range []struct {
		of   time.Duration
		name string
	}{{24 * time.Hour, "day"}, {time.Hour, "hour"}, {time.Minute, "minute"}} {
		switch n := int(d / u.of); {
		case n == 1:
			return "1 " + u.name + " ago"
		case n > 1:
			return fmt.Sprintf("%d %ss ago", n, u.name)
		}
	}
	return "just now"
}
