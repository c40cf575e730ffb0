package picture

import "testing"

func TestIsPicture(t *testing.T) {
	for name, want := range map[string]bool{
		"a.jpg": true, "b/A.JPEG": true, "x.jfif": true, "x.jpe": true, "x.PnG": true, "x.webp": true, "x.bmp": true,
		"x.tif": true, "x.TIFF": true, "x.gif": true, "x.ppm": true, "x.pgm": true, "x.pbm": true, "x.pnm": true,
		".jpg": true, "a.jpg/b": false, "jpg": false, "x.txt": false, "x.jpg.txt": false, "": false, "x.svg": false,
	} {
		if got := IsPicture(name); got != want {
			t.Errorf("IsPicture(%q) = %v", name, got)
		}
	}
}
