//go:build linux && cgo

package cuda

import (
	"errors"
	"log/slog"
	"path/filepath"
	"testing"

	"github.com/potstill/potstill/cuda/fake"
)

// A device that NVRTC does not know yet runs what the driver makes of PTX. The
// stand-in's NVRTC knows sm_80 and sm_90 and refuses to compile for others.
func TestNewerDeviceThanCompiler(t *testing.T) {
	dir := t.TempDir()
	r := newRig(t, 10)
	var j *journal
	for round := range 2 {
		c, told := opened(t, dir)
		c.device.Major, c.device.Minor = 10, 3
		m := must[*Module](t)(c.Compile("scale", scaleSource, "-DPLUS=+1.0f"))
		if got := told.count("NVRTC is older than the device"); got != 1 {
			t.Errorf("told %d times that NVRTC is old", got)
		}
		if got, want := told.count("cuda: compiled"), 1-round; got != want {
			t.Errorf("round %d: compiled %d times, want %d", round, got, want)
		}
		r.c, r.f, j = c, must[*Function](t)(m.Function("scale")), told
	}
	must[*Module](t)(r.c.Compile("scale", scaleSource, "-DPLUS=+2.0f"))
	if got := j.count("NVRTC is older than the device"); got != 1 {
		t.Errorf("told %d times that NVRTC is old", got)
	}
	r.s = must[*Stream](t)(r.c.NewStream())
	r.x = must[Ptr](t)(r.c.Alloc(4 * r.n))
	r.reset(t)
	check(t, r.launch(2))
	r.want(t, 3)
}

func TestOlderDeviceThanCompiler(t *testing.T) {
	c, _ := opened(t, t.TempDir())
	c.device.Major, c.device.Minor = 7, 0
	_, err := c.Compile("scale", scaleSource, "-DPLUS=")
	wantError(t, err, "no longer compiles for sm_70, install an older one")

	old := &compiler{archs: []int{70, 90}, lib: &library{number: 12}}
	now := &compiler{archs: []int{75, 90}, lib: &library{number: 13}, older: func() (*compiler, error) { return old, nil }}
	for arch, want := range map[int]*compiler{60: old, 70: old, 75: now, 80: now, 120: now} {
		if now.of(arch) != want {
			t.Errorf("sm_%d is compiled by the wrong NVRTC", arch)
		}
	}
	now.older = func() (*compiler, error) { return nil, errors.New("not there") }
	if now.of(70) != now {
		t.Error("an NVRTC that is not there is taken")
	}
}

// What one machine compiled serves on another with the same version of NVRTC,
// wherever that lies, and not with another version.
func TestCacheIsOfVersion(t *testing.T) {
	store := cache{t.TempDir()}
	const source = "typedef struct { int n; } k_args;\n#define KERNEL_BOUNDS\nKERNEL(k)(k_args a) { (void)a; }\n"
	for i, want := range []bool{false, true, false} {
		elsewhere := t.TempDir()
		place(t, filepath.Join(fake.Dir(t), "libnvrtc.so.12"), filepath.Join(elsewhere, "libnvrtc.so.12"))
		place(t, filepath.Join(fake.Dir(t), "prelude.h"), filepath.Join(elsewhere, "prelude.h"))
		c, err := newCompiler(newLoader([]string{elsewhere}, 12), store, slog.New(slog.DiscardHandler))
		if err != nil {
			t.Fatal(err)
		}
		if i == 2 {
			c.id = []string{"another version"}
		}
		if _, kept, err := c.cubin("k", source, 90, nil, false); err != nil || kept != want {
			t.Errorf("compiler %d: taken from the cache: %v (%v), want %v", i, kept, err, want)
		}
	}
}
