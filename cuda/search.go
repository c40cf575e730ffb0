package cuda

import (
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
)

// A known library is one that this package can use.
type known struct {
	name   string
	so     []string // file names, the best first
	driver bool     // comes with the driver, so is in no toolkit and no wheel
	fix    func(major int) string
}

// knowns returns the libraries for a driver of CUDA's given major version, 0
// if it is not known. A library of a newer major version than the driver's
// does not work with it, and is not tried.
func knowns(major int) []known {
	versioned := func(stem string) []string {
		var so []string
		for _, v := range []int{13, 12} {
			if major == 0 || v <= major {
				so = append(so, fmt.Sprintf("%s.so.%d", stem, v))
			}
		}
		return so
	}
	wheel := func(old, new string) func(int) string {
		return func(major int) string {
			name := old
			if major >= 13 {
				name = new
			}
			return "pip install " + name + " and set POTSTILL_CUDA_PATH to its site-packages, or install the CUDA toolkit"
		}
	}
	return []known{
		{"libcuda", []string{"libcuda.so.1"}, true, func(int) string {
			return "install the NVIDIA driver, 525 or newer"
		}},
		{"libnvrtc", append(versioned("libnvrtc"), "libnvrtc.so"), false, wheel("nvidia-cuda-nvrtc-cu12", "nvidia-cuda-nvrtc")},
		{"libcudnn", []string{"libcudnn.so.9"}, false, wheel("nvidia-cudnn-cu12", "nvidia-cudnn-cu13")},
		{"libcublasLt", versioned("libcublasLt"), false, wheel("nvidia-cublas-cu12", "nvidia-cublas")},
		{"libnccl", []string{"libnccl.so.2"}, false, func(major int) string {
			return "for several GPUs, " + wheel("nvidia-nccl-cu12", "nvidia-nccl-cu13")(major)
		}},
	}
}

// systemFolders are where distributions and NVIDIA's installers put libraries.
func systemFolders() []string {
	triple := map[string]string{"amd64": "x86_64-linux-gnu", "arm64": "aarch64-linux-gnu"}[runtime.GOARCH]
	dirs := []string{
		"/usr/lib/" + triple, "/usr/lib64", "/usr/lib",
		"/usr/lib/" + triple + "/nvidia/current", "/usr/lib/nvidia",
		"/usr/lib/wsl/lib", "/run/opengl-driver/lib", "/usr/local/nvidia/lib64", "/opt/cuda/lib64",
	}
	if triple == "" {
		dirs = slices.DeleteFunc(dirs, func(d string) bool { return strings.HasPrefix(d, "/usr/lib//") || d == "/usr/lib/" })
	}
	return dirs
}

// loaderPath stands in a list of folders for the places that the dynamic
// loader knows: LD_LIBRARY_PATH and the system's cache of libraries.
const loaderPath = ""

// folders returns where libraries are looked for, in order (see the package's
// documentation). Folders that cannot exist are left out, none comes twice.
func folders(search []string, getenv func(string) string) []string {
	var all []string
	add := func(dirs ...string) {
		for _, d := range dirs {
			if !slices.Contains(all, d) {
				all = append(all, d)
			}
		}
	}
	for _, d := range search {
		add(expand(d)...)
	}
	for _, d := range filepath.SplitList(getenv("POTSTILL_CUDA_PATH")) {
		add(expand(d)...)
	}
	add(loaderPath)
	for _, env := range []string{"CUDA_HOME", "CUDA_PATH"} {
		if d := getenv(env); filepath.IsAbs(d) {
			add(filepath.Join(d, "lib64"), filepath.Join(d, "lib"))
		}
	}
	add("/usr/local/cuda/lib64")
	add(newest("/usr/local/cuda-1[23]*/lib64")...)
	add(systemFolders()...)
	for _, prefix := range pythonPrefixes(getenv) {
		for _, site := range []string{"site-packages", "dist-packages"} {
			for _, lib := range []string{"lib", "lib64"} {
				add(newest(filepath.Join(escape(prefix), lib, "python3*", site, "nvidia", "*", "lib"))...)
			}
		}
	}
	return slices.DeleteFunc(all, func(d string) bool {
		if d == loaderPath {
			return false
		}
		info, err := os.Stat(d)
		return err != nil || !info.IsDir()
	})
}

