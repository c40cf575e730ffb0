package compress

import "testing"

func TestLines(t *testing.T) {
	if line := Share("parameters", 1024, 4096); line[0] != "parameters" || line[1] != "1,024 of 4,096 (25.0 %)" {
		t.Errorf("%q", line)
	}
	if line := Share("bytes", 0, 0); line[1] != "0 of 0 (0.0 %)" {
		t.Errorf("of nothing: %q", line)
	}
	if a, b := Change(4096, 1024), Change(4096, 4096); a != "4,096 → 1,024" || b != "4,096" {
		t.Errorf("%q, %q", a, b)
	}
}
