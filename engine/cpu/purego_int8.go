//go:build !cgo

package cpu

// machineHasInt8 is false: plain Go gains nothing from bytes.
func machineHasInt8() bool { return false }
