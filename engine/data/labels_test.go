package data

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// flat is a folder of eight pictures in images/, of which the first four are cats
// and the others dogs, and what else is given.
func flat(t *testing.T, more map[string]string) string {
	t.Helper()
	files := map[string][]byte{}
	for i := range 8 {
		files[fmt.Sprintf("images/%02d.png", i)] = paint(t, ".png", i)
	}
	for name, text := range more {
		files[name] = []byte(text)
	}
	return writeFolder(t, files)
}

// rows writes a table of the eight pictures.
func rows(header, format string) string {
	var b strings.Builder
	b.WriteString(header)
	for i := range 8 {
		label := []string{"cat", "dog"}[i/4]
		part := []string{"train", "train", "val", "test"}[i%4]
		b.WriteString(strings.NewReplacer("FILE", fmt.Sprintf("%02d", i), "LABEL", label, "NUMBER", fmt.Sprint(i/4), "PART", part).Replace(format))
	}
	return b.String()
}

// counts are the pictures of each part that have the label of their number.
func counts(t *testing.T, d *Dataset) (n [3]int) {
	t.Helper()
	for p, s := range []*Split{d.Train, d.Val, d.Test} {
		if s == nil {
			continue
		}
		n[p] = s.Len()
		for i := range s.Len() {
			var k int
			if _, err := fmt.Sscan(stem(s.File(i)), &k); err != nil || s.Label(i) != k/4 {
				t.Errorf("%s has label %d", s.File(i), s.Label(i))
			}
		}
	}
	return n
}

// TestLabelFiles: tables as people make them.
func TestLabelFiles(t *testing.T) {
	const note = `level=INFO msg="DATA: the labels are those of `
	for name, c := range map[string]struct {
		file, text string
		classes    []string
		split      bool
	}{
		"header":           {"labels.csv", rows("file,label\n", "FILE.png,LABEL\n"), nil, false},
		"no header":        {"labels.csv", rows("", "FILE.png,LABEL\n"), nil, false},
		"label first":      {"labels.csv", rows("", "LABEL,images/FILE.png\n"), nil, false},
		"paths":            {"labels.csv", rows("path,target\n", "images/FILE.png,LABEL\n"), nil, false},
		"Windows":          {"labels.csv", "\ufeff" + rows("Filename;Class\r\n", "images\\FILE.png;LABEL\r\n"), nil, false},
		"absolute paths":   {"labels.csv", rows("image_path,category\n", "/kaggle/input/set/images/FILE.png,LABEL\n"), nil, false},
		"no extension":     {"labels.csv", rows("image_id,label\n", "FILE,LABEL\n"), nil, false},
		"other column":     {"labels.csv", rows("id,breed\n", "FILE,LABEL\n"), nil, false},
		"quotes":           {"labels.csv", rows("image,label,remark\n", "\"FILE.png\",\"LABEL\",\"so, so\"\n"), nil, false},
		"tabs":             {"labels.tsv", rows("file\tlabel\n", "FILE.png\tLABEL\n"), nil, false},
		"beside pictures":  {"images/metadata.csv", rows("file_name,label\n", "FILE.png,LABEL\n"), nil, false},
		"from a folder":    {"annotations/all.csv", rows("file,label\n", "../images/FILE.png,LABEL\n"), nil, false},
		"split":            {"labels.csv", rows("file,label,split\n", "FILE.png,LABEL,PART\n"), nil, true},
		"split, no header": {"labels.csv", rows("", "FILE.png,PART,LABEL\n"), nil, true},
		"other set":        {"labels.csv", rows("file,label,dataset\n", "FILE.png,LABEL,mine\n"), nil, false},
		"JSON lines":       {"metadata.jsonl", rows("", `{"file_name": "FILE.png", "label": "LABEL", "size": [3, 4]}`+"\n"), nil, false},
		"JSON with parts":  {"data.ndjson", rows("", `{"image": "FILE.png", "category": NUMBER, "split": "PART"}`+"\n\n"), []string{"0", "1"}, true},
		"numbers":          {"labels.csv", rows("file,label\n", "FILE.png,NUMBER\n"), []string{"0", "1"}, false},
		"floats":           {"labels.csv", rows("file,label\n", "FILE.png,NUMBER.0\n"), []string{"0", "1"}, false},
		"names go first":   {"labels.csv", rows("file,class_id,class_name\n", "FILE.png,NUMBER,LABEL\n"), nil, false},
	} {
		dir := flat(t, map[string]string{c.file: c.text})
		d, lines := logged(t, dir, Options{ValFraction: 0.25})
		if want := append([]string{"cat", "dog"}, c.classes...)[len(c.classes):]; !slices.Equal(d.Classes, want) {
			t.Errorf("%s: classes %q", name, d.Classes)
		}
		want := [3]int{6, 2, 0}
		if c.split {
			want = [3]int{4, 2, 2}
		}
		if got := counts(t, d); got != want {
			t.Errorf("%s: %v pictures, want %v", name, got, want)
		}
		if len(lines) != 1 || lines[0] != note+c.file+`"` {
			t.Errorf("%s: logged %q", name, lines)
		}
		files := map[string][]byte{c.file: []byte(c.text)}
		for i := range 8 {
			files[fmt.Sprintf("images/%02d.png", i)] = paint(t, ".png", i)
		}
		for _, spec := range []string{writeFile(t, "x.tar", makeTar(t, "around/", files)), writeFile(t, "x.zip", makeZip(t, "", files))} {
			if e := mustOpen(t, spec, Options{ValFraction: 0.25}); e.Fingerprint != d.Fingerprint {
				t.Errorf("%s: the archive differs from the folder", name)
			}
		}
	}
}

