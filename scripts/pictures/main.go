// Command pictures decodes the files named on standard input, one a line, as
// Potstill does, for scripts/picture_suites.py to compare. For each it writes a
// line of JSON, and the pixels behind it.
package main

import (
	"bufio"
	"encoding/json"
	"fmt"
	"os"

	"github.com/potstill/potstill/engine/data/picture"
)

type header struct {
	W     int      `json:"w"`
	H     int      `json:"h"`
	Err   string   `json:"error,omitempty"`
	Notes []string `json:"notes,omitempty"`
}

func main() {
	in, out := bufio.NewScanner(os.Stdin), bufio.NewWriter(os.Stdout)
	for in.Scan() {
		if err := one(out, in.Text()); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
	}
}

func one(out *bufio.Writer, name string) error {
	b, err := os.ReadFile(name)
	if err != nil {
		return err
	}
	m, notes, err := picture.Decode(b, picture.Options{})
	h := header{W: m.W, H: m.H}
	if err != nil {
		h = header{Err: err.Error()}
		m = picture.Image{}
	}
	for _, n := range notes {
		h.Notes = append(h.Notes, n.String())
	}
	line, err := json.Marshal(h)
	if err != nil {
		return err
	}
	_, _ = out.Write(append(line, '\n'))
	_, _ = out.Write(m.Pix)
	return out.Flush()
}
