package pickle

import (
	"encoding/binary"
	"errors"
	"math"
	"math/big"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"

	"github.com/potstill/potstill/layers/checkpoint/named"
)

func decode(b string) (any, int, error) {
	budget := named.NewBudget(len(b))
	d := &Decoder{Globals: NumPy(budget), Budget: budget, Fix: "do not"}
	d.Globals["argparse Namespace"] = Inert("argparse", "Namespace")
	return d.Decode([]byte(b))
}

// TestValues decodes pickles as CPython writes them, and by hand, in all
// protocols; what each means is told by Lib/pickletools.py.
func TestValues(t *testing.T) {
	wide, _ := new(big.Int).SetString("-170141183460469231731687303715884105728", 10) // -2**127
	list := func(v ...any) any { return &List{Items: v} }
	for b, want := range map[string]any{
		"N.": nil, "\x88.": true, "\x89.": false, "I01\n.": true, "I00\n.": false,
		"I-12\n.": int64(-12), "L123456789012L\n.": int64(123456789012), "L5\n.": int64(5), "K\xff.": int64(255), "M\xff\xff.": int64(65535),
		"J\xfe\xff\xff\xff.": int64(-2), "\x8a\x00.": int64(0), "\x8a\x01\x80.": int64(-128), "\x8a\x02\xff\x00.": int64(255),
		"\x8a\x08\x00\x00\x00\x00\x00\x00\x00\x80.": int64(math.MinInt64), "\x8b\x09\x00\x00\x00\x01\x00\x00\x00\x00\x00\x00\x00\x00.": int64(1),
		"\x8a\x10" + strings.Repeat("\x00", 15) + "\x80.": wide,
		"F1.5\n.":                                 1.5,
		"Finf\n.":                                 math.Inf(1),
		"G\xc0\x00\x00\x00\x00\x00\x00\x00.":      -2.0,
		"S'a\\'b\\x00\\n'\n.":                     "a'b\x00\n",
		"S\"q\"\n.":                               "q",
		"V\xe9\\u0041\\n\\U0001f600\n.":           "éA\\n😀",
		"X\x02\x00\x00\x00hi.":                    "hi",
		"\x8c\x02hi.":                             "hi",
		"\x8d\x02\x00\x00\x00\x00\x00\x00\x00hi.": "hi",
		"U\x02hi.":                                "hi",
		"T\x02\x00\x00\x00hi.":                    "hi",
		"C\x01a.":                                 Bytes("a"),
		"B\x01\x00\x00\x00a.":                     Bytes("a"),
		"\x8e\x01\x00\x00\x00\x00\x00\x00\x00a.":  Bytes("a"),
		"\x96\x01\x00\x00\x00\x00\x00\x00\x00a.":  Bytes("a"),
		").":                                      Tuple(nil),
		"(K\x01K\x02t.":                           Tuple{int64(1), int64(2)},
		"K\x01\x85.":                              Tuple{int64(1)},
		"NN\x86.":                                 Tuple{nil, nil},
		"NNN\x87.":                                Tuple{nil, nil, nil},
		"].":                                      &List{},
		"(NK\x01l.":                               list(nil, int64(1)),
		"]Na.":                                    list(nil),
		"](K\x01K\x02e.":                          list(int64(1), int64(2)),
		"\x8f(K\x01\x90.":                         list(int64(1)),
		"(K\x01\x91.":                             list(int64(1)),
		"NK\x010.":                                nil,
		"N(K\x011.":                               nil,
		"(0N.":                                    nil,
		"K\x022.":                                 int64(2),
		"K\x07p5\n0g5\n.":                         int64(7),
		"K\x07q\x000h\x00.":                       int64(7),
		"K\x07r\x00\x00\x01\x000j\x00\x00\x01\x00.":          int64(7),
		"K\x07\x94K\x08\x940h\x01\x86.":                      Tuple{int64(7), int64(8)},
		"\x80\x04\x95\x03\x00\x00\x00\x00\x00\x00\x00K\x01.": int64(1),
		"c_codecs\nencode\n(V\xe9\x41\nVlatin1\ntR.":         Bytes("\xe9A"),
		"cbuiltins\nbytes\n)R.":                              Bytes{},
		"cargparse\nNamespace\n)\x81N}\x86b.":                &Record{Module: "argparse", Name: "Namespace", Args: Tuple(nil), State: Tuple{nil, &Dict{}}},
		"(iargparse\nNamespace\nNb.":                         &Record{Module: "argparse", Name: "Namespace", Args: Tuple{}},
		"(cargparse\nNamespace\nK\x01o.":                     &Record{Module: "argparse", Name: "Namespace", Args: Tuple{int64(1)}},
		"cargparse\nNamespace\n)}\x92.":                      &Record{Module: "argparse", Name: "Namespace", Args: Tuple(nil)},
		"\x8c\x08argparse\x8c\x09Namespace\x93)R.":           &Record{Module: "argparse", Name: "Namespace", Args: Tuple(nil)},
		"cnumpy.core.multiarray\nscalar\n(cnumpy\ndtype\n(X\x02\x00\x00\x00u1K\x00K\x01tR(K\x03S'|'\nNNNJ\xff\xff\xff\xffNNtbU\x01\x07tR.": nil,
	} {
		got, n, err := decode(b)
		if err != nil || n != len(b) {
			t.Errorf("%q: %d of %d bytes, %v", b, n, len(b), err)
			continue
		}
		if a, ok := got.(*Array); ok {
			if a.DType != "uint8" || string(a.Data) != "\x07" || len(a.Shape) != 0 {
				t.Errorf("%q is %+v", b, a)
			}
			continue
		}
		if !reflect.DeepEqual(got, want) {
			t.Errorf("%q is %#v, want %#v", b, got, want)
		}
	}
}

