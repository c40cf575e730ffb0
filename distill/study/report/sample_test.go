package report

import (
	"math"
	"time"

	"github.com/potstill/potstill/engine/metrics"
)

// sample is a made-up study with something in every field. Its figures are
// invented; they only have the shape of a real study's.
func sample() *Results {
	r := &Results{
		Study: "hw7", PublishedData: "Food-11", Title: "Distilled, pruned and quantized on flowers5",
		Data: Data{Name: "flowers5", Fingerprint: "9f2c7d10b4a35e86c1d7a0f3e2b94856cc01d9e7a45f3b628190ffab34cd5e71",
			Classes: []string{"daisy", "dandelion", "rose", "sunflower", "tulip"}, Train: 2500, Val: 500, Size: 128},
		Device: "cpu/avx512", Threads: 2, Seed: 7, Seeds: []uint64{7}, Version: "v0.1.0",
		Started: time.Date(2026, 3, 14, 9, 26, 53, 0, time.UTC), Seconds: 1834.2,
		Command: "potstill study run hw7 --data flowers5.tar --size 128 --seed 7 --out out/flowers5",
		Recipe:  "study: hw7\nsteps:\n  teacher:\n    train: {model: resnet18, epochs: 30}\n  student:\n    distill: {model: cnn-dwpw, teacher: teacher, temperature: 20, alpha: 0.5}\n",
	}
	pub := func(bytes int64, acc float64) *Published { return &Published{Bytes: bytes, ValAccuracy: new(acc)} }
	r.Rows = []Row{
		{Table: "Compression", Step: "student", Name: "big model", Method: "distilled", Parent: "teacher", Params: 222469,
			Bytes: 911870, ValAccuracy: new(0.812), ValLoss: new(0.5531), ImagesPerSecond: 1904, Published: pub(918038, 0.7871)},
		{Table: "Compression", Step: "pruned", Name: "pruned, fine-tuned", Method: "γ slimming", Parent: "student", Params: 52360,
			Bytes: 226710, ValAccuracy: new(0.758), ValLoss: new(0.6912), ImagesPerSecond: 3120, Notes: "One prune to 0.35 of the channels, then 20 epochs with a fresh optimizer."},
		{Table: "Compression", Step: "stale", Name: "pruned, as published", Method: "γ slimming", Parent: "student", Params: 52360,
			Bytes: 226710, ValAccuracy: new(0.246), ValLoss: new(2.11), ImagesPerSecond: 3118, Published: pub(228878, 0.1843),
			Notes: "The optimizer still holds the unpruned weights, so fine-tuning moves nothing but BatchNorm's statistics."},
		{Table: "Compression", Step: "int8", Name: "8-bit", Method: "min/max affine", Parent: "student", Params: 222469,
			Bytes: 231066, ValAccuracy: new(0.81), ImagesPerSecond: 1899, Published: pub(233234, 0.7645)},
		{Table: "Architectures", Step: "teacher", Name: "resnet18", Method: "from scratch", Params: 11179077, Bytes: 44790116,
			ValAccuracy: new(0.844), ValLoss: new(0.4402), ImagesPerSecond: 96.2},
		{Table: "Architectures", Step: "plain", Name: "cnn-plain", Method: "from scratch", Params: 246405, Bytes: 992100,
			ValAccuracy: new(0.742), ValLoss: new(0.71), ImagesPerSecond: 1210, Published: &Published{ValAccuracy: new(0.6804)}},
		{Table: "Architectures", Step: "dwpw", Name: "cnn-dwpw", Method: "from scratch", Params: 222469, Bytes: 911870,
			ValAccuracy: new(0.786), ValLoss: new(0.61), ImagesPerSecond: 1911, Published: &Published{ValAccuracy: new(0.7603)}},
		{Table: "Architectures", Step: "group", Name: "cnn-group", Method: "from scratch", Params: 217877, Bytes: 884400,
			ValAccuracy: new(0.760), ValLoss: new(0.66), ImagesPerSecond: 1420, Published: &Published{ValAccuracy: new(0.7073)}},
	}
	for i, q := range []float64{0.95, 0.975} {
		c := Curve{Rate: q, Published: "In the published chart accuracy falls with size and the two lines nearly coincide"}
		for k := range 8 {
			f := math.Pow(q, float64(k))
			c.Points = append(c.Points, Point{Params: int64(222469 * f * f), Bytes: int64(911870 * f * f),
				ValAccuracy: 0.812 - 0.17*(1-f)*(1-f) - 0.05*(1-f) - 0.003*float64(k%3+i), Round: k, Widths: []int{16, 32, 64, int(128 * f)}})
		}
		c.Points[0].ValAccuracy = 0.812
		r.Curves = append(r.Curves, c)
	}
	r.Training = []History{history("teacher", 30, 0.844), history("student", 40, 0.812), history("pruned", 20, 0.758),
		history("stale", 20, 0.246), history("plain", 40, 0.742), history("group", 1, 0.31)}
	r.Confusions = []Confusion{
		{Step: "student", Matrix: [][]int{{84, 9, 2, 3, 2}, {6, 88, 1, 4, 1}, {3, 1, 71, 2, 23}, {2, 5, 3, 89, 1}, {2, 1, 19, 4, 74}}},
		{Step: "int8", Matrix: [][]int{{83, 9, 3, 3, 2}, {6, 88, 1, 4, 1}, {3, 1, 71, 2, 23}, {2, 5, 3, 89, 1}, {2, 1, 19, 4, 74}}},
	}
	for i, c := range [][2]string{{"rose", "tulip"}, {"tulip", "rose"}, {"daisy", "dandelion"}, {"sunflower", "daisy"}, {"tulip", "sunflower"}, {"rose", "daisy"}, {"dandelion", "sunflower"}} {
		r.Mistakes = append(r.Mistakes, Mistake{Step: "student", File: "validation/" + c[0] + "_0017.jpg", True: c[0], Predicted: c[1],
			Prob: 0.97 - 0.06*float64(i), H: 32, W: 32, Pix: flower(i)})
	}
	r.Mistakes = append(r.Mistakes, Mistake{Step: "student", File: "validation/rose_0101.jpg", True: "rose", Predicted: "tulip", Prob: 0.4})
	r.Checks = []Check{
		{Name: "8-bit within 0.5 points of fp32", Want: "at most 0.50 points below 81.20 %", Got: "0.20 points below", Pass: true},
		{Name: "distilled at least as good as from scratch", Want: "at least 78.60 %", Got: "81.20 %", Pass: true},
		{Name: "published pruning collapses", Want: "below 20.00 %", Got: "24.60 %", Pass: false},
	}
	return r
}

