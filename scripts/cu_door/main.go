// Command cu_door builds the stand-ins of cuda/fake into a folder, for
// scripts/cu_door.sh.
package main

import (
	"fmt"
	"os"

	"github.com/potstill/potstill/cuda/fake"
)

func main() {
	if len(os.Args) != 2 {
		fmt.Fprintln(os.Stderr, "usage: cu_door FOLDER")
		os.Exit(2)
	}
	if err := fake.Build(os.Args[1]); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}
