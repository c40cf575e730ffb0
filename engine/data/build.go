package data

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"sync"
	"time"

	"github.com/potstill/potstill/engine/data/picture"
)

// The versions of a picture's pixels are part of every fingerprint. They stay as
// they are where pixels and labels do, since runs and studies are known by the
// fingerprints of their data. JPEG's pixels have changed once.
const (
	firstVersion = 1
	jpegVersion  = 2
)

// pixelVersion is the version of the pixels of these pictures.
func pixelVersion(lay *layout) int {
	for _, it := range lay.items {
		if picture.MayBeJPEG(it.file) {
			return jpegVersion
		}
	}
	return firstVersion
}

// racy is how old a source must be before its times are trusted: a file that is
// written again within a clock tick of being read keeps its time.
const racy = 2 * time.Second

// maxKept bounds the pixels that are kept of one image, in bytes: those of a
// square of 1182. Of larger pictures the file is kept, if it is smaller: decoding
// it takes some 30 ns of a processor for each pixel, a third of a second for 12
// megapixels. Such pictures are better scaled down: see Options.Resize.
const maxKept = 4 << 20

// builder opens or makes the store of one source.
type builder struct {
	ctx   context.Context
	src   source
	spec  string
	name  string
	o     Options
	cache cacheDir
	stamp stamp // what the source holds beside the dataset
}

// store finds the images. The quick way goes from the source's stamp (names,
// sizes, times) to its fingerprint; where no stamp is known, all bytes are
// hashed. Either way the fingerprint names the cache file, and only a file that
// is whole and carries that fingerprint is used.
func (b *builder) store() (*store, error) {
	cache := &b.cache
	state, newest, err := b.src.stamp(b.ctx)
	if err != nil {
		return nil, err
	}
	key := b.stampKey(state)
	if s, ok := cache.stamped(key); ok {
		if left, ok := b.src.noticed(); ok {
			s.Listing = left
		}
		if st := cache.open(s.print); st != nil && st.classes() <= len(s.Classes) {
			b.stamp, st.idx.Classes = s, s.Classes
			b.progress(len(st.idx.Items), len(st.idx.Items))
			return st, nil
		}
	}
	now := time.Now()
	l, err := b.src.list(b.ctx)
	if err != nil {
		return nil, err
	}
	lay, err := arrange(b.spec, l, b.o)
	if err != nil {
		return nil, err
	}
	sums, err := b.hash(lay)
	if err != nil {
		return nil, err
	}
	b.stamp = stamp{print: b.fingerprint(lay, sums), Classes: lay.classes, Listed: lay.listed, Listing: l.left, Layout: lay.left, Notes: lay.notes}
	st := cache.open(b.stamp.print)
	if st == nil {
		if st, err = b.decode(lay, sums); err != nil {
			return nil, err
		}
	} else {
		b.progress(len(lay.items), len(lay.items))
	}
	st.idx.Classes = lay.classes // a cache that is found may have been made with other names
	if st.mem == nil && now.Sub(newest) > racy {
		cache.stamp(key, b.stamp)
	}
	return st, nil
}

func (b *builder) progress(done, total int) {
	if b.o.Progress != nil {
		b.o.Progress(done, total)
	}
}

// stampKey names a state of a source together with the options that change what
// is found in it.
func (b *builder) stampKey(state string) string {
	h := sha256.New()
	fmt.Fprintf(h, "potstill stamp %d.%d size %d val %g", jpegVersion, stampVersion, b.o.Size, b.o.ValFraction)
	if b.o.EXIF {
		fmt.Fprint(h, " exif")
	}
	if b.o.Labels != "" {
		fmt.Fprintf(h, " labels %q", b.o.Labels)
		if f, err := os.ReadFile(b.o.Labels); err == nil {
			fmt.Fprintf(h, " %x", sha256.Sum256(f))
		}
	}
	fmt.Fprintf(h, "\n%s", state)
	return hex.EncodeToString(h.Sum(nil))
}

// stampVersion changes with the way in which a source is understood.
const stampVersion = 2

type digest = [sha256.Size]byte

// summed is a file's hash and length.
type summed struct {
	sum digest
	n   int64
}

// hash hashes every picture's file.
func (b *builder) hash(lay *layout) ([]summed, error) {
	sums := make([]summed, len(lay.items))
	err := parallel(b.ctx, b.src, lay.items,
		func(_ int, p []byte) (summed, error) { return summed{sha256.Sum256(p), int64(len(p))}, nil },
		func(i int, s summed) error { sums[i] = s; return nil })
	return sums, err
}

// fingerprint is the dataset's over names, parts, labels, hashes, the stored size
// and, if it is set, Options.EXIF.
func (b *builder) fingerprint(lay *layout, sums []summed) string {
	h := sha256.New()
	fmt.Fprintf(h, "potstill data %d size %d\n", pixelVersion(lay), b.o.Size)
	if b.o.EXIF {
		fmt.Fprintln(h, "exif")
	}
	for _, c := range lay.printed {
		fmt.Fprintf(h, "class %q\n", c)
	}
	for i, it := range lay.items {
		fmt.Fprintf(h, "%d %d %q %x\n", it.part, it.label, it.file, sums[i].sum)
	}
	for _, s := range lay.skipped {
		fmt.Fprintf(h, "skipped %q\n", s.File)
	}
	return hex.EncodeToString(h.Sum(nil))
}

