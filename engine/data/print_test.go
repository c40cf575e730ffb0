package data

import (
	"context"
	"encoding/base64"
	"testing"
)

// onePixel is a PNG of 1x1.
const onePixel = "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAIAAACQd1PeAAAADElEQVR4nGOoVxAAAAHRALAZ8ADuAAAAAElFTkSuQmCC"

// pixels returns pictures of one pixel, whose files all differ.
func pixels(t testing.TB, names ...string) map[string][]byte {
	t.Helper()
	png, err := base64.StdEncoding.DecodeString(onePixel)
	if err != nil {
		t.Fatal(err)
	}
	files := map[string][]byte{}
	for i, name := range names {
		files[name] = append(append([]byte{}, png...), byte(i)) // what follows the picture is not read
	}
	return files
}

// TestFingerprintsStay holds fingerprints to those of the first version, or with
// JPEG files, whose pixels have changed since, to those of the second: studies
// and runs are known by them.
func TestFingerprintsStay(t *testing.T) {
	for want, names := range map[string][]string{
		"ee47c3a6f352fdde0f9891a316394aca8df4b43b4b9f393d29307c84803b9395": {"training/0_0.png", "training/1_0.png", "training/1_1.png", "validation/0_0.png", "testing/1_9.jpg"},
		"ce65bdd8aef220eaceef24d27eb424d9f9b6ec4152f8d79e8338f3fd46b55fcf": {"set/rose/a.png", "set/rose/b.png", "set/rose/deep/c.png", "set/Tulip/a.png", "set/Tulip/b.jpeg"},
		"3c1114c4d9e7a710b067ed7eb182338e16d7bedf018696a2e8b597e3b8f31131": {"train/10/a.png", "train/9/b.png", "val/9/c.png", "test/10/d.png", "extra/x.png"},
		"7b7fdd22a42e24f047e7362c56ae1e705adb0c4f45db18846c3dc8812203a448": {"train/éclair/a.png", "train/zebra/b.png", "val/éclair/c.png"},
	} {
		files := pixels(t, names...)
		files["notes.txt"], files[".hidden/1_1.png"] = []byte("x"), []byte("x")
		if names[0] == "training/0_0.png" {
			files["training/1_7.png"] = []byte("broken")
		}
		if names[0] == "set/rose/a.png" { // a list that changes no label
			files["set/classes.txt"] = []byte("Tulip\r\nrose\r\n")
		}
		for _, spec := range []string{writeFolder(t, files), writeFile(t, "x.tar", makeTar(t, "", files)), writeFile(t, "x.zip", makeZip(t, "", files))} {
			for _, o := range []Options{{}, {Resize: 1, Evaluate: true, CacheLimit: 1}} {
				if d := mustOpen(t, spec, o); d.Fingerprint != want {
					t.Errorf("%s of %v has the fingerprint %s, not %s", spec, names, d.Fingerprint, want)
				}
			}
		}
	}
	for size, want := range map[int]string{
		0:  "801fafa05ca3c99de0aabd7dbb2593f2039249027dbce577dad8af2779b8eb5d",
		14: "49878e3d8e66e679ca43f00486a712be0c2a34d6546adc38217f85d1512f52aa",
	} {
		d, err := Open(context.Background(), "builtin:fashion", Options{Size: size})
		if err != nil {
			t.Fatal(err)
		}
		if d.Fingerprint != want {
			t.Errorf("builtin:fashion at %d has the fingerprint %s, not %s", size, d.Fingerprint, want)
		}
		d.Close()
	}
}
