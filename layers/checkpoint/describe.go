package checkpoint

import (
	"encoding/json"
	"errors"
	"fmt"

	"github.com/potstill/potstill/layers"
)

// metadataKey is the metadata entry that holds a description.
const metadataKey = "potstill"

// version is the newest form of the description that is understood.
const version = 2

// description is the JSON form of all but the tensors.
type description struct {
	Version    int                `json:"version"`
	Net        *layers.Net        `json:"net,omitempty"`
	Classes    []string           `json:"classes,omitempty"`
	Preprocess Preprocess         `json:"preprocess"`
	Encodings  []coding           `json:"encodings,omitempty"`
	History    []Event            `json:"history,omitempty"`
	Metrics    map[string]float64 `json:"metrics,omitempty"`
	Progress   json.RawMessage    `json:"progress,omitempty"`

	// Of version 1, in place of Net and Encodings.
	Arch  *layers.Arch `json:"arch,omitempty"`
	Quant string       `json:"quant,omitempty"`
}

// errNewer is the error for a description that this version cannot know.
var errNewer = errors.New("")

// hintOf is the hint for a description that is not understood.
func hintOf(err error) string {
	if errors.Is(err, errNewer) {
		return newer
	}
	return ""
}

// describe reads the description in a file. That of version 1 comes back as
// version 2 would have it.
func describe(text []byte) (*description, error) {
	var v struct {
		Version int `json:"version"`
	}
	if err := json.Unmarshal(text, &v); err != nil {
		return nil, fmt.Errorf("its description is not understood: %w", err)
	}
	if v.Version < 1 || v.Version > version {
		return nil, fmt.Errorf("its description is of version %d, not %d%w", v.Version, version, errNewer)
	}
	d := new(description)
	if err := json.Unmarshal(text, d); err != nil {
		return nil, fmt.Errorf("its description is not understood: %w", err)
	}
	if v.Version == 1 {
		return d, d.update()
	}
	if d.Net == nil || d.Arch != nil || d.Quant != "" {
		return nil, errors.New("its description holds no net, or one of another version")
	}
	return d, nil
}

// update takes a description of version 1 to version 2.
func (d *description) update() (err error) {
	if d.Arch == nil || d.Net != nil || d.Encodings != nil {
		return errors.New("its description holds no architecture, or one of another version")
	}
	if d.Net, err = d.Arch.Net(); err != nil {
		return fmt.Errorf("%w%w", err, errNewer)
	}
	switch d.Quant {
	case Float32, Float16:
	case Affine8, Affine8PerChannel:
		e := layers.Encoding{Rule: layers.MinMax, Bits: 8, PerChannel: d.Quant == Affine8PerChannel}
		d.Encodings = []coding{{Encoding: e, Ranges: rangeName}}
	default:
		return fmt.Errorf("unknown quantization %q", d.Quant)
	}
	return nil
}

// newer is the hint for a file that this version cannot know.
const newer = "use the version of potstill that wrote it"