// TestDict sets keys again and again, of all kinds, in small and large dicts.
func TestDict(t *testing.T) {
	for _, n := range []int{1, few, few + 1, 100} {
		var b strings.Builder
		b.WriteString("}(")
		for round := range 2 {
			for i := range n {
				w := &Writer{texts: map[string]int{}, memo: 1 << 20}
				w.Text("k" + string(rune('a'+i)))
				b.Write(w.b)
				b.WriteString("K" + string([]byte{byte(i + 100*round)}))
				b.WriteString("K" + string([]byte{byte(i)}) + "K" + string([]byte{byte(round)}))
			}
		}
		b.WriteString(")K\x01)K\x02u.")
		v, _, err := decode(b.String())
		if err != nil {
			t.Fatal(err)
		}
		d := v.(*Dict)
		if len(d.Keys) != 2*n+2 || len(d.Values) != len(d.Keys) {
			t.Fatalf("%d keys became %d", n, len(d.Keys))
		}
		for i := range n {
			if v, ok := d.Get("k" + string(rune('a'+i))); !ok || v != int64(i+100) {
				t.Errorf("key %d of %d has %v", i, n, v)
			}
			if d.Keys[2*i+1] != int64(i) || d.Values[2*i+1] != int64(1) {
				t.Errorf("key %v has %v", d.Keys[2*i+1], d.Values[2*i+1])
			}
		}
		if _, ok := d.Get("absent"); ok {
			t.Error("an absent key was found")
		}
	}
}

