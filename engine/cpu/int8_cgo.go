//go:build cgo

package cpu

// #include "int8.h"
import "C"

// machineHasInt8 reports whether the processor multiplies bytes as int8.h needs it.
func machineHasInt8() bool { return C.ps_has_int8() != 0 }