// TestLabelFilesOfParts: a table for each part, and one for the test part alone.
func TestLabelFilesOfParts(t *testing.T) {
	files := map[string][]byte{}
	table := map[string]string{"train": "file,label\n", "test": "Path,ClassId\n"}
	for i := range 8 {
		files[fmt.Sprintf("train/%02d.png", i)] = paint(t, ".png", i)
		table["train"] += fmt.Sprintf("%02d.png,%d\n", i, i/4)
		files[fmt.Sprintf("test/%02d.png", i)] = paint(t, ".png", 10+i)
		table["test"] += fmt.Sprintf("test/%02d.png,%d\n", i, i/4)
	}
	files["train.csv"], files["test.csv"] = []byte(table["train"]), []byte(table["test"])
	d := mustOpen(t, writeFolder(t, files), Options{ValFraction: 0.25})
	if got := counts(t, d); got != [3]int{6, 2, 8} {
		t.Errorf("a table for each part: %v pictures", got)
	}
	// As the traffic signs of GTSRB: folders for training, a table for testing.
	for i := range 8 {
		delete(files, fmt.Sprintf("train/%02d.png", i))
		files[fmt.Sprintf("train/%d/%02d.png", i/4, i)] = paint(t, ".png", i)
	}
	delete(files, "train.csv")
	d = mustOpen(t, writeFolder(t, files), Options{ValFraction: 0.25})
	if got := counts(t, d); got != [3]int{6, 2, 8} {
		t.Errorf("folders and a table: %v pictures", got)
	}
	// Without its table, the test part is left out.
	delete(files, "test.csv")
	if d = mustOpen(t, writeFolder(t, files), Options{}); d.Test != nil || Summarize(d.LeftOut) != "left out 8 files: in a test part without labels (the first is test/00.png)" {
		t.Errorf("test part %v; %s", d.Test, Summarize(d.LeftOut))
	}
	// Pictures in one folder, and tables that say of which part they are.
	for name := range files {
		delete(files, name)
	}
	for i := range 8 {
		files[fmt.Sprintf("%02d.png", i)] = paint(t, ".png", i)
	}
	files["train_labels.csv"] = []byte("00.png,cat\n01.png,cat\n04.png,dog\n05.png,dog\n")
	files["val_labels.csv"] = []byte("02.png,cat\n06.png,dog\n")
	d = mustOpen(t, writeFolder(t, files), Options{})
	if got := counts(t, d); got != [3]int{4, 2, 0} || Summarize(d.LeftOut) != "left out 2 files: without a label (the first is 03.png)" {
		t.Errorf("tables by name: %v pictures; %s", got, Summarize(d.LeftOut))
	}
}

