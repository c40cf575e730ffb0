package report_test

import (
	"fmt"
	"os"
	"path/filepath"

	"github.com/potstill/potstill/distill/study/report"
)

func ExampleWriteAll() {
	dir, err := os.MkdirTemp("", "report")
	if err != nil {
		fmt.Println(err)
		return
	}
	defer func() { _ = os.RemoveAll(dir) }()

	paths, err := report.WriteAll(dir, &report.Results{
		Study: "hw7",
		Data:  report.Data{Name: "Food-11", Train: 9866, Val: 3430, Size: 256},
		Rows: []report.Row{
			{Table: "Compression", Step: "student", Name: "big model", Params: 224011, Bytes: 918038, ValAccuracy: new(0.7871)},
		},
	})
	if err != nil {
		fmt.Println(err)
		return
	}
	fmt.Println(filepath.Base(paths.HTML), filepath.Base(paths.JSON))
	// Output: report.html results.json
}

func ExampleWriteTable() {
	r := report.Results{Data: report.Data{Name: "Food-11"}, Rows: []report.Row{
		{Table: "Compression", Name: "big model", Params: 224011, Bytes: 918038, ValAccuracy: new(0.7871)},
		{Table: "Compression", Name: "8-bit", Params: 224011, Bytes: 233234},
	}}
	for _, t := range r.Tables() {
		if err := report.WriteTable(os.Stdout, t); err != nil {
			fmt.Println(err)
		}
	}
	// Output:
	// Compression
	//
	// Model      Parameters    Bytes  Validation accuracy
	// ─────────  ──────────  ───────  ───────────────────
	// big model     224,011  918,038              78.71 %
	// 8-bit         224,011  233,234                    –
}
