package distill

import (
	"math"
	"slices"
	"strings"
	"testing"
)

func TestParseSpec(t *testing.T) {
	for text, want := range map[string]struct {
		form    string
		ce      float64
		weights []float64
	}{
		"kd":                                    {"kd", 0.1, []float64{0.9}},
		"kd:alpha=0.75,T=4":                     {"kd:T=4,alpha=0.75", 0.25, []float64{0.75}},
		"kd:w=2":                                {"kd:w=2", 1, []float64{2}},
		"kd:standardize":                        {"kd:standardize=1", 0.1, []float64{9}},
		"ce:w=0.5+dkd":                          {"ce:w=0.5+dkd", 0.5, []float64{1}},
		"dkd:T=4,beta=8 + at:stages=2-4,w=1000": {"dkd:beta=8,T=4+at:stages=2-4,w=1000", 1, []float64{1, 1000}},
		"sp+pkt+fitnet+at+rkd":                  {"sp+pkt+fitnet+at+rkd", 1, []float64{3000, 30000, 100, 1000, 1}},
	} {
		s, err := ParseSpec(text)
		if err != nil {
			t.Error(err)
			continue
		}
		if s.String() != want.form || math.Abs(s.CE()-want.ce) > 1e-12 {
			t.Errorf("%q is %q with labels by %v, want %+v", text, s, s.CE(), want)
		}
		for k, i := range s.Items {
			if i.Weight() != want.weights[k] {
				t.Errorf("%q: %s has the weight %v", text, i.Method.Name, i.Weight())
			}
		}
		if again, err := ParseSpec(s.String()); err != nil || again.String() != s.String() {
			t.Errorf("%q is read as %q (%v)", s, again, err)
		}
	}
	for text, want := range map[string]string{
		"":                       "no method",
		"hinton":                 "there are kd, dkd, dist",
		"kd:t=4":                 "there are T, alpha, standardize, w, warmup, start, stop, decay",
		"kd:T=0":                 "above 0",
		"kd:T=-1":                "above 0",
		"kd:T=x":                 "no number",
		"kd:T=NaN":               "no number",
		"kd:T=1e300":             "T=1e300",
		"kd:alpha=1.5":           "up to 1",
		"kd:alpha=0.5,w=1":       "give alpha, or w",
		"kd:T=4,T=4":             "twice",
		"kd+kd":                  "twice",
		"ce:w=1":                 "no method is named",
		"ce:w=1+ce:w=1+kd":       "there once",
		"ce+kd":                  "has a weight",
		"kd:decay=steep":         "none, linear or cosine",
		"kd:start=4,stop=3":      "starts after 4",
		"at:form=ours,stages=":   "stages has no value",
		"dkd:standardize=2,T=1":  "up to 1",
		"dist:warmup=-1,gamma=0": "from 0",
	} {
		if _, err := ParseSpec(text); err == nil || !strings.Contains(err.Error(), want) || strings.Contains(err.Error(), "\n") {
			t.Errorf("%q: want %q, got %v", text, want, err)
		}
	}
	got := SplitSpecs("kd:T=4,alpha=0.9, dkd,dist+at:w=10,stages=2,ce:w=1+sp")
	if want := []string{"kd:T=4,alpha=0.9", "dkd", "dist+at:w=10,stages=2", "ce:w=1+sp"}; !slices.Equal(got, want) {
		t.Errorf("split into %q", got)
	}
}

func TestSchedules(t *testing.T) {
	for text, want := range map[string][]float64{
		"kd":                              {1, 1, 1, 1},
		"kd:warmup=4":                     {0.25, 0.5, 0.75, 1},
		"kd:start=1,warmup=2":             {0, 0.5, 1, 1},
		"kd:stop=3":                       {1, 1, 1, 0},
		"kd:decay=linear":                 {1, 0.75, 0.5, 0.25},
		"kd:decay=cosine":                 {1, (1 + math.Sqrt2/2) / 2, 0.5, (1 - math.Sqrt2/2) / 2},
		"kd:decay=linear,warmup=2,stop=3": {0.5, 0.75, 0.5, 0},
	} {
		s, err := ParseSpec(text)
		if err != nil {
			t.Fatal(err)
		}
		for epoch, f := range want {
			if got := s.Items[0].Factor(epoch, 4); math.Abs(got-f) > 1e-12 {
				t.Errorf("%s: epoch %d has %v, want %v", text, epoch, got, f)
			}
		}
		if s.Items[0].scheduled() != (text != "kd") {
			t.Errorf("%s: scheduled is wrong", text)
		}
	}
}

func TestDescriptions(t *testing.T) {
	s, err := ParseSpec("dkd:beta=2,warmup=5+kd:standardize,decay=cosine")
	if err != nil {
		t.Fatal(err)
	}
	for k, want := range [][]string{
		{"dkd: T²·(", "beta=2", "T=4", "weight 1, rising over 5 epochs"},
		{"kd: T²·KL", "T=2", "standardize=1", "weight 9", "falling to 0 (cosine)"},
	} {
		for _, part := range want {
			if got := s.Items[k].Describe(); !strings.Contains(got, part) {
				t.Errorf("%q lacks %q", got, part)
			}
		}
	}
	for _, m := range Methods() {
		if m.Formula == "" || !strings.Contains(m.Source, "arXiv:") {
			t.Errorf("%s has no formula, or no source", m.Name)
		}
		if _, err := ParseSpec(m.Name); err != nil {
			t.Errorf("by default: %v", err)
		}
	}
}

func FuzzParseSpec(f *testing.F) {
	for _, text := range []string{"kd:T=4,alpha=0.9", "ce:w=1+dkd+at:stages=2-4", "dist:standardize", "::,=+"} {
		f.Add(text)
	}
	f.Fuzz(func(t *testing.T, text string) {
		s, err := ParseSpec(text)
		if err != nil {
			return
		}
		again, err := ParseSpec(s.String())
		if err != nil || again.String() != s.String() {
			t.Errorf("%q has the form %q, which is read as %q (%v)", text, s, again, err)
		}
	})
}
