package metrics

// Mean returns the means of figures that were measured on the same images, one
// by one; a figure that one of them lacks is left out. The interval of the
// accuracy is that of one measurement of the mean on so many images. The counts
// of the confusion matrices are added up.
func Mean(all []Figures) Figures {
	if len(all) == 0 {
		return Figures{}
	}
	mean := func(of func(f *Figures) float64) float64 {
		x := make([]float64, len(all))
		for i := range all {
			x[i] = of(&all[i])
		}
		return Spread(x).Mean
	}
	whole := func(of func(f *Figures) *float64) *float64 {
		for i := range all {
			if of(&all[i]) == nil {
				return nil
			}
		}
		return new(mean(func(f *Figures) float64 { return *of(f) }))
	}
	out := Figures{
		N: all[0].N, Top1: mean(func(f *Figures) float64 { return f.Top1 }), Loss: mean(func(f *Figures) float64 { return f.Loss }),
		MacroF1: mean(func(f *Figures) float64 { return f.MacroF1 }), ECE: mean(func(f *Figures) float64 { return f.ECE }),
		Top5: whole(func(f *Figures) *float64 { return f.Top5 }),
	}
	out.Interval = Wilson(out.Top1, out.N)
	for i, c := range all[0].Classes {
		out.Classes = append(out.Classes, Class{
			N:         c.N,
			Precision: whole(func(f *Figures) *float64 { return f.Classes[i].Precision }),
			Recall:    whole(func(f *Figures) *float64 { return f.Classes[i].Recall }),
			F1:        whole(func(f *Figures) *float64 { return f.Classes[i].F1 }),
		})
	}
	out.Confusion = sum(all)
	return out
}

// sum adds confusion matrices up, nil where one is missing.
func sum(all []Figures) [][]int {
	var out [][]int
	for i, f := range all {
		if f.Confusion == nil {
			return nil
		}
		for k, row := range f.Confusion {
			if i == 0 {
				out = append(out, append([]int(nil), row...))
				continue
			}
			for j, n := range row {
				out[k][j] += n
			}
		}
	}
	return out
}
