package picture

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"os"
	"path/filepath"
	"slices"
	"testing"
)

// want is the size of a picture and the hash of its pixels.
type want struct {
	W, H   int
	SHA256 string
}

func (w want) of(m Image) bool {
	sum := sha256.Sum256(m.Pix)
	return m.W == w.W && m.H == w.H && hex.EncodeToString(sum[:]) == w.SHA256
}

func goldens(tb testing.TB) map[string]struct {
	want
	EXIF *want
} {
	tb.Helper()
	b, err := os.ReadFile(filepath.FromSlash("testdata/golden.json"))
	if err != nil {
		tb.Fatal(err)
	}
	var g struct {
		Files map[string]struct {
			want
			EXIF *want
		}
	}
	if err := json.Unmarshal(b, &g); err != nil {
		tb.Fatal(err)
	}
	if len(g.Files) < 100 {
		tb.Fatalf("%d files", len(g.Files))
	}
	return g.Files
}

func testdata(tb testing.TB, name string) []byte {
	tb.Helper()
	b, err := os.ReadFile(filepath.Join("testdata", filepath.FromSlash(name)))
	if err != nil {
		tb.Fatal(err)
	}
	return b
}

// TestAgainstPillow holds every file of testdata, to the bit, to the pixels that
// Pillow reads (for 16-bit gray, see scripts/golden_pictures.py). Where it fails,
// scripts/picture_suites.py tells by how much.
func TestAgainstPillow(t *testing.T) {
	for name, g := range goldens(t) {
		m, _, err := Decode(testdata(t, name), Options{})
		if err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		if !g.of(m) {
			t.Errorf("%s: %d×%d, or its pixels, are not Pillow's", name, m.W, m.H)
		}
		if g.EXIF == nil {
			continue
		}
		if m, _, err = Decode(testdata(t, name), Options{EXIF: true}); err != nil || !g.EXIF.of(m) {
			t.Errorf("%s, turned by EXIF: %d×%d, or its pixels, are not Pillow's (error %v)", name, m.W, m.H, err)
		}
	}
}

// TestNotes holds what is said of files that were repaired, or are read in a way
// that is worth a word, and that nothing is said of others.
func TestNotes(t *testing.T) {
	const (
		gray      = `16-bit gray was reduced to its upper 8 bits, where Pillow's convert("RGB") clips it at 255`
		dark      = "16-bit gray uses only the lower bits, so that the picture is nearly black; scale its values up (its largest value is 255 of 65535)"
		stray     = "the JPEG has stray bytes, which were skipped"
		restarts  = "restart markers of the JPEG are missing or out of order; what is between is lost"
		missing   = "data of the JPEG are missing; their blocks are gray"
		noEnd     = "the JPEG has no end marker"
		coarse    = "scans of the progressive JPEG are missing; the picture is coarser than it was"
		pngChunk  = "a chunk of the PNG that has no pixels is damaged and was ignored"
		pngEnd    = "the PNG has no proper end"
		pngMore   = "the PNG has more data than pixels; the rest was ignored"
		pngOthers = "the PNG has a palette that does not fit, or chunks that are out of order; they were ignored"
	)
	notes := map[string][]string{
		"cases/jpeg-repairable/cut-but-with-eoi.jpg":                        {missing + " (12 blocks)"},
		"cases/jpeg-repairable/zeros-in-place-of-eoi.jpg":                   {stray, noEnd},
		"cases/jpeg-restart-damage/one-marker-missing.jpg":                  {missing + " (12 blocks)", restarts, stray},
		"cases/jpeg-restart-damage/one-marker-with-a-wrong-number.jpg":      {missing + " (12 blocks)", restarts, stray},
		"cases/png-16-bit-grey/grey16.png":                                  {gray},
		"cases/png-16-bit-grey/grey16-values-below-256.png":                 {gray, dark},
		"cases/png-bad-checksum-of-a-comment/profile-before-the-pixels.png": {pngChunk},
		"cases/png-bad-checksum-of-a-comment/text-after-the-pixels.png":     {pngChunk},
		"cases/png-end-cut/iend-one-byte-short.png":                         {pngEnd},
		"cases/png-end-cut/iend-with-data.png":                              {pngEnd},
		"cases/png-more-data-than-needed/one-byte-more.png":                 {pngMore},
		"cases/png-no-end/no-iend.png":                                      {pngEnd},
		"cases/png-suggested-palette/4-bit-with-48-colours.png":             {pngOthers},
		"cases/png-suggested-palette/grey-with-palette.png":                 {pngOthers},
		"made/jpeg-rubbish.jpg":                                             {stray},
		"made/jpeg-scan-cut.jpg":                                            {missing, coarse},
		"made/jpeg-scans-1.jpg":                                             {coarse},
		"made/jpeg-scans-2.jpg":                                             {coarse},
		"made/jpeg-scans-4.jpg":                                             {coarse},
		"made/jpeg-scans-7.jpg":                                             {coarse},
		"made/p5-4095.pgm":                                                  {gray},
		"made/png-gray16.png":                                               {gray},
	}
	for name := range goldens(t) {
		_, got, err := Decode(testdata(t, name), Options{})
		if err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		var texts []string
		for _, n := range got {
			texts = append(texts, n.String())
		}
		if !slices.Equal(texts, notes[name]) {
			t.Errorf("%s: notes %q, want %q", name, texts, notes[name])
		}
	}
}
