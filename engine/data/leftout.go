package data

import (
	"cmp"
	"fmt"
	"log/slog"
	"maps"
	"path"
	"slices"
	"strings"
)

// LeftOut says how many files of a source are not in a dataset for one reason.
type LeftOut struct {
	Why   string         `json:"why"`             // as in "hidden"
	N     int            `json:"n"`               // how many files
	First string         `json:"first"`           // the name of the first
	Error string         `json:"error,omitempty"` // what is wrong with it, if anything is
	Kinds map[string]int `json:"kinds,omitempty"` // how many of each extension, for those that are left out by it
}

// The reasons, as they go on after a number or after "files:".
const (
	whyUndecoded = "that cannot be decoded"
	whyEmpty     = "empty"
	whyTooLarge  = "too large to be read"
	whyUnlabeled = "without a label"
	whyTest      = "in a test part without labels"
	whyOutside   = "outside of training, validation and testing"
	whyUnread    = "in formats that are not read"
	whyLoop      = "linked to a folder above"
	whyBroken    = "linked to nothing"
	whySpecial   = "that are links, devices or other special files"
	whyDeep      = "below more than 16 folders"
	whyClimbing  = "with names that lead out of the archive"
	whyKind      = "of other kinds"
	whyHidden    = "hidden"
)

// reasons are all of them, in the order in which they are told: worst first.
var reasons = []string{
	whyUndecoded, whyEmpty, whyTooLarge, whyUnlabeled, whyTest, whyOutside, whyUnread, whyLoop, whyBroken, whySpecial, whyDeep, whyClimbing,
	whyKind, whyHidden,
}

// order sorts by the reasons.
func order(left []LeftOut) {
	slices.SortStableFunc(left, func(a, b LeftOut) int {
		return cmp.Compare(slices.Index(reasons, a.Why), slices.Index(reasons, b.Why))
	})
}

// String is a part of a sentence: "24 of other kinds (.bmp 12, .txt 12)".
func (l LeftOut) String() string {
	return fmt.Sprintf("%d %s", l.N, l.reason())
}

// reason is why, with what there is to say of it.
func (l LeftOut) reason() string {
	s := l.Why
	switch {
	case len(l.Kinds) > 0:
		kinds := slices.SortedFunc(maps.Keys(l.Kinds), func(a, b string) int {
			return cmp.Or(cmp.Compare(l.Kinds[b], l.Kinds[a]), cmp.Compare(a, b))
		})
		for i, k := range kinds {
			kinds[i] = fmt.Sprintf("%s %d", k, l.Kinds[k])
		}
		const most = 8
		if n := len(kinds); n > most {
			kinds = append(kinds[:most], fmt.Sprintf("and %d other extensions", n-most))
		}
		return s + " (" + strings.Join(kinds, ", ") + ")"
	case l.Error != "" && l.N > 1:
		return fmt.Sprintf("%s (the first is %s: %s)", s, l.First, l.Error)
	case l.Error != "":
		return fmt.Sprintf("%s (%s: %s)", s, l.First, l.Error)
	case l.Why == whyHidden || l.First == "":
		return s
	case l.N > 1:
		return fmt.Sprintf("%s (the first is %s)", s, l.First)
	}
	return fmt.Sprintf("%s (%s)", s, l.First)
}

// harmless reports that no picture is lost by it.
func (l LeftOut) harmless() bool { return l.Why == whyHidden || l.Why == whyKind }

// Summarize tells in one line what is left out, the worst first: "left out 25
// files: 24 of other kinds (.bmp 12, .txt 12), 1 hidden". It is "" where nothing
// is.
func Summarize(left []LeftOut) string {
	if len(left) == 0 {
		return ""
	}
	left = slices.Clone(left)
	order(left)
	n := 0
	parts := make([]string, len(left))
	for i, l := range left {
		n += l.N
		parts[i] = l.String()
	}
	files := "files"
	if n == 1 {
		files = "file"
	}
	if len(left) == 1 {
		parts[0] = left[0].reason()
	}
	return fmt.Sprintf("left out %d %s: %s", n, files, strings.Join(parts, ", "))
}

// LogLeftOut logs the summary, as a warning if pictures are lost. A nil logger is silent.
func LogLeftOut(log *slog.Logger, spec string, left []LeftOut) {
	if log == nil || len(left) == 0 {
		return
	}
	line := spec + ": " + Summarize(left)
	if slices.ContainsFunc(left, func(l LeftOut) bool { return !l.harmless() }) {
		log.Warn(line)
	} else {
		log.Info(line)
	}
}

// leftOut counts what is left out, reason by reason.
type leftOut []LeftOut

// of returns the entry of a reason, which it adds if need be.
func (l *leftOut) of(why, first string) *LeftOut {
	for i := range *l {
		if (*l)[i].Why == why {
			return &(*l)[i]
		}
	}
	*l = append(*l, LeftOut{Why: why, First: first})
	return &(*l)[len(*l)-1]
}

func (l *leftOut) add(why, file string) { l.of(why, file).N++ }

// addError counts a file that something is wrong with.
func (l *leftOut) addError(why, file, text string) {
	e := l.of(why, file)
	if e.N++; e.N == 1 {
		e.Error = text
	}
}

// addKind counts a file that is left out by its extension.
func (l *leftOut) addKind(file string) {
	ext := strings.ToLower(path.Ext(file))
	why := whyKind
	if slices.Contains(unread, ext) {
		why = whyUnread
	}
	if ext == "" {
		ext = "without extension"
	}
	e := l.of(why, file)
	e.N++
	if e.Kinds == nil {
		e.Kinds = map[string]int{}
	}
	e.Kinds[ext]++
}

// merge adds other counts.
func (l *leftOut) merge(other []LeftOut) {
	for _, o := range other {
		e := l.of(o.Why, o.First)
		if e.N == 0 {
			*e = o
			e.Kinds = maps.Clone(o.Kinds)
			continue
		}
		e.N += o.N
		for k, n := range o.Kinds {
			e.Kinds[k] += n
		}
	}
}

// unread are the extensions of pictures in formats that are not read.
var unread = []string{
	".heic", ".heif", ".avif", ".jxl", ".jp2", ".j2k", ".jpf", ".jxr", ".svg", ".psd", ".xcf", ".tga", ".ico", ".pcx", ".exr", ".hdr", ".dds",
	".raw", ".dng", ".cr2", ".cr3", ".nef", ".arw", ".orf", ".rw2", ".raf",
}
