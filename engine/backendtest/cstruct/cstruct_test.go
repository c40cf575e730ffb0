package cstruct

import (
	"reflect"
	"testing"
	"unsafe"
)

const source = `
typedef struct {
	int stride, pad; /* of what, or not */
} stepping;

// what a kernel takes
typedef struct {
	const real *x, *dy;   // inputs
	float *const *y;
	int n, h, w_;
	i64 pixels;
	stepping rows, cols;
	float eps, list[N];
	double scale;
	u32 last;
} some_args, other_args;

typedef struct { thing t; } unknown_args;
`

type pointer uint64

type stepping struct{ Stride, Pad int32 }

type some struct {
	X, Dy, Y   pointer
	N, H, W    int32
	Pixels     int64
	Rows, Cols stepping
	Eps        float32
	List       [3]float32
	Scale      float64
	Last       uint32
}

func TestSameStructs(t *testing.T) {
	all := Parse(source, map[string]int{"N": 3})
	if len(all) != 3 || all["unknown_args"] != nil {
		t.Fatalf("%v", all)
	}
	for _, name := range []string{"some_args", "other_args"} {
		if d := Differ(all[name], some{}, reflect.TypeOf(pointer(0))); d != "" {
			t.Error(d)
		}
	}
	type addresses struct{ X, Dy, Y unsafe.Pointer }
	if d := Differ(all["some_args"][:3], addresses{}, nil); d != "" {
		t.Error(d)
	}
}

// Each change to one side shows.
func TestOtherStructs(t *testing.T) {
	c := Parse(source, map[string]int{"N": 3})["some_args"]
	type swapped struct {
		X, Dy, Y   pointer
		N, W, H    int32
		Pixels     int64
		Rows, Cols stepping
		Eps        float32
		List       [3]float32
		Scale      float64
		Last       uint32
	}
	type shorter struct {
		X, Dy, Y   pointer
		N, H, W    int32
		Pixels     int64
		Rows, Cols stepping
		Eps        float32
		List       [3]float32
		Scale      float64
	}
	type signed struct {
		X, Dy, Y   pointer
		N, H, W    int32
		Pixels     uint64
		Rows, Cols stepping
		Eps        float32
		List       [3]float32
		Scale      float64
		Last       uint32
	}
	type number struct {
		X, Dy      pointer
		Y          uint64
		N, H, W    int32
		Pixels     int64
		Rows, Cols stepping
		Eps        float32
		List       [3]float32
		Scale      float64
		Last       uint32
	}
	for want, v := range map[string]any{
		"C has h (int32 at 28), Go w (int32 at 28)":                swapped{},
		"C has last (unsigned32 at 88), which Go lacks":            shorter{},
		"C has pixels (int64 at 40), Go pixels (unsigned64 at 40)": signed{},
		"C has y (pointer64 at 16), Go y (unsigned64 at 16)":       number{},
	} {
		if d := Differ(c, v, reflect.TypeOf(pointer(0))); d != want {
			t.Errorf("%T: %q, not %q", v, d, want)
		}
	}
}
