package engine

import (
	"os"
	"path"
	"strconv"
	"strings"
)

// systemMemory returns the bytes that Linux can give, within the limits of the
// process's control groups.
func systemMemory() int {
	return memoryBelow("/")
}

// memoryBelow is systemMemory for a system whose files are below root.
func memoryBelow(root string) int {
	left := -1
	if n, ok := field(path.Join(root, "proc/meminfo"), "MemAvailable:"); ok {
		left = n << 10
	}
	groups, err := os.ReadFile(path.Join(root, "proc/self/cgroup"))
	if err != nil {
		return left
	}
	for line := range strings.Lines(string(groups)) {
		f := strings.SplitN(strings.TrimSpace(line), ":", 3) // number, controllers, path
		switch {
		case len(f) != 3:
		case f[1] == "": // version 2
			left = least(left, groupLeft(path.Join(root, "sys/fs/cgroup"), f[2], "memory.max", "memory.current", "inactive_file"))
		case f[1] == "memory":
			left = least(left, groupLeft(path.Join(root, "sys/fs/cgroup/memory"), f[2], "memory.limit_in_bytes", "memory.usage_in_bytes", "total_inactive_file"))
		}
	}
	return left
}

// groupLeft returns the bytes that a control group and those above it leave, -1
// if none has a limit. Pages of files that nobody uses count as free. In a
// container the path may be one of the machine, of which only the end is there.
func groupLeft(mount, group, limit, usage, inactive string) int {
	left := -1
	for dir := path.Clean("/" + group); ; dir = path.Dir(dir) {
		at := path.Join(mount, dir)
		most, ok := number(path.Join(at, limit))
		used, known := number(path.Join(at, usage))
		if ok && known {
			cached, _ := field(path.Join(at, "memory.stat"), inactive)
			left = least(left, max(most-max(used-cached, 0), 0))
		}
		if dir == "/" {
			return left
		}
	}
}

// number reads a file that holds a number; "max" is none.
func number(file string) (int, bool) {
	text, err := os.ReadFile(file)
	if err != nil {
		return 0, false
	}
	n, err := strconv.Atoi(strings.TrimSpace(string(text)))
	return n, err == nil
}

// field returns the number behind a name in a file of such lines.
func field(file, name string) (int, bool) {
	text, err := os.ReadFile(file)
	if err != nil {
		return 0, false
	}
	for line := range strings.Lines(string(text)) {
		if f := strings.Fields(line); len(f) >= 2 && f[0] == name {
			n, err := strconv.Atoi(f[1])
			return n, err == nil
		}
	}
	return 0, false
}
