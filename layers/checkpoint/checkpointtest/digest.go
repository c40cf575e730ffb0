package checkpointtest

import (
	"crypto/sha256"
	"encoding/binary"
	"fmt"
	"slices"
	"strings"

	"github.com/potstill/potstill/layers"
)

// Digest returns the SHA-256 of a state, in hexadecimal: of each tensor, in the
// order of their names, a line "name [shape]" and the bits of its values as
// float32, little endian. The goldens that scripts/golden_v1.sh makes have it.
func Digest(s layers.StateDict) string {
	s = slices.Clone(s)
	slices.SortFunc(s, func(a, b layers.Entry) int { return strings.Compare(a.Name, b.Name) })
	h := sha256.New()
	for _, e := range s {
		fmt.Fprintf(h, "%s %v\n", e.Name, e.Shape)
		data := e.Data
		for _, n := range e.Int {
			data = append(data, float32(n))
		}
		_ = binary.Write(h, binary.LittleEndian, data) // a hash's Write never fails
	}
	return fmt.Sprintf("%x", h.Sum(nil))
}
