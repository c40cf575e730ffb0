package data

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"testing"
)

// TestNormalForms is the case class-names-nfd: one class, composed in training
// and decomposed in validation, as archives of macOS have it.
func TestNormalForms(t *testing.T) {
	files := map[string][]byte{
		"train/éclair/1.png": paint(t, ".png", 1), "train/beer/1.png": paint(t, ".png", 2), "train/e\u0301clair/2.png": paint(t, ".png", 3),
		"val/e\u0301clair/1.png": paint(t, ".png", 4), "val/beer/1.png": paint(t, ".png", 5), "test/\xe9clair/1.png": paint(t, ".png", 6),
	}
	for _, spec := range []string{writeFolder(t, files), writeFile(t, "x.tar", makeTar(t, "", files))} {
		d := mustOpen(t, spec, Options{})
		if !slices.Equal(d.Classes, []string{"beer", "éclair"}) || d.Train.Len() != 3 || d.Val.Len() != 2 || d.Test.Label(0) != 1 {
			t.Errorf("classes %q, %d + %d", d.Classes, d.Train.Len(), d.Val.Len())
		}
	}
}

// TestClassList: classes.txt gives names and order.
func TestClassList(t *testing.T) {
	folders := func(names ...string) map[string][]byte {
		files := map[string][]byte{}
		for c, name := range names {
			for i := range 2 {
				files[fmt.Sprintf("train/%s/%d.png", name, i)] = paint(t, ".png", 10*c+i)
			}
			files["val/"+name+"/1.png"] = paint(t, ".png", 10*c+5)
		}
		return files
	}
	numbers := map[string][]byte{}
	for i := range 6 {
		numbers[fmt.Sprintf("training/%d_%d.png", i%3, i)] = paint(t, ".png", i)
	}
	table := map[string][]byte{"labels.csv": []byte("file,label\n0.png,2\n1.png,0\n2.png,1\n3.png,cake\n4.png,apple\n5.png,beer\n")}
	for i := range 6 {
		table[fmt.Sprintf("images/%d.png", i)] = paint(t, ".png", i)
	}
	for name, c := range map[string]struct {
		files map[string][]byte
		list  string
		label map[string]int // by a part of a file's name
	}{
		"names":            {folders("apple", "beer", "cake"), "cake\napple\nbeer\n", map[string]int{"/cake/": 0, "/apple/": 1, "/beer/": 2}},
		"Windows' list":    {folders("apple", "beer", "cake"), "\ufeffcake\r\napple\r\nbeer\r\n", map[string]int{"/cake/": 0}},
		"numbered list":    {folders("apple", "beer", "cake"), "0 cake\n1 apple\n2 beer\n", map[string]int{"/cake/": 0}},
		"Latin-1":          {folders("éclair", "beer"), "\xe9clair\nbeer\n", map[string]int{"/éclair/": 0}},
		"decomposed":       {folders("e\u0301clair", "beer"), "éclair\nbeer\n", map[string]int{"/beer/": 1}},
		"numbers":          {folders("0", "1", "2"), "cake\napple\nbeer\n", map[string]int{"/0/": 0, "/2/": 2}},
		"numbers as names": {folders("7", "5"), "7\n5\n", map[string]int{"/7/": 0, "/5/": 1}},
		"study's naming":   {numbers, "cake\napple\nbeer\n", map[string]int{"/0_": 0, "/2_": 2}},
		"both in a table":  {table, "apple\nbeer\ncake\n", map[string]int{"/0.png": 2, "/3.png": 2, "/1.png": 0, "/5.png": 1}},
	} {
		files := map[string][]byte{"classes.txt": []byte(c.list)}
		for n, b := range c.files {
			files[n] = b
		}
		for _, spec := range []string{writeFolder(t, files), writeFile(t, "x.tar", makeTar(t, "set/", files)), writeFile(t, "x.zip", makeZip(t, "set/", files))} {
			d := mustOpen(t, spec, Options{})
			want, err := classNames(c.list)
			if err != nil || !slices.Equal(d.Classes, want) {
				t.Errorf("%s: classes %q, want %q (%v)", name, d.Classes, want, err)
			}
			all := d.All()
			for i := range all.Len() {
				for part, label := range c.label {
					if strings.Contains(all.File(i), part) && all.Label(i) != label {
						t.Errorf("%s: %s has label %d, want %d", name, all.File(i), all.Label(i), label)
					}
				}
			}
			if len(d.LeftOut) > 0 {
				t.Errorf("%s: %s", name, Summarize(d.LeftOut))
			}
		}
	}
	for list, want := range map[string]string{
		"apple\ncake\n":              `has the class "beer", which is none of the 2 in classes.txt`,
		"apple\nbeer\napple\ncake":   `classes.txt: lines 1 and 3 both name the class "apple"`,
		"apple\nbeer\ncake\npie\n":   `class "pie" has no images`,
		"ap\x1b[1mple\nbeer\ncake\n": "classes.txt: line 1 has the control character U+001B",
	} {
		files := folders("apple", "beer", "cake")
		files["classes.txt"] = []byte(list)
		if _, err := Open(context.Background(), writeFolder(t, files), Options{CacheDir: t.TempDir()}); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%q: got %v, want %q", list, err, want)
		}
	}
}

