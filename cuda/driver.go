//go:build linux && cgo

package cuda

/*
#include "driver.h"

#cgo noescape ps_driver_open
#cgo nocallback ps_driver_open
#cgo noescape ps_device_info
#cgo nocallback ps_device_info
*/
import "C"

import (
	"errors"
	"fmt"
	"log/slog"
	"os"
	"sync"
	"unsafe"
)

// A Driver is NVIDIA's driver, open, with the libraries around it. Several
// goroutines may use one. It is never closed: the driver stays in the process.
type Driver struct {
	*loader
	api      *C.ps_driver
	version  int
	log      *slog.Logger
	cacheDir string

	compilerOnce sync.Once
	compiler     *compiler
	compilerErr  error
}

// Load opens the NVIDIA driver. The error, one line, says what is missing and
// what to do about it; it wraps ErrNotFound if that is the driver's library.
func Load(o Options) (*Driver, error) {
	d, _, err := load(o)
	return d, err
}

// Libraries says what became of each library, as Driver.Libraries does, where
// Load may have failed.
func Libraries(o Options) []Library {
	d, l, err := load(o)
	if err == nil {
		return d.Libraries()
	}
	all := l.report()
	for i := range all {
		if all[i].Name == "libcuda" && all[i].Err == nil {
			all[i].Err = err // which names the fix
		}
	}
	return all
}

func load(o Options) (*Driver, *loader, error) {
	if o.Logger == nil {
		o.Logger = slog.New(slog.DiscardHandler)
	}
	dirs := folders(o.Search, os.Getenv)
	l := newLoader(dirs, 0)
	lib, err := l.library("libcuda")
	if err != nil {
		return nil, l, fmt.Errorf("cuda: %w", err)
	}
	var missing *C.char
	api := C.ps_driver_open(lib.handle, &missing)
	if api == nil {
		return nil, l, fmt.Errorf("cuda: %s has no %s: %s", lib.path, C.GoString(missing), lib.fix(0))
	}
	d := &Driver{api: api, log: o.Logger, cacheDir: o.CacheDir}
	var version C.int
	if r := C.ps_driver_version(api, &version); r != 0 {
		return nil, l, d.unusable("cuDriverGetVersion", r)
	}
	d.version = int(version)
	lib.version = fmt.Sprintf("%d.%d", version/1000, version%1000/10)
	if version < 12000 {
		return nil, l, fmt.Errorf("cuda: the driver supports CUDA %s, 12.0 is needed: %s", lib.version, lib.fix(0))
	}
	if r := C.ps_init(api); r != 0 {
		return nil, l, d.unusable("cuInit", r)
	}
	d.loader = newLoader(dirs, int(version/1000))
	d.loader.adopt(lib)
	d.log.Debug("cuda: driver opened", "path", lib.path, "version", lib.version)
	return d, d.loader, nil
}

// unusable is the error of a driver that is there and does not work.
func (d *Driver) unusable(call string, r C.int) error {
	fix := map[C.int]string{
		34:  "this libcuda is the toolkit's stub for linking: take the stubs folder out of the loader's path and install the NVIDIA driver",
		100: "check that nvidia-smi lists the device, and that neither CUDA_VISIBLE_DEVICES nor the container hides it",
		802: "start the nvidia-fabricmanager service",
		803: "the driver's library and its kernel module are of different versions: restart the machine",
		804: "take the forward compatibility libraries (cuda-compat) out of the loader's path",
		999: "load the nvidia_uvm kernel module: run nvidia-modprobe -u -c 0, or restart the machine",
	}[r]
	err := d.failure(call, r)
	if r == 100 {
		err = fmt.Errorf("no device: %w", err)
	}
	if fix == "" {
		fix = "see whether nvidia-smi works"
	}
	return fmt.Errorf("cuda: %w: %s", err, fix)
}

// failure makes an Error of the driver's result, which is not 0.
func (d *Driver) failure(call string, r C.int) error {
	if r&C.PS_ENTERING != 0 {
		call, r = "cuCtxSetCurrent", r&^C.PS_ENTERING
	}
	var name, text [256]C.char
	C.ps_error(d.api, r, &name[0], &text[0], C.size_t(len(name)))
	e := &Error{Call: call, Code: C.GoString(&name[0]), Number: int(r), Detail: C.GoString(&text[0])}
	if e.Code == "" {
		e.Code = "CUDA_ERROR"
	}
	return e
}

// result is nil if r is 0.
func (d *Driver) result(call string, r C.int) error {
	if r == 0 {
		return nil
	}
	return d.failure(call, r)
}

// Version returns the newest CUDA that the driver supports: 13000 is 13.0.
func (d *Driver) Version() int { return d.version }

// Libraries opens each library, if it is not open yet, and says what came of it.
// They are those of CUDA 12 where CUDA 13 supports none of the devices.
func (d *Driver) Libraries() []Library {
	devices, err := d.Devices()
	if err != nil {
		devices = nil // then there is nothing to fit
	}
	return d.reportFor(devices)
}

// Devices describes the devices that the driver shows to this process.
func (d *Driver) Devices() ([]Device, error) {
	var n C.int
	if r := C.ps_device_count(d.api, &n); r != 0 {
		return nil, d.failure("cuDeviceGetCount", r)
	}
	all := make([]Device, n)
	for i := range all {
		dev, err := d.device(i)
		if err != nil {
			return nil, fmt.Errorf("device %d: %w", i, err)
		}
		all[i] = dev
	}
	return all, nil
}

func (d *Driver) device(index int) (Device, error) {
	var (
		name   [256]C.char
		uuid   [16]byte
		memory C.size_t
		v      [C.PS_ATTRIBUTES]C.int
	)
	r := C.ps_device_info(d.api, C.int(index), &name[0], C.size_t(len(name)),
		(*C.uchar)(unsafe.Pointer(&uuid[0])), &memory, &v[0])
	if r != 0 {
		return Device{}, d.failure("cuDeviceGetAttribute", r)
	}
	return Device{
		Index:  index,
		Name:   C.GoString(&name[0]),
		UUID:   fmt.Sprintf("GPU-%x-%x-%x-%x-%x", uuid[:4], uuid[4:6], uuid[6:8], uuid[8:10], uuid[10:]),
		Memory: int(memory),
		Major:  int(v[0]), Minor: int(v[1]),
		Multiprocessors: int(v[2]),
		SharedPerBlock:  int(v[3]), SharedPerBlockOptin: int(v[4]),
		L2:          int(v[5]),
		MemoryClock: int(v[6]), BusWidth: int(v[7]),
		Driver: d.version,
	}, nil
}

// checkDevice says which devices there are if index is none.
func (d *Driver) checkDevice(index int) error {
	var n C.int
	if r := C.ps_device_count(d.api, &n); r != 0 {
		return d.failure("cuDeviceGetCount", r)
	}
	switch {
	case index >= 0 && index < int(n):
		return nil
	case n == 0:
		return errors.New("the driver shows no device: see whether CUDA_VISIBLE_DEVICES hides them")
	case n == 1:
		return fmt.Errorf("there is no device %d: the only one is 0", index)
	}
	return fmt.Errorf("there is no device %d: they are 0 to %d", index, n-1)
}
