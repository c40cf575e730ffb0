package yamldoc

import "strings"

// position is a place in the text, from 1.
type position struct{ line, column int }

// A Source knows where the values of a decoded document stand, for mistakes
// that are found only afterwards. A value has a path, "steps.student.from[0]";
// the path and "#" is the place of its key.
type Source struct {
	file string
	pos  map[string]position
}

// Has reports whether the document has something at path.
func (s *Source) Has(path string) bool {
	_, ok := s.pos[path]
	return ok
}

// Errorf returns the *[Error] for what stands at path, or, where that is left
// out, at the nearest part around it.
func (s *Source) Errorf(path, format string, args ...any) error {
	e := &Error{File: s.file, Line: 1, Column: 1, Reason: reason(format, args...)}
	for p := path; p != ""; p = parent(p) {
		at, ok := s.pos[p]
		if key, is := s.pos[p+"#"]; is && p != path {
			at, ok = key, true // a part begins at its name
		}
		if ok {
			e.Line, e.Column = at.line, at.column
			break
		}
	}
	return e
}

// Join returns the path of the value of key in the mapping at path.
func Join(path, key string) string {
	if path == "" {
		return key
	}
	return path + "." + key
}

func parent(path string) string {
	i := strings.LastIndexAny(path, ".[")
	if i < 0 {
		return ""
	}
	return path[:i]
}

// last is the last part of a path, which is what a person calls it.
func (d *decoding) last(path string) string {
	if path == "" {
		return "the " + d.Document
	}
	return path[strings.LastIndexByte(path, '.')+1:]
}

// inPart says where a key stands.
func inPart(path string) string {
	if path == "" {
		return ""
	}
	return " in " + path
}