// classNames is what a list in these tests names.
func classNames(list string) (names []string, err error) {
	list = strings.NewReplacer("\ufeff", "", "\r", "", "\xe9", "é", "0 ", "", "1 ", "", "2 ", "").Replace(list)
	return strings.Fields(list), nil
}

// TestNamesAlone: a list that names the study's numbers leaves the fingerprint and
// the cache as they are; one that changes labels does not.
func TestNamesAlone(t *testing.T) {
	files, cache := study(t), t.TempDir()
	plain := mustOpen(t, writeFolder(t, files), Options{CacheDir: cache})
	files["classes.txt"] = []byte("apple\nbeer\ncake\n")
	dir := writeFolder(t, files)
	age(t, dir)
	for range 2 { // found by its fingerprint, and then by its stamp
		d, decoded := opened(t, dir, Options{CacheDir: cache})
		if d.Fingerprint != plain.Fingerprint || decoded || !slices.Equal(d.Classes, []string{"apple", "beer", "cake"}) || d.Train.Subset(3).Len() != 3 {
			t.Errorf("classes %q, fingerprint %s, decoded %t", d.Classes, d.Fingerprint, decoded)
		}
	}
	if again := mustOpen(t, writeFolder(t, study(t)), Options{CacheDir: cache}); !slices.Equal(again.Classes, plain.Classes) {
		t.Errorf("without the list, the classes are %q", again.Classes)
	}
	model := []string{"0", "1", "2"} // as it was trained without the list
	if d := mustOpen(t, dir, Options{CacheDir: cache}); d.Align(model) != nil || !slices.Equal(d.Classes, []string{"apple", "beer", "cake"}) || d.Train.Label(11) != 2 {
		t.Errorf("aligned to numbers: %q", d.Classes)
	}
	for _, list := range []string{"3\n2\n1\n0\n", "2\n1\n0\n"} {
		files["classes.txt"] = []byte(list)
		d, err := Open(context.Background(), writeFolder(t, files), Options{CacheDir: cache, Evaluate: true})
		if err != nil {
			t.Fatal(err)
		}
		if d.Fingerprint == plain.Fingerprint {
			t.Errorf("the list %q changes labels, but not the fingerprint", list)
		}
		d.Close()
	}
}

// TestEvaluate: what need not be there where nothing is trained.
func TestEvaluate(t *testing.T) {
	p := func(n int) []byte { return paint(t, ".png", n) }
	for name, c := range map[string]struct {
		files   map[string][]byte
		classes string
		n       [3]int
	}{
		"val alone":         {map[string][]byte{"val/a/1.png": p(1), "val/b/1.png": p(2)}, "a b", [3]int{0, 2, 0}},
		"test alone":        {map[string][]byte{"testing/a/1.png": p(1), "testing/b/1.png": p(2), "testing/b/2.png": p(3)}, "a b", [3]int{0, 0, 3}},
		"test of one class": {map[string][]byte{"test/a/1.png": p(1)}, "a", [3]int{0, 0, 1}},
		"val and test":      {map[string][]byte{"validation/1_1.png": p(1), "test/0_1.png": p(2)}, "0 1", [3]int{0, 1, 1}},
		"a gap":             {map[string][]byte{"test/3_1.png": p(1)}, "0 1 2 3", [3]int{0, 0, 1}},
		"more in val":       {map[string][]byte{"train/a/1.png": p(1), "train/a/2.png": p(2), "val/b/1.png": p(3)}, "a b", [3]int{2, 1, 0}},
		"an empty folder":   {map[string][]byte{"train/a/1.png": p(1), "train/b/": nil, "val/a/1.png": p(3)}, "a b", [3]int{1, 1, 0}},
		"a folder a class":  {map[string][]byte{"a/1.png": p(1), "a/2.png": p(2), "b/1.png": p(3)}, "a b", [3]int{2, 1, 0}},
	} {
		spec, cache := writeFolder(t, c.files), t.TempDir()
		age(t, spec)
		d := mustOpen(t, spec, Options{Evaluate: true, CacheDir: cache})
		n := [3]int{d.Train.Len(), d.Val.Len()}
		if d.Test != nil {
			n[2] = d.Test.Len()
		}
		if strings.Join(d.Classes, " ") != c.classes || n != c.n || d.All().Len() != n[0]+n[1]+n[2] {
			t.Errorf("%s: classes %q, %v images", name, d.Classes, n)
		}
		// What is known from it does not let a training begin.
		e, err := Open(context.Background(), spec, Options{CacheDir: cache})
		if name != "a folder a class" && err == nil {
			t.Errorf("%s: opened for training", name)
		}
		if err == nil {
			if d.HeldOut != 1 || e.HeldOut != 1 {
				t.Errorf("%s: %d and %d pictures held out", name, d.HeldOut, e.HeldOut)
			}
			e.Close()
		}
	}
}

