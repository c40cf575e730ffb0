package engine

import (
	"strings"
	"testing"
)

// talking are peers with a setting that has no text.
type talking struct {
	*LocalPeer
	say chan int
}

// TestKeyOfPeers checks that the key of a collective tells how many take part, and not who.
func TestKeyOfPeers(t *testing.T) {
	keys := make(map[string]bool)
	for _, n := range []int{2, 2, 3} {
		in := []Spec{F32(4)}
		keys[stepKey(AllReduce{K: 1, Peers: talking{LocalPeers(n)[0], make(chan int)}}, in, in)] = true
	}
	if len(keys) != 2 {
		t.Errorf("%d keys for the sums of 2, 2 and 3 ranks", len(keys))
	}
	for key := range keys {
		if !strings.Contains(key, "Peers:2") && !strings.Contains(key, "Peers:3") {
			t.Error(key)
		}
	}
}
