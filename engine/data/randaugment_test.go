package data

import (
	"bytes"
	"encoding/json"
	"os"
	"slices"
	"testing"

	"github.com/potstill/potstill/engine/random"
)

// TestRandAugmentIsTorchvisions holds every operation to what
// scripts/golden_augment.py has from torchvision.
func TestRandAugmentIsTorchvisions(t *testing.T) {
	text, err := os.ReadFile("testdata/randaugment.json")
	if err != nil {
		t.Fatal(err)
	}
	var g struct {
		H, W  int
		Pix   []byte
		Cases []struct {
			Op                   string
			Kind, Strength, Sign int
			Out                  []byte
		}
	}
	if err := json.Unmarshal(text, &g); err != nil {
		t.Fatal(err)
	}
	kinds := make(map[int]bool)
	for _, c := range g.Cases {
		kinds[c.Kind] = true
		a := RandAugment{Ops: 1, Magnitude: c.Strength}
		op := raOp{kind: c.Kind, amount: a.amount(c.Kind) * float64(c.Sign)}
		got := op.apply(slices.Clone(g.Pix), make([]uint8, len(g.Pix)), g.H, g.W)
		if !bytes.Equal(got, c.Out) {
			worst, n := diff(t, got, c.Out)
			t.Errorf("%s of strength %d, sign %d: %d bytes differ, by up to %d", c.Op, c.Strength, c.Sign, n, worst)
		}
	}
	if len(kinds) != raKinds {
		t.Errorf("only %d of the operations were compared", len(kinds))
	}
}

// The operations come about equally often, with either sign.
func TestRandAugmentDraws(t *testing.T) {
	a := &RandAugment{Ops: 3, Magnitude: 9}
	r := random.New(1, 0, 0, random.UseAugment)
	var n [raKinds]int
	negative := 0
	const images = 4000
	for range images {
		ops := a.draw(&r)
		for i, op := range ops {
			if i < a.Ops {
				n[op.kind]++
			} else if op.kind != raIdentity {
				t.Fatal("more operations than asked for")
			}
			if op.amount < 0 {
				negative++
				if op.kind < raShearX || op.kind > raSharpness {
					t.Fatalf("operation %d has a sign", op.kind)
				}
			}
		}
	}
	want := 3.0 * images / raKinds
	for kind, k := range n {
		if f := float64(k) / want; f < 0.85 || f > 1.15 {
			t.Errorf("operation %d came %d times, about %.0f were expected", kind, k, want)
		}
	}
	if f := float64(negative) / (9 * want / 2); f < 0.9 || f > 1.1 {
		t.Errorf("%d negative amounts", negative)
	}
}