// TestLabelFileThatIsNotWhole: pictures without rows, rows without pictures.
func TestLabelFileThatIsNotWhole(t *testing.T) {
	text := strings.Replace(rows("file,label\n", "FILE.png,LABEL\n"), "03.png", "gone.png", 1)
	_, lines := logged(t, flat(t, map[string]string{"labels.csv": text}), Options{})
	want := []string{
		`level=WARN msg="DATA: left out 1 file: without a label (images/03.png)"`,
		`level=INFO msg="DATA: the labels are those of labels.csv"`,
		`level=INFO msg="DATA: 1 of the 8 rows of labels.csv name no picture that is there (the first is "gone.png")"`,
	}
	if !slices.Equal(lines, want) {
		t.Errorf("logged %q, want %q", lines, want)
	}
}

// TestFoldersGoFirst: a table beside class folders changes nothing, and is spoken
// of if it says something else.
func TestFoldersGoFirst(t *testing.T) {
	files := map[string][]byte{}
	for i := range 8 {
		files[fmt.Sprintf("%s/%02d.png", []string{"cat", "dog"}[i/4], i)] = paint(t, ".png", i)
	}
	plain := mustOpen(t, writeFolder(t, files), Options{})
	files["labels.csv"] = []byte(rows("file,label\n", "FILE.png,NUMBER\n"))
	if d, lines := logged(t, writeFolder(t, files), Options{}); d.Fingerprint != plain.Fingerprint || len(lines) != 0 {
		t.Errorf("a table that agrees: %q, %q", d.Classes, lines)
	}
	files["labels.csv"] = []byte(rows("file,label\n", "FILE.png,PART\n"))
	dir := writeFolder(t, files)
	d, lines := logged(t, dir, Options{})
	if d.Fingerprint != plain.Fingerprint || len(lines) != 1 || !strings.Contains(lines[0], "labels.csv gives cat/02.png another class") {
		t.Errorf("a table that disagrees: %q, %q", d.Classes, lines)
	}
	if d, lines = logged(t, dir, Options{Labels: NoLabels}); d.Fingerprint != plain.Fingerprint || len(lines) != 0 {
		t.Errorf("without tables: %q, %q", d.Classes, lines)
	}
	if d, _ = logged(t, dir, Options{Labels: "labels.csv"}); !slices.Equal(d.Classes, []string{"test", "train", "val"}) {
		t.Errorf("by the table: %q", d.Classes)
	}
	other := writeFile(t, "elsewhere.csv", []byte(rows("file,label\n", "FILE.png,LABELx\n")))
	if d, _ = logged(t, dir, Options{Labels: other}); !slices.Equal(d.Classes, []string{"catx", "dogx"}) {
		t.Errorf("by a table elsewhere: %q", d.Classes)
	}
}

// TestNameLabels: daisy_0.jpg is as good a name as 0_daisy.jpg.
func TestNameLabels(t *testing.T) {
	for file, want := range map[string]string{
		"daisy_0.jpg": "daisy", "a/b/golden_retriever_012.png": "golden_retriever", "cat.12.jpg": "cat", "Rose-3.jpg": "Rose",
		"0_daisy.jpg": "", "daisy.jpg": "", "daisy0.jpg": "", "IMG_0001.jpg": "", "DSC-12.jpg": "", "2019-04.jpg": "", "_1.jpg": "", "frame.7.png": "",
	} {
		if got := nameLabel(file); got != want {
			t.Errorf("%s is of class %q, want %q", file, got, want)
		}
	}
	files := map[string][]byte{}
	for i := range 8 {
		files[fmt.Sprintf("train/%s_%d.jpg", []string{"rose", "daisy"}[i%2], i)] = paint(t, ".jpg", i)
		files[fmt.Sprintf("test/%d.jpg", i)] = paint(t, ".jpg", i+10)
	}
	d, lines := logged(t, writeFolder(t, files), Options{})
	if !slices.Equal(d.Classes, []string{"daisy", "rose"}) || d.Train.Len() != 6 || d.Test != nil || d.Train.Label(0) != 0 || !strings.Contains(d.Train.File(0), "daisy") {
		t.Errorf("classes %q, %v", d.Classes, names(d.Train))
	}
	if len(lines) != 2 || !strings.Contains(lines[1], `train/daisy_1.jpg is of class "daisy"`) && !strings.Contains(lines[1], `is of class "rose"`) {
		t.Errorf("logged %q", lines)
	}
}

