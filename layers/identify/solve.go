package identify

import "math"

// An equation says that the sizes of groups, so often each, add up to a length.
type equation struct {
	shares []share
	length int
}

// solve fills in the sizes that are 0, of those that the others and the equations
// determine, by Gauss's elimination. What they leave open, or contradict, stays 0
// or is found wrong by whoever compares shapes.
func solve(sizes []int, equations []equation) {
	column := make(map[int]int) // of a group that is not known
	var unknown []int
	var rows [][]float64
	for _, e := range equations {
		for _, x := range e.shares {
			if _, ok := column[x.group]; !ok && sizes[x.group] == 0 {
				column[x.group] = len(unknown)
				unknown = append(unknown, x.group)
			}
		}
	}
	for _, e := range equations {
		row := make([]float64, len(unknown)+1)
		row[len(unknown)] = float64(e.length)
		open := false
		for _, x := range e.shares {
			if c, ok := column[x.group]; ok {
				row[c] += float64(x.times)
				open = true
			} else {
				row[len(unknown)] -= float64(x.times * sizes[x.group])
			}
		}
		if open {
			rows = append(rows, row)
		}
	}
	for c, r := range eliminate(rows, len(unknown)) {
		if v := math.Round(r); !math.IsNaN(r) && math.Abs(r-v) < 1e-6 && v >= 1 {
			sizes[unknown[c]] = int(v)
		}
	}
}

// eliminate solves rows of n coefficients and a right side. An unknown that they
// do not determine is NaN.
func eliminate(rows [][]float64, n int) []float64 {
	const zero = 1e-9
	pivots := make([]int, n) // row of a column's pivot, counted from 1
	at := 0
	for c := range n {
		best := at
		for r := at; r < len(rows); r++ {
			if math.Abs(rows[r][c]) > math.Abs(rows[best][c]) {
				best = r
			}
		}
		if at == len(rows) || math.Abs(rows[best][c]) < zero {
			continue
		}
		rows[at], rows[best] = rows[best], rows[at]
		pivot := rows[at]
		for r := range rows {
			if f := rows[r][c] / pivot[c]; r != at && f != 0 {
				for k := range rows[r] {
					rows[r][k] -= f * pivot[k]
				}
			}
		}
		at++
		pivots[c] = at
	}
	out := make([]float64, n)
	for c := range out {
		out[c] = math.NaN()
		if pivots[c] == 0 {
			continue
		}
		row := rows[pivots[c]-1]
		alone := true
		for k := range n {
			alone = alone && (k == c || math.Abs(row[k]) < zero)
		}
		if alone {
			out[c] = row[n] / row[c]
		}
	}
	return out
}