// TestParts: any names of the three parts.
func TestParts(t *testing.T) {
	for _, parts := range [][3]string{{"train", "val", "test"}, {"training", "validation", "testing"}, {"Train", "valid", "evaluation"}, {"training", "val", "test"}, {"train", "", "testing"}, {"train", "validation", ""}} {
		files := map[string][]byte{}
		for p, part := range parts {
			for c := range 2 {
				for i := range 4 {
					if part != "" {
						files[fmt.Sprintf("%s/%c/%d.png", part, 'a'+c, i)] = paint(t, ".png", 20*p+4*c+i)
					}
				}
			}
		}
		d := mustOpen(t, writeFolder(t, files), Options{ValFraction: 0.25})
		want := [3]int{8, 8, 8}
		if parts[1] == "" {
			want = [3]int{6, 2, 8}
		}
		if parts[2] == "" {
			want[2] = 0
		}
		n := [3]int{d.Train.Len(), d.Val.Len()}
		if d.Test != nil {
			n[2] = d.Test.Len()
		}
		if n != want || len(d.LeftOut) > 0 {
			t.Errorf("%q: %v images, want %v; %s", parts, n, want, Summarize(d.LeftOut))
		}
	}
}

func TestAlign(t *testing.T) {
	set := func(classes ...string) *Dataset {
		files := map[string][]byte{}
		for c, name := range classes {
			files["test/"+name+"/1.png"] = paint(t, ".png", c)
		}
		return mustOpen(t, writeFolder(t, files), Options{Evaluate: true})
	}
	label := func(d *Dataset) string {
		var b strings.Builder
		for i := range d.Test.Len() {
			fmt.Fprint(&b, inPart(d.Test.File(i))[:1], d.Test.Label(i), " ")
		}
		return b.String()
	}
	model := []string{"rose", "e\u0301clair", "beer", "2"}
	for _, c := range []struct {
		data []string
		want string
	}{
		{[]string{"beer", "rose"}, "b2 r0 "},
		{[]string{"éclair"}, "\xc31 "},
		{[]string{"3", "1"}, "11 33 "},
		{[]string{"2"}, "23 "}, // a name before a number
		{[]string{"2", "1"}, "11 22 "},
	} {
		d := set(c.data...)
		if err := d.Align(model); err != nil || label(d) != c.want || !slices.Equal(d.Classes, model) {
			t.Errorf("%q: %s, %v; want %s", c.data, label(d), err, c.want)
		}
		least := d.Test.Label(0)
		for i := range d.Test.Len() {
			least = min(least, d.Test.Label(i))
		}
		if s := d.Test.Subset(1); s.Len() != 1 || s.Label(0) != least {
			t.Errorf("%q: a subset of %d", c.data, s.Len())
		}
	}
	for _, data := range [][]string{{"beer", "cake"}, {"4", "1"}, {"1", "beer", "cake"}} {
		d := set(data...)
		before := label(d)
		if err := d.Align(model); err == nil || !strings.Contains(err.Error(), "is none of the model's 4 classes") || label(d) != before {
			t.Errorf("%q: %v", data, err)
		}
	}
}
