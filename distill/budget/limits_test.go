package budget_test

import (
	"strings"
	"testing"

	"github.com/potstill/potstill/distill/budget"
)

func TestParse(t *testing.T) {
	for text, want := range map[string]budget.Limits{
		"98496B":                   {Bytes: 98496},
		"96KB":                     {Bytes: 96000},
		"96 KiB":                   {Bytes: 96 << 10},
		"1.5mb":                    {Bytes: 1500000},
		"0.5ms@1":                  {MS: 0.5, Batch: 1},
		"0.5ms":                    {MS: 0.5, Batch: 1},
		"12 ms @ 32":               {MS: 12, Batch: 32},
		"500us@4":                  {MS: 0.5, Batch: 4},
		"2s":                       {MS: 2000, Batch: 1},
		"2M params":                {Params: 2e6},
		"77.7k params":             {Params: 77700},
		"20M macs":                 {MACs: 20e6},
		"20M MACs, 96KB ram":       {MACs: 20e6, RAM: 96000},
		"98496B,0.5ms@1,2M params": {Bytes: 98496, MS: 0.5, Batch: 1, Params: 2e6},
	} {
		got, err := budget.Parse(text)
		if err != nil || got != want {
			t.Errorf("Parse(%q) = %+v, %v, want %+v", text, got, err, want)
		}
		again, err := budget.Parse(got.String())
		if err != nil || again != want {
			t.Errorf("Parse(%q) = %+v, %v, want %+v again", got.String(), again, err, want)
		}
	}
	if got, err := budget.Parse("96KB", "96KB ram"); err != nil || got != (budget.Limits{Bytes: 96000, RAM: 96000}) {
		t.Errorf("two texts: %+v, %v", got, err)
	}
	if got, err := budget.Parse(); err != nil || got.Any() || got.String() != "" {
		t.Errorf("no text: %+v, %v", got, err)
	}
}

func TestParseRejects(t *testing.T) {
	for text, want := range map[string]string{
		"":                     "is no budget",
		"98496":                "is no budget",
		"98,496B":              "is no budget",
		"-5B":                  "is no budget",
		"0B":                   "is no budget",
		"manyB":                "is no budget",
		"NaN ms":               "is no budget",
		"inf ms":               "is no budget",
		"0ms":                  "is no budget",
		"5 apples":             "is no budget",
		"M params":             "is no budget",
		"0.5ms@0":              "no number of images",
		"0.5ms@x":              "no number of images",
		"0.5@1":                "is no budget",
		"9e99 macs":            "is no budget",
		"96KB, 98496B":         "second limit of bytes",
		"1ms@1,2ms@8":          "second limit of time",
		"1M params, 2M params": "second limit of params",
	} {
		_, err := budget.Parse(text)
		if err == nil || !strings.Contains(err.Error(), want) || strings.Contains(err.Error(), "\n") {
			t.Errorf("Parse(%q): %v, want %q in one line", text, err, want)
		}
	}
}

func TestExcess(t *testing.T) {
	c := budget.Cost{Bytes: 100, Params: 50, MACs: 1000, RAM: 10, MS: 2}
	for _, x := range []struct {
		l    budget.Limits
		want float64
	}{
		{budget.Limits{}, 0}, {budget.Limits{Bytes: 100}, 1}, {budget.Limits{Bytes: 200, Params: 25}, 2},
		{budget.Limits{MACs: 4000, RAM: 40, MS: 0.5}, 4}, {budget.Limits{RAM: 4}, 2.5},
	} {
		if got := x.l.Excess(c); got != x.want || x.l.Met(c) != (x.want <= 1) {
			t.Errorf("%v: excess %g, met %v, want %g", x.l, got, x.l.Met(c), x.want)
		}
	}
}