func TestLabelErrors(t *testing.T) {
	one := map[string][]byte{"images/IMG_1.png": paint(t, ".png", 1), "images/IMG_2.png": paint(t, ".png", 2)}
	two := func(text string) string { return flat(t, map[string]string{"labels.csv": text}) }
	twins := writeFolder(t, map[string][]byte{"a/1.png": paint(t, ".png", 1), "b/1.png": paint(t, ".png", 2), "c.png": paint(t, ".png", 3),
		"labels.csv": []byte("file,label\n1.png,cat\n")})
	for name, c := range map[string]struct {
		spec, want string
		o          Options
	}{
		"one class":        {writeFolder(t, one), `all 2 pictures are of one class, "images"`, Options{}},
		"one label":        {two("file,label\n00.png,cat\n01.png,cat\n"), `of one class, "cat"`, Options{}},
		"contradiction":    {two("file,label\n00.png,cat\n01.png,dog\n00.png,dog\n"), `images/00.png is of class "cat" by line 2 of labels.csv and "dog" by line 4`, Options{}},
		"two of a name":    {twins, `line 2 of labels.csv names "1.png", which may be a/1.png or b/1.png`, Options{}},
		"no columns":       {two("who,what,where\na,b,c\n"), "labels.csv is no label file: it names no columns", Options{}},
		"one class still":  {flat(t, map[string]string{"t.csv": "a,b,c\n"}), "t.csv is no label file", Options{}},
		"captions":         {two(rows("file,text\n", "FILE.png,this is FILE\n")), "labels.csv is no label file", Options{}},
		"part unknown":     {two("file,label,split\n00.png,cat,fold3\n"), `line 2: the part "fold3"`, Options{}},
		"short row":        {two("file,label\n00.png,cat\n01.png\n"), "line 3 has 1 columns", Options{}},
		"no such file":     {two(""), `no label file "none.csv"`, Options{Labels: "none.csv"}},
		"not of the data":  {two(""), "names no picture of", Options{Labels: writeFile(t, "x.csv", []byte("file,label\nx.png,1\n"))}},
		"empty label file": {two(""), "it has no rows", Options{Labels: "labels.csv"}},
		"broken JSON":      {flat(t, map[string]string{"l.jsonl": "{\"file\": \n"}), "l.jsonl is no label file: line 1 is no JSON object", Options{}},
		"JSON of lists":    {flat(t, map[string]string{"l.jsonl": `{"file": "00.png", "label": ["a"]}`}), "line 1: a file or label is neither", Options{}},
	} {
		if strings.HasPrefix(c.want, "labels.csv is no") || strings.HasPrefix(c.want, "line") && name != "two of a name" || strings.HasPrefix(c.want, "l.jsonl") {
			// Nothing else says what the pictures are.
			for i := range 8 {
				old, now := filepath.Join(c.spec, "images", fmt.Sprintf("%02d.png", i)), filepath.Join(c.spec, fmt.Sprintf("%02d.png", i))
				if err := os.Rename(old, now); err != nil {
					t.Fatal(err)
				}
			}
		}
		d, err := Open(context.Background(), c.spec, Options{CacheDir: t.TempDir(), Labels: c.o.Labels})
		if err == nil {
			d.Close()
			t.Errorf("%s: opened, classes %q", name, d.Classes)
			continue
		}
		if !strings.Contains(err.Error(), c.want) || strings.Contains(err.Error(), "\n") {
			t.Errorf("%s: %q, want %q", name, err, c.want)
		}
	}
}
