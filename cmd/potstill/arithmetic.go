package main

import (
	"fmt"
	"strings"

	"github.com/potstill/potstill/layers"
	"github.com/potstill/potstill/layers/checkpoint"
)

// arithmetic says what a model computes with when it is evaluated.
func arithmetic(c *checkpoint.Checkpoint) (string, error) {
	if _, integers := c.Net.Quantized(); !integers {
		return "float32", nil
	}
	left, err := layers.InFloat(c.Net, c.State)
	if err != nil {
		return "", fmt.Errorf("%s: %w", c.Path, err)
	}
	if len(left) == 0 {
		return "integers throughout", nil
	}
	return "integers, but in float32 " + strings.Join(left, "; "), nil
}