// expand returns the folders that a folder given by hand may stand for: itself,
// the lib folders of a toolkit, those of the wheels in a site-packages folder.
func expand(dir string) []string {
	if dir == "" {
		return nil
	}
	abs, err := filepath.Abs(dir)
	if err != nil {
		return nil
	}
	dirs := []string{abs, filepath.Join(abs, "lib64"), filepath.Join(abs, "lib")}
	dirs = append(dirs, newest(filepath.Join(escape(abs), "nvidia", "*", "lib"))...)
	return append(dirs, newest(filepath.Join(escape(abs), "*", "lib"))...)
}

// pythonPrefixes returns the roots of the Python installations that a user
// most likely means. No Python is run: its wheels lie in known folders.
func pythonPrefixes(getenv func(string) string) []string {
	prefixes := []string{getenv("VIRTUAL_ENV"), getenv("CONDA_PREFIX")}
	for _, dir := range filepath.SplitList(getenv("PATH")) {
		python := filepath.Join(dir, "python3")
		if _, err := os.Stat(python); err != nil {
			continue
		}
		prefixes = append(prefixes, filepath.Dir(dir))
		if real, err := filepath.EvalSymlinks(python); err == nil {
			prefixes = append(prefixes, filepath.Dir(filepath.Dir(real)))
		}
		break
	}
	if home := getenv("HOME"); home != "" {
		prefixes = append(prefixes, filepath.Join(home, ".local"))
	}
	prefixes = append(prefixes, "/usr/local")
	return slices.DeleteFunc(prefixes, func(p string) bool { return !filepath.IsAbs(p) })
}

// newest returns what matches a pattern, names with larger numbers first.
func newest(pattern string) []string {
	found, err := filepath.Glob(pattern)
	if err != nil {
		return nil
	}
	slices.SortStableFunc(found, func(a, b string) int {
		if len(a) != len(b) && stem(a) == stem(b) {
			return len(b) - len(a)
		}
		return strings.Compare(b, a)
	})
	return found
}

// stem is a path without its digits, so that python3.9 and python3.11 meet.
func stem(path string) string {
	return strings.Map(func(r rune) rune {
		if r >= '0' && r <= '9' {
			return -1
		}
		return r
	}, path)
}

// escape makes a path match itself in a pattern.
func escape(path string) string {
	return strings.NewReplacer(`\`, `\\`, `*`, `\*`, `?`, `\?`, `[`, `\[`).Replace(path)
}

// find opens the first file of the given names in the given folders that open
// accepts, folder by folder. What is there and cannot be opened is passed over
// for the next; if there is no better one, broken says why.
func find(names, dirs []string, open func(path string) error) (path string, broken error, ok bool) {
	for _, dir := range dirs {
		for _, name := range names {
			path := name
			if dir != loaderPath {
				path = filepath.Join(dir, name)
				if _, err := os.Stat(path); err != nil {
					continue
				}
			}
			err := open(path)
			if err == nil {
				return path, nil, true
			}
			// The loader says of every library that it does not know that it
			// cannot open it: that is no finding, unless it is about another.
			if broken == nil && (dir != loaderPath || !strings.HasPrefix(err.Error(), name+": cannot open")) {
				broken = err
			}
		}
	}
	return "", broken, false
}

// describe names folders for a message.
func describe(dirs []string) string {
	named := make([]string, len(dirs))
	for i, d := range dirs {
		named[i] = d
		if d == loaderPath {
			named[i] = "the loader's path"
		}
	}
	return strings.Join(named, ", ")
}