// TestWriter decodes what the writer writes, and wants the numbers that
// CPython's pickler gives the memo: one for each value put there.
func TestWriter(t *testing.T) {
	ints := []int{0, 255, 256, 65535, 65536, 1 << 31, 1<<31 - 1, -1, -129, -1 << 31, -1<<31 - 1, 1 << 40, -1 << 40, math.MaxInt, math.MinInt}
	for _, n := range ints {
		w := NewWriter(2)
		w.Int(n)
		v, _, err := decode(string(w.Stop()))
		if got, ok := Int(v); err != nil || !ok || got != n {
			t.Errorf("%d became %v, %v", n, v, err)
		}
	}
	w := NewWriter(3)
	w.Ops("(")
	w.Ints([]int{1, 2, 3, 4, 5})
	w.Text("a")
	w.Text("b")
	w.Text("a")
	w.Bytes([]byte("xyz"))
	w.Bytes(make([]byte, 300))
	w.Bool(true)
	w.Ints(nil)
	w.Ops("t")
	v, _, err := decode(string(w.Stop()))
	want := Tuple{Tuple{int64(1), int64(2), int64(3), int64(4), int64(5)}, "a", "b", "a", Bytes("xyz"), Bytes(make([]byte, 300)), true, Tuple(nil)}
	if err != nil || !reflect.DeepEqual(v, want) || w.memo != 3 {
		t.Errorf("%#v, %d in the memo, %v", v, w.memo, err)
	}
	for range 300 {
		w.Put()
	}
	w.Get(299)
	if !strings.HasSuffix(string(w.b), "r"+string(binary.LittleEndian.AppendUint32(nil, 302))+"j"+string(binary.LittleEndian.AppendUint32(nil, 299))) {
		t.Errorf("large memos end with %q", w.b[len(w.b)-10:])
	}
}

// TestRefuses wants each fault named; the files of package foreign's tests hold
// many more.
func TestRefuses(t *testing.T) {
	for b, want := range map[string]string{
		"":                                     "ends at byte 0 without a STOP",
		"K":                                    "announces 1 bytes at byte 1, but only 0 follow",
		"Iabc\n.":                              `"abc" in the place of an integer`,
		"I5":                                   "does not end",
		"Fx\n.":                                `"x" in the place of a float`,
		"F" + strings.Repeat("1", 500) + "\n.": "a float of 500 digits",
		"Sab\n.":                               "in the place of a quoted string",
		"S'\\q'\n.":                            "broken escape",
		"V\\u12\n.":                            "broken escape",
		"N0N0(N00.":                            "takes more from the stack",
		"NNa.":                                 "appends to None",
		"N)K\x01s.":                            "sets an item of None",
		"}(Nu.":                                "a key without a value",
		"NNb.":                                 "sets the state of None",
		"N)R.":                                 "calls None",
		"cargparse\nNamespace\nNR.":            "with None instead of a tuple",
		"cargparse\nNamespace\n)}NNs\x92.":     "named arguments",
		"cnumpy\nndarray\n)R.":                 "may only be named",
		"NN\x93.":                              "not a short str",
		"Np-1\n.":                              "uses the memo -1",
		"Npx\n.":                               "in the place of a memo's number",
		"g99999999999999999999999\n.":          "in the place of a memo's number",
		"c" + strings.Repeat("x", 600) + "\ny\n.": "names something with 600 letters",
		"(o.":                               "takes more from the stack",
		"c_codecs\nencode\n(Va\nVutf8\ntR.": "other than in latin1",
		"c_codecs\nencode\n(V\\u0100\nVlatin1\ntR.": "other letters",
		"cnumpy\ndtype\n(NtR.":                      "code of a numpy.dtype is None",
		"cnumpy\ndtype\n(Vc8\ntR.":                  "not a plain number",
	} {
		_, _, err := decode(b)
		var format *named.FormatError
		if !errors.As(err, &format) || !strings.Contains(err.Error(), want) || strings.Contains(err.Error(), "\n") {
			t.Errorf("%q: %v, want %q", b, err, want)
		}
	}
}

func FuzzDecode(f *testing.F) {
	files, err := filepath.Glob("../foreign/testdata/*.pkl")
	if err != nil || len(files) < 10 {
		f.Fatalf("%d seeds, %v", len(files), err)
	}
	for _, file := range files {
		b, err := os.ReadFile(file)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(b)
	}
	for _, s := range []string{"]q\x00h\x00a.", "(lp0\nI1\naS'a'\na.", "}(K\x01K\x02N)u.", "c_codecs\nencode\n(Va\nVlatin1\ntR."} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		_, n, err := decode(string(b))
		if err == nil && (n < 1 || n > len(b)) {
			t.Fatalf("%d bytes of %d", n, len(b))
		}
		var format *named.FormatError
		if err != nil && (!errors.As(err, &format) || strings.ContainsAny(err.Error(), "\n\r")) {
			t.Fatalf("error %q", err)
		}
	})
}
