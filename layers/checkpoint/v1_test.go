package checkpoint_test

import (
	"context"
	"encoding/json"
	"fmt"
	"math"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"

	"github.com/potstill/potstill/engine"
	"github.com/potstill/potstill/engine/ref"
	"github.com/potstill/potstill/layers"
	"github.com/potstill/potstill/layers/checkpoint"
	"github.com/potstill/potstill/layers/checkpoint/checkpointtest"
)

// A golden is what scripts/golden_v1.sh says that a model's file comes to.
type golden struct {
	Tensors    string
	Logits     []string
	Classes    []string
	Preprocess checkpoint.Preprocess
	Quant      string
	History    []checkpoint.Event
	Metrics    map[string]float64
}

// TestVersion1 shows that files of the first version of the format are still
// read: every family and every way of storing, tensors and logits bit for bit,
// and all that the file says of the model; and that nothing of it is lost when
// the model is stored again.
func TestVersion1(t *testing.T) {
	for name, want := range goldens(t) {
		t.Run(name, func(t *testing.T) {
			path := filepath.Join("testdata", "v1", name+".safetensors")
			loaded, err := checkpoint.Load(path)
			if err != nil {
				t.Fatal(err)
			}
			want.check(t, loaded)
			opened, err := checkpoint.Open(path, checkpoint.OpenOptions{})
			if err != nil {
				t.Fatal(err)
			}
			want.check(t, opened)

			path = filepath.Join(t.TempDir(), "again.safetensors")
			if _, err := checkpoint.Save(path, loaded); err != nil {
				t.Fatal(err)
			}
			again, err := checkpoint.Load(path)
			if err != nil {
				t.Fatal(err)
			}
			want.check(t, again)
		})
	}
}

func goldens(t *testing.T) map[string]golden {
	t.Helper()
	text, err := os.ReadFile("testdata/v1/golden.json")
	if err != nil {
		t.Fatal(err)
	}
	var all map[string]golden
	if err := json.Unmarshal(text, &all); err != nil {
		t.Fatal(err)
	}
	files, err := filepath.Glob("testdata/v1/*.safetensors")
	if err != nil || len(files) != len(all) || len(all) == 0 {
		t.Fatalf("%d goldens for %d files, error %v", len(all), len(files), err)
	}
	return all
}

// check holds a checkpoint to the golden.
func (g golden) check(t *testing.T, c *checkpoint.Checkpoint) {
	t.Helper()
	if !slices.Equal(c.Classes, g.Classes) || !reflect.DeepEqual(c.Preprocess, g.Preprocess) || c.Scheme() != g.Quant ||
		!reflect.DeepEqual(c.History, g.History) || !reflect.DeepEqual(c.Metrics, g.Metrics) {
		t.Errorf("the file says %v, %+v, %q, %+v, %v;\nwant %v, %+v, %q, %+v, %v", c.Classes, c.Preprocess, c.Scheme(), c.History, c.Metrics,
			g.Classes, g.Preprocess, g.Quant, g.History, g.Metrics)
	}
	state, logits := evaluate(t, c)
	if checkpointtest.Digest(state) != g.Tensors {
		t.Error("other tensors")
	}
	if !slices.Equal(logits, g.Logits) {
		t.Errorf("logits\n%s\nwant\n%s", strings.Join(logits, "\n"), strings.Join(g.Logits, "\n"))
	}
}

// evaluate returns a model's state and the bits of its logits of four images of
// 32×32 pixels, [4,32,32,C], which are numbers 0, 1, … of the stream of seed 7.
//
// The reference backend, without the planner's fusion, gives the same bits on
// every machine: it rounds each operator's float64 results to float32 once, and
// products of float32s are exact in float64. A machine that fuses
// multiplications with additions may change the last bits of a BatchNorm's
// float64, which hardly ever shows; GOAMD64=v3 gives the same logits.
func evaluate(t *testing.T, c *checkpoint.Checkpoint) (state layers.StateDict, lines []string) {
	t.Helper()
	store := engine.NewStore(ref.New(ref.WithoutFusion()))
	defer store.Close()
	m, err := c.Restore(store)
	if err != nil {
		t.Fatal(err)
	}
	if state, err = m.State(store); err != nil {
		t.Fatal(err)
	}
	b := engine.NewBuilder(engine.NewGraph())
	x := b.Input("images", engine.F32(4, 32, 32, m.Arch().InChannels))
	y := m.Forward(b, x, false)
	if b.Err() != nil {
		t.Fatal(b.Err())
	}
	p, err := b.Graph().Compile(store.Backend(), engine.Options{Store: store, Outputs: []*engine.Value{y}})
	if err != nil {
		t.Fatal(err)
	}
	defer p.Close()
	pixels, out := make([]float32, x.Len()), make([]float32, y.Len())
	for i := range pixels {
		pixels[i] = uniform(7, uint64(i))
	}
	if err := p.Run(context.Background(), engine.Bindings{x: engine.Bytes(pixels)}); err != nil {
		t.Fatal(err)
	}
	if err := p.Read(y, engine.Bytes(out)); err != nil {
		t.Fatal(err)
	}
	for row := range slices.Chunk(out, len(out)/4) {
		var bits []string
		for _, v := range row {
			bits = append(bits, fmt.Sprintf("%08x", math.Float32bits(v)))
		}
		lines = append(lines, strings.Join(bits, " "))
	}
	return state, lines
}

// uniform returns number i of the stream of a seed, in [0, 1): SplitMix64
// (Steele, Lea and Flood, OOPSLA 2014).
func uniform(seed, i uint64) float32 {
	z := seed<<32 + (i+1)*0x9E3779B97F4A7C15
	z = (z ^ z>>30) * 0xBF58476D1CE4E5B9
	z = (z ^ z>>27) * 0x94D049BB133111EB
	return float32((z^z>>31)>>40) / (1 << 24)
}