// seeded is sample with two seeds more, a test part and all figures.
func seeded() *Results {
	r := sample()
	r.Seeds = []uint64{7, 8, 9}
	r.Data.Test = 400
	for i := range r.Rows {
		w := &r.Rows[i]
		mean := *w.ValAccuracy - 0.02
		low, high := mean-0.01, mean+0.02
		for k, a := range []float64{low, mean, high} {
			w.Runs = append(w.Runs, Run{Seed: r.Seeds[k], ValAccuracy: w.ValAccuracy, TestAccuracy: new(a), Params: w.Params, Bytes: w.Bytes,
				File: "work/" + w.Step + "-" + string(rune('a'+k)) + " b/best.safetensors"})
		}
		s := metrics.Spread([]float64{low, mean, high})
		w.TestAccuracy, w.TestSpread, w.TestLoss = new(s.Mean), &s, new(0.7)
		w.ValSpread = &metrics.Summary{N: 3, Mean: *w.ValAccuracy, Min: *w.ValAccuracy, Max: *w.ValAccuracy}
		w.Test = &metrics.Figures{N: 400, Top1: s.Mean, Interval: metrics.Wilson(s.Mean, 400), Loss: 0.7, MacroF1: 0.741, ECE: 0.0432,
			Classes: []metrics.Class{{N: 80, Recall: new(0.9)}, {N: 80, Recall: new(0.5125)}, {N: 80}, {N: 80}, {N: 80}}}
		w.MACs, w.MemoryBytes = 7_062_283, 1_234_567
		w.Latency = &Latency{Batch: 1, Warm: 10, Runs: 50, Median: 0.00164, P10: 0.0015, P90: 0.0021}
	}
	r.Differences = []Difference{{Table: "Compression", Step: "int8", Name: "8-bit", Less: "student", LessOf: "big model", Part: "test",
		Values: []float64{-0.002, 0.001, -0.004}, Summary: metrics.Spread([]float64{-0.002, 0.001, -0.004}), Interval: metrics.Interval{Low: -0.0079, High: 0.0046}}}
	for i := range r.Curves {
		for j := range r.Curves[i].Points {
			p := &r.Curves[i].Points[j]
			p.TestAccuracy, p.TestSpread = new(p.ValAccuracy-0.02), &metrics.Summary{N: 3, SD: 0.004}
		}
	}
	for i := range r.Confusions {
		r.Confusions[i].Part = "test"
	}
	return r
}

func history(step string, epochs int, best float64) History {
	h := History{Step: step}
	for e := 1; e <= epochs; e++ {
		t := 1 - math.Exp(-5*float64(e)/float64(epochs))
		wave := 0.012 * math.Sin(float64(7*e))
		h.Epochs = append(h.Epochs, Epoch{Epoch: e, TrainLoss: 1.7 - 1.3*t, TrainAccuracy: new(0.2 + (best-0.14)*t),
			ValLoss: new(1.7 - 1.1*t - wave), ValAccuracy: new(0.2 + (best-0.2)*t*0.98 + wave/2), LR: 1e-3, ImagesPerSecond: 412 + 9*float64(e%5)})
		if step == "student" {
			h.Epochs[e-1].Terms = map[string]float64{"cross_entropy": 1.7 - 1.3*t, "distillation": 4 - 3.5*t, "at": 0.02 - 0.01*t}
		}
	}
	return h
}

// flower is a 32×32 RGB drawing of n+5 petals.
func flower(n int) []uint8 {
	pix := make([]uint8, 32*32*3)
	for y := range 32 {
		for x := range 32 {
			dx, dy := float64(x)-15.5, float64(y)-15.5
			d, a := math.Hypot(dx, dy), math.Atan2(dy, dx)
			p := pix[3*(32*y+x):]
			switch {
			case d < 4:
				p[0], p[1], p[2] = 236, 190, 60
			case d < 9+4*math.Cos(float64(n+5)*a):
				p[0], p[1], p[2] = uint8(170+11*n), uint8(60+23*n%160), uint8(90+37*n%150)
			default:
				p[0], p[1], p[2] = uint8(40+2*y), uint8(90+3*y), 50
			}
		}
	}
	return pix
}
