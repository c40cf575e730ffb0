package quant

import (
	"context"
	"math"
	"testing"

	"github.com/potstill/potstill/engine/random"
	"github.com/potstill/potstill/layers"
)

// The products of a layer's inputs are those by which its weights make its outputs:
// with weights in float32 the mean squared error is 0.
func TestProducts(t *testing.T) {
	w := working(t, environment(t), layers.Arch{Family: "resnet18", Classes: 10, Base: 4}, Options{})
	w.ranges, w.scales = map[string][2]float32{}, map[string][]float32{} // no quantizers
	for _, name := range []string{"conv1", "layer2.0.conv1", "layer2.0.downsample.0", "fc"} {
		list, err := w.products(name)
		if err != nil {
			t.Fatal(err)
		}
		e := tensor(w.net, w.state, name, "weight")
		k := len(e.Data) / e.Shape[0]
		for o := range e.Shape[0] {
			row := e.Data[o*k : (o+1)*k]
			for j := range k { // Gw = t
				sum, size := 0.0, 0.0
				for i, v := range row {
					sum += float64(v) * list[0].g[i*k+j]
					size += math.Abs(float64(v) * list[0].g[i*k+j])
				}
				if math.Abs(sum-list[0].t[o*k+j]) > 1e-3*size+1e-6 {
					t.Fatalf("%s: output %d, input %d: %g, want %g", name, o, j, sum, list[0].t[o*k+j])
				}
			}
		}
	}
}

// The rounding that AdaRound finds is never worse than that to the nearest, and
// mostly far better where inputs are correlated.
func TestAdaRoundIsNotWorse(t *testing.T) {
	w := &work{ctx: context.Background(), env: environment(t)}
	r := random.New(5, 0, 0, random.UseOther)
	draw := func() float64 { return float64(r.Uint32())/(1<<31) - 1 }
	for _, k := range []int{9, 40} {
		const rows = 6
		m := &products{g: make([]float64, k*k), t: make([]float64, rows*k)}
		for range 2 * k { // inputs that have much in common
			x, common := make([]float64, k), draw()*2
			for i := range x {
				x[i] = common + draw()
			}
			for i := range x {
				for j := range x {
					m.g[i*k+j] += x[i] * x[j] / float64(2*k)
				}
			}
		}
		p := &rounding{f: weightFake(4, true), rows: rows, k: k, scale: make([]float32, rows), m: m, w: make([]float32, rows*k)}
		for i := range p.w {
			p.w[i] = float32(draw())
		}
		for row := range rows {
			p.scale[row] = 1.0 / 7
			for i := range k {
				for j := range k {
					m.t[row*k+i] += m.g[i*k+j] * float64(p.w[row*k+j])
				}
			}
		}
		if err := p.solve(w); err != nil {
			t.Fatal(err)
		}
		got, near := 0.0, 0.0
		for row := range rows {
			s := float64(p.scale[row])
			ada, nearest := make([]float64, k), make([]float64, k)
			for i := range k {
				ada[i] = math.Round(float64(p.out[row*k+i]) / s)
				if d := ada[i] - p.floor[row*k+i]; d != 0 && d != 1 {
					t.Errorf("weight %g became code %g", p.w[row*k+i], ada[i])
				}
				nearest[i] = math.RoundToEven(float64(p.w[row*k+i] / p.scale[row]))
			}
			_, ea := p.error(row, ada, s)
			_, en := p.error(row, nearest, s)
			if ea > en+1e-9 {
				t.Errorf("%d inputs, row %d: %g, to the nearest %g", k, row, ea, en)
			}
			// The constant of the objective is wᵀGw.
			constant := 0.0
			for i := range k {
				constant += float64(p.w[row*k+i]) * m.t[row*k+i]
			}
			got, near = got+ea+constant, near+en+constant
		}
		if !(got < near/2) {
			t.Errorf("%d inputs: an error of %g, to the nearest %g", k, got, near)
		}
	}
}