// decoded is a picture and its file, or why there is none.
type decoded struct {
	m     Image
	file  []byte
	notes []picture.Note
	err   error
}

var errEmpty = errors.New("the file is empty")

// decodeFile decodes the file of item i, which must be the one that was hashed.
func (b *builder) decodeFile(lay *layout, i int, p []byte, want digest) (decoded, error) {
	if sha256.Sum256(p) != want {
		return decoded{}, fmt.Errorf("data: %s: %s changed while it was read: open it again", b.spec, lay.items[i].file)
	}
	m, notes, err := b.cache.form.decode(p)
	if len(p) == 0 {
		err = errEmpty
	}
	if err != nil && b.o.Strict {
		return decoded{}, fmt.Errorf("data: %s: %s: %w (strict)", b.spec, lay.items[i].file, err)
	}
	return decoded{m, p, notes, err}, nil
}

// decode decodes all pictures into the cache.
func (b *builder) decode(lay *layout, sums []summed) (*store, error) {
	files := int64(0)
	for _, s := range sums {
		files += s.n
	}
	st, err := b.decodeInto(lay, sums, b.cache.newSink(min(files, b.cache.limit)), files)
	if errors.Is(err, errAgain) {
		st, err = b.decodeInto(lay, sums, b.cache.memorySink(), files)
	}
	if err == nil && st.mem == nil {
		b.cache.evict(0)
	}
	return st, err
}

// decodeInto decodes all pictures into a sink. What is kept of them fits into
// the cache's limit, if the files, which have so many bytes, do.
func (b *builder) decodeInto(lay *layout, sums []summed, sink *sink, files int64) (*store, error) {
	defer sink.abort()
	recs := make([]*entry, len(lay.items))
	failed := make([]error, len(lay.items))
	var said Remarks
	done := 0
	spare := b.cache.limit - files // what pixels may take beyond their files
	work := func(i int, p []byte) (decoded, error) { return b.decodeFile(lay, i, p, sums[i].sum) }
	collect := func(i int, d decoded) error {
		done++
		b.progress(done, len(lay.items))
		if d.err != nil {
			failed[i] = d.err
			return nil
		}
		it := lay.items[i]
		said.Add(it.file, d.notes)
		e := &entry{Part: it.part, Label: it.label, File: it.file, H: d.m.H, W: d.m.W}
		kept, more := d.m.Pix, int64(len(d.m.Pix)-len(d.file))
		if sink.f == nil {
			spare = min(spare, maxMemory-files)
		}
		if more > 0 && (len(d.m.Pix) > maxKept || more > spare) {
			kept, e.Z = d.file, len(d.file)
		} else {
			spare -= more
		}
		recs[i] = e
		return sink.add(e, kept)
	}
	if err := parallel(b.ctx, b.src, lay.items, work, collect); err != nil {
		return nil, err
	}
	said.Log(b.o.Logger, b.spec)
	idx := index{Classes: lay.classes, Skipped: lay.skipped, Held: lay.held, Same: findSame(lay, sums, failed)}
	for i, r := range recs {
		if r != nil {
			idx.Items = append(idx.Items, *r)
		} else {
			idx.Skipped = append(idx.Skipped, skippedRecord{lay.items[i].file, failed[i].Error()})
		}
	}
	source, err := filepath.Abs(b.spec)
	if err != nil {
		source = b.spec
	}
	return sink.finish(idx, b.stamp.print, about{Name: b.name, Source: source, Images: len(idx.Items)})
}

// shrink scales a picture down so that its shorter side is size.
func shrink(m Image, size int) Image {
	if size == 0 || min(m.H, m.W) <= size {
		return m
	}
	h, w := shorterSide(m.H, m.W, size)
	out := Image{Pix: make([]uint8, h*w*3), H: h, W: w}
	var s resizeScratch
	s.resize(out.Pix, viewOf(m), h, w)
	return out
}

// parallel reads the items' files in the source's order on one goroutine, runs
// work on GOMAXPROCS others, and collect, in the order of completion, on the
// caller's. The first error ends it; all goroutines have ended on return.
func parallel[T any](ctx context.Context, src source, items []item,
	work func(i int, b []byte) (T, error), collect func(i int, v T) error) error {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	type job struct {
		i int
		b []byte
	}
	type result struct {
		i int
		v T
	}
	at := make(map[int]int, len(items))
	for i, it := range items {
		at[it.seq] = i
	}
	n := runtime.GOMAXPROCS(0)
	jobs, results := make(chan job, n), make(chan result, n)
	var wg sync.WaitGroup
	wg.Go(func() {
		defer close(jobs)
		err := src.read(ctx, func(seq int) bool { _, ok := at[seq]; return ok }, func(seq int, b []byte) error {
			select {
			case jobs <- job{at[seq], b}:
				return nil
			case <-ctx.Done():
				return ctx.Err()
			}
		})
		if err != nil {
			cancel(err)
		}
	})
	for range n {
		wg.Go(func() {
			for j := range jobs {
				v, err := work(j.i, j.b)
				if err != nil {
					cancel(err)
				}
				if ctx.Err() != nil {
					continue
				}
				results <- result{j.i, v}
			}
		})
	}
	go func() { wg.Wait(); close(results) }()
	for r := range results {
		if ctx.Err() != nil {
			continue
		}
		if err := collect(r.i, r.v); err != nil {
			cancel(err)
		}
	}
	return context.Cause(ctx)
}
