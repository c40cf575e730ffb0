package cpu_test

import (
	"fmt"
	"testing"

	"github.com/potstill/potstill/engine/backendtest"
	"github.com/potstill/potstill/engine/cpu"
)

// TestSuite runs the suite that every backend passes on each instruction set
// of this machine, with one thread and with several.
func TestSuite(t *testing.T) {
	for _, v := range cpu.Variants() {
		for _, threads := range []int{1, 3} {
			t.Run(fmt.Sprintf("%s/%d", v, threads), func(t *testing.T) {
				b, err := cpu.New(cpu.Options{Variant: v, Threads: threads})
				if err != nil {
					t.Fatal(err)
				}
				defer b.Close()
				backendtest.Run(t, b)
			})
		}
	}
}

// TestEmulated holds the instruction sets that are emulated to the codes of the reference: those
// that differ from others in products of codes alone.
func TestEmulated(t *testing.T) {
	for _, v := range cpu.EmulatedVariants() {
		t.Run(v, func(t *testing.T) {
			b, err := cpu.New(cpu.Options{Variant: v, Threads: 2})
			if err != nil {
				t.Fatal(err)
			}
			defer b.Close()
			backendtest.Run(t, b, "QConv2D", "QLinear")
		})
	}
}
