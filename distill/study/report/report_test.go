package report

import (
	"bytes"
	"encoding/json"
	"encoding/xml"
	"fmt"
	"html"
	"image/png"
	"io"
	"maps"
	"os"
	"path/filepath"
	"reflect"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
)

func writeSample(t *testing.T, r *Results) (dir string, p Paths) {
	t.Helper()
	dir = t.TempDir()
	p, err := WriteAll(dir, r)
	if err != nil {
		t.Fatal(err)
	}
	return dir, p
}

func read(t *testing.T, path string) []byte {
	t.Helper()
	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// wellFormed fails unless b is XML from the first byte to the last, and
// returns how often each element occurs.
func wellFormed(t *testing.T, b []byte) map[string]int {
	t.Helper()
	seen := map[string]int{}
	d := xml.NewDecoder(bytes.NewReader(b))
	for {
		tok, err := d.Token()
		if err == io.EOF {
			return seen
		}
		if err != nil {
			t.Fatalf("not well-formed: %v", err)
		}
		if e, ok := tok.(xml.StartElement); ok {
			seen[e.Name.Local]++
		}
	}
}

func TestWriteAllWritesFiveWholeFiles(t *testing.T) {
	dir, p := writeSample(t, sample())
	var names []string
	entries, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range entries {
		names = append(names, e.Name())
	}
	want := []string{"chart.png", "chart.svg", "report.html", "report.md", "results.json"}
	if !slices.Equal(names, want) {
		t.Fatalf("files %v, want %v", names, want)
	}
	if got := []string{p.PNG, p.SVG, p.HTML, p.Markdown, p.JSON}; filepath.Base(got[0]) != want[0] || filepath.Dir(got[4]) != dir {
		t.Fatalf("paths %v", got)
	}
	img, err := png.Decode(bytes.NewReader(read(t, p.PNG)))
	if err != nil {
		t.Fatal(err)
	}
	if b := img.Bounds(); b.Dx() < 1500 || b.Dy() < 900 {
		t.Errorf("chart.png is only %v", b)
	}
	if n := wellFormed(t, read(t, p.SVG)); n["svg"] != 1 || n["text"] < 15 || n["path"] < 20 {
		t.Errorf("chart.svg holds %v", n)
	}
	if _, err := WriteAll(dir, sample()); err != nil {
		t.Errorf("writing over an earlier report: %v", err)
	}
}

func TestChartShowsCurvesAndMarks(t *testing.T) {
	r := sample()
	svg, err := renderSVG(newSizeChart(r, true))
	if err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{"pruned at rate 0.95<", "pruned at rate 0.975<", ">big model<", ">8-bit<", ">cnn-group<",
		"Off the scale", "resnet18", "kB", r.Title} {
		if !strings.Contains(string(svg), want) {
			t.Errorf("chart.svg lacks %q", want)
		}
	}
	if strings.Contains(string(svg), ">resnet18<") {
		t.Error("the teacher, 50 times as large as the curves, is on the chart")
	}
	for i := range r.Curves[0].Points {
		r.Curves[0].Points[i].Bytes = 0
	}
	if c := newSizeChart(r, true); !strings.Contains(c.xlabel, "parameters") || c.lines[1].pts[0].X > 250e3 {
		t.Errorf("without bytes the axis is %q", c.xlabel)
	}
	r.Curves = nil
	if c := newSizeChart(r, true); !c.log || len(c.marks) == 0 {
		t.Error("models of very different size alone should be on a logarithmic axis")
	}
}

func TestLabelsDoNotOverlap(t *testing.T) {
	r := sample()
	for i := range 6 {
		r.Rows = append(r.Rows, Row{Table: "Architectures", Name: "crowd-" + strings.Repeat("x", i+3), Params: 1,
			Bytes: 700_000 + int64(i), ValAccuracy: new(0.76 + 1e-4*float64(i))})
	}
	svg, err := renderSVG(newSizeChart(r, false))
	if err != nil {
		t.Fatal(err)
	}
	type box struct {
		name       string
		x, y, w, h float64
	}
	var boxes []box
	sty := textStyle(10.5, ink, false)
	for _, m := range regexp.MustCompile(`<text x="([^"]+)" y="([^"]+)"[^>]*>(crowd[^<]*)`).FindAllStringSubmatch(string(svg), -1) {
		x, errX := strconv.ParseFloat(m[1], 64)
		y, errY := strconv.ParseFloat(m[2], 64)
		if errX != nil || errY != nil {
			t.Fatal(m)
		}
		b := box{m[3], x, y, sty.Width(m[3]).Points(), 9}
		for _, o := range boxes {
			if b.x < o.x+o.w && o.x < b.x+b.w && b.y < o.y+o.h && o.y < b.y+b.h {
				t.Errorf("labels %q and %q overlap", b.name, o.name)
			}
		}
		boxes = append(boxes, b)
	}
	if len(boxes) != 6 {
		t.Errorf("%d of six labels are on the chart", len(boxes))
	}
}

func TestHTMLHoldsEverything(t *testing.T) {
	r := sample()
	b, err := renderHTML(r)
	if err != nil {
		t.Fatal(err)
	}
	page := string(b)
	for _, w := range r.Rows {
		for _, want := range []string{w.Name, commas(w.Params), commas(w.Bytes), percentOf(w.ValAccuracy)} {
			if !strings.Contains(page, want) {
				t.Errorf("row %s: %q is missing", w.Name, want)
			}
		}
	}
	for _, want := range []string{"Published counterparts, measured on Food-11", "918,038", "78.71 %", "20 points below", "406 of 500 validation pictures right",
		"one seed, 7: how far another seed", "There are no test pictures",
		"taken for</span>&nbsp;tulip", "97.00 %", r.Data.Fingerprint, "--data flowers5.tar", "temperature: 20", "30 min 34 s",
		"prefers-color-scheme: dark", "color-mix", `style="--v:0.840"`, `lang="en"`} {
		if !strings.Contains(page, want) {
			t.Errorf("report.html lacks %q", want)
		}
	}
	if n := strings.Count(page, "<svg"); n != 1+len(r.Training) {
		t.Errorf("%d charts, want the size chart and %d panels", n, len(r.Training))
	}
	if n := strings.Count(page, "data:image/png;base64,"); n != 7 {
		t.Errorf("%d pictures, want 7", n)
	}
	for _, bad := range []string{"ZgotmplZ", "<script", "http://", "https://", "NaN", "url(", "@import", "<no value>"} {
		for text := range strings.SplitSeq(page, "\n") {
			if strings.Contains(text, bad) && !strings.Contains(text, "www.w3.org") {
				t.Errorf("report.html holds %q: %.120s", bad, text)
			}
		}
	}
}

func TestInlineSVGFollowsTheColorScheme(t *testing.T) {
	r := sample()
	r.Rows[0].Name = "fill:#0072B2"
	svg, err := inlineSVG(newSizeChart(r, false), `size & "accuracy"`)
	if err != nil {
		t.Fatal(err)
	}
	wellFormed(t, []byte(svg))
	if !strings.Contains(svg, "var(--s0)") || !strings.Contains(svg, "var(--ink)") {
		t.Error("no CSS variables")
	}
	if left := regexp.MustCompile(`(fill|stroke):#[0-9A-F]+[";]`).FindAllString(svg, -1); left != nil {
		t.Errorf("fixed colors %v", left)
	}
	if !strings.Contains(svg, ">fill:#0072B2<") {
		t.Error("a label that spells a color was changed")
	}
}

func TestHostileNamesStayText(t *testing.T) {
	const evil = `<script>alert("x")</script>`
	r := sample()
	r.Data.Classes[0], r.Title, r.Study, r.Command, r.Recipe = evil, evil+"\x00\x1b[2J\xff", evil, evil+"\n```\n# x", evil
	r.Data.Name, r.Device, r.PublishedData = evil, evil, evil
	for i := range r.Rows {
		r.Rows[i].Name, r.Rows[i].Notes, r.Rows[i].Table = evil, evil, evil+"|"
	}
	r.Mistakes[0].True, r.Mistakes[0].File = evil, `x" onerror="alert(1)`
	r.Checks[0] = Check{Name: evil, Want: evil, Got: evil}
	r.Curves[0].Published = evil
	_, p := writeSample(t, r)
	page := string(read(t, p.HTML))
	if strings.Contains(page, "<script") || strings.Contains(page, `" onerror=`) {
		t.Error("report.html lets markup through")
	}
	if !strings.Contains(page, "&lt;script&gt;") {
		t.Error("the name itself is gone")
	}
	wellFormed(t, read(t, p.SVG))
	outside, _, _ := strings.Cut(string(read(t, p.Markdown)), "\n````sh\n")
	if strings.Contains(outside, "<script") || !strings.Contains(outside, `&lt;script&gt;`) {
		t.Error("report.md lets markup through")
	}
	var text strings.Builder
	for _, table := range r.Tables() {
		table.Rows[0][0] = "a\x1b[31mb"
		if err := WriteTable(&text, table); err != nil {
			t.Fatal(err)
		}
	}
	if strings.ContainsAny(text.String(), "\x1b\x00") {
		t.Error("a terminal would obey a name")
	}
}

func TestJSONRoundTripsWithDocumentedNames(t *testing.T) {
	r := sample()
	_, p := writeSample(t, r)
	b := read(t, p.JSON)
	var back Results
	d := json.NewDecoder(bytes.NewReader(b))
	d.DisallowUnknownFields()
	if err := d.Decode(&back); err != nil {
		t.Fatal(err)
	}
	want := *r
	want.Rows = slices.Clone(r.Rows)
	for i := range want.Rows {
		want.Rows[i].Runs = []Run{}
	}
	want.Differences = []Difference{}
	want.Mistakes = slices.Clone(r.Mistakes)
	for i := range want.Mistakes {
		want.Mistakes[i].Pix, want.Mistakes[i].H, want.Mistakes[i].W = nil, 0, 0
	}
	if !reflect.DeepEqual(back, want) {
		t.Errorf("came back as %+v", back)
	}
	var top map[string]any
	if err := json.Unmarshal(b, &top); err != nil {
		t.Fatal(err)
	}
	item := func(v any, i int) any { return v.([]any)[i] }
	curve := item(top["curves"], 0)
	history := item(top["training"], 0)
	for _, c := range []struct {
		what, names string
		v           any
	}{
		{"top", "checks command confusions curves data device differences mistakes published_data recipe rows seconds seed seeds started study threads title training version", top},
		{"data", "classes fingerprint name size test train val", top["data"]},
		{"row", "bytes images_per_second latency macs memory_bytes method name notes params parent published runs step table test test_accuracy test_loss test_spread val_accuracy val_loss val_spread validation", item(top["rows"], 1)},
		{"published", "bytes notes val_accuracy", item(top["rows"], 0).(map[string]any)["published"]},
		{"curve", "points published rate", curve},
		{"point", "bytes params round test_accuracy test_spread val_accuracy val_spread widths", item(curve.(map[string]any)["points"], 0)},
		{"history", "epochs step", history},
		{"epoch", "epoch images_per_second lr train_accuracy train_loss val_accuracy val_loss", item(history.(map[string]any)["epochs"], 0)},
		{"confusion", "matrix part step", item(top["confusions"], 0)},
		{"mistake", "file predicted prob step true", item(top["mistakes"], 0)},
		{"check", "got name pass want", item(top["checks"], 0)},
	} {
		got := slices.Sorted(maps.Keys(c.v.(map[string]any)))
		if strings.Join(got, " ") != c.names {
			t.Errorf("%s has fields %v, want %s", c.what, got, c.names)
		}
	}
}

// A model that stands in two tables is one model.
func TestSummaryCountsModelsOnce(t *testing.T) {
	r := sample()
	before := r.summary()
	again := r.Rows[0]
	again.Table = "Another table"
	r.Rows = append(r.Rows, again)
	if got := r.summary(); got != before || !strings.Contains(got, fmt.Sprintf("made %d models", len(r.Rows)-1)) {
		t.Errorf("the summary is %q, with a row twice %q", before, got)
	}
}

// Names of files under Mistakes are shown whole: two that differ at their ends
// stay apart.
func TestMistakesShowWholeNames(t *testing.T) {
	r := sample()
	long := "validation/" + strings.Repeat("long/", 30)
	r.Mistakes = append(r.Mistakes[:0:0], r.Mistakes[0], r.Mistakes[0])
	r.Mistakes[0].File, r.Mistakes[1].File = long+"1.jpg", long+"2.jpg"
	page, err := renderHTML(r)
	if err != nil {
		t.Fatal(err)
	}
	for _, m := range r.Mistakes {
		if !strings.Contains(string(page), "<small>"+m.File) {
			t.Errorf("report.html lacks %s", m.File)
		}
	}
	if strings.Contains(string(page), "text-overflow") {
		t.Error("report.html cuts text")
	}
}

func TestEmptyResults(t *testing.T) {
	_, p := writeSample(t, &Results{Training: []History{{Step: "x"}}})
	b := string(read(t, p.JSON))
	if strings.Contains(b, "null") {
		t.Errorf("a list is null:\n%s", b)
	}
	wellFormed(t, read(t, p.SVG))
	if !strings.Contains(string(read(t, p.HTML)), "No model has been measured yet.") {
		t.Error("the page does not say that it is empty")
	}
}

func TestMarkdown(t *testing.T) {
	r := sample()
	md := string(renderMarkdown(r))
	for _, want := range []string{"](chart.png)", "| big model | distilled | 222,469 | 911,870 | 81.20 % |", "### Published counterparts, measured on Food-11",
		"| 8-bit within 0.5 points of fp32 |", "```yaml\nstudy: hw7", "- Seed: 7\n", "| dandelion | 6 | 88 |"} {
		if !strings.Contains(md, want) {
			t.Errorf("report.md lacks %q", want)
		}
	}
	r.Data.Name = "food 11"
	if md := string(renderMarkdown(r)); strings.Contains(md, "measured on Food-11") || !strings.Contains(md, "Bytes, published") || !strings.Contains(md, "same data set") {
		t.Error("on Food-11 itself the published columns need no reservation")
	}
}

func TestTables(t *testing.T) {
	tables := sample().Tables()
	if len(tables) != 2 || tables[0].Title != "Compression" || tables[1].Title != "Architectures" {
		t.Fatalf("tables %v", tables)
	}
	for _, table := range tables {
		for _, row := range table.Rows {
			if len(row) != len(table.Columns) {
				t.Errorf("row %v has %d cells for %d columns", row, len(row), len(table.Columns))
			}
		}
		for _, c := range table.Columns {
			if c.Group != "" || c.Name == "95 % interval" {
				t.Errorf("%s: the column %s, which has no figure that belongs there, is shown", table.Title, c.Name)
			}
		}
	}
	same := sample()
	same.PublishedData = same.Data.Name
	if got := same.Tables()[0].Rows[1][5]; got != dash {
		t.Errorf("bytes that were not published are shown as %q", got)
	}
	var b strings.Builder
	if err := WriteTable(&b, tables[0]); err != nil {
		t.Fatal(err)
	}
	lines := strings.Split(b.String(), "\n")
	ends := map[int]bool{}
	for _, l := range lines[2:8] { // headings to last row all end in the last, right-aligned column
		ends[len([]rune(l))] = true
	}
	if len(ends) != 1 {
		t.Errorf("not aligned:\n%s", b.String())
	}
}

// TestSeeds looks at what several seeds and a test part add.
func TestSeeds(t *testing.T) {
	r := seeded()
	page, err := renderHTML(r)
	if err != nil {
		t.Fatal(err)
	}
	md := string(renderMarkdown(r))
	for _, want := range []string{
		"Test accuracy", "79.53 ± 1.53 %", "means over 3 seeds (7, 8, 9)", "400 test pictures, which nothing was chosen by",
		"Differences, seed by seed", "−0.20, +0.10, −0.40", "−0.79 to +0.46", "74.10 %", "4.32 %", "dandelion, 51.25 %",
		"1.64 ms", "1.50 to 2.10 ms", "7,062,283", "1,235 kB", "torchinfo", "work/student-a%20b/best.safetensors", "seed 9",
		"406 of 500 test pictures right", "first seed, 7",
	} {
		if !strings.Contains(html.UnescapeString(string(page)), want) {
			t.Errorf("report.html lacks %q", want)
		}
		if !strings.Contains(md, want) {
			t.Errorf("report.md lacks %q", want)
		}
	}
	if strings.Contains(string(page), "one seed") || strings.Contains(md, "one seed") {
		t.Error("three seeds are called one")
	}
	if want := "Compression: test accuracy less that of big model, in points"; !strings.Contains(string(page), want) {
		t.Errorf("report.html lacks the chart %q", want)
	}
	c := newSizeChart(r, true)
	svg, err := renderSVG(c)
	if err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{"test accuracy, %", "over 3 seeds"} {
		if !strings.Contains(string(svg), want) {
			t.Errorf("chart.svg lacks %q", want)
		}
	}
	bare, err := renderSVG(newSizeChart(sample(), true))
	if err != nil {
		t.Fatal(err)
	}
	// A bar is three strokes; those of 16 points and of every mark, some of which need fewer leaders than before.
	if more := strings.Count(string(svg), "<path") - strings.Count(string(bare), "<path"); more < 3*(16+len(c.marks))-6 {
		t.Errorf("the bars are %d strokes, for 16 points and %d marks", more, len(c.marks))
	}
	if c.marks[1].half != 100*r.Rows[1].TestSpread.SD || c.ys[0] != 100**r.Curves[0].Points[7].TestAccuracy {
		t.Errorf("marks %+v, ys %v", c.marks, c.ys)
	}
}

func TestFormats(t *testing.T) {
	for _, c := range []struct{ got, want string }{
		{commas(918038), "918,038"}, {commas(-1234567), "-1,234,567"}, {commas(7), "7"}, {count(0), dash},
		{percent(0.7871), "78.71 %"}, {percentOf(nil), dash}, {rate(0), dash}, {rate(3.14), "3.1"}, {rate(1904.4), "1,904"},
		{seconds(3.25), "3.2 s"}, {seconds(59.7), "1 min 0 s"}, {seconds(7261), "2 h 1 min"}, {seconds(0), dash},
		{size(512), "512 bytes"}, {size(911870), "912 kB"}, {size(44790116), "44.8 MB"},
		{clean("a\nb\x00\xff"), "a b \uFFFD"}, {shorten("abcdefghij", 10), "abcdefghij"}, {shorten("abcdefghijk", 10), "abcde…hijk"}, {fence("a```b", "sh"), "````sh\na```b\n````"},
	} {
		if c.got != c.want {
			t.Errorf("got %q, want %q", c.got, c.want)
		}
	}
}
