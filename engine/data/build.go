package data

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"io"
	"path/filepath"
	"runtime"
	"sync"
	"time"
)

// formatVersion is part of every fingerprint and cache header; it changes with
// the file format and with anything that changes decoded pixels.
const formatVersion = 2

// racy is how old a source must be before its times are trusted: a file that is
// written again within a clock tick of being read keeps its time.
const racy = 2 * time.Second

// builder opens or makes the store of one source.
type builder struct {
	ctx    context.Context
	src    source
	spec   string
	o      Options
	create func(dir string) (cacheFile, error)
}

// store finds the decoded images. The quick way goes from the source's stamp
// (names, sizes, times) to its fingerprint; where no stamp is known, all bytes
// are hashed. Either way the fingerprint names the cache file, and only a file
// that is whole and carries that fingerprint is used.
func (b *builder) store() (*store, error) {
	cache := cacheDir{dir: b.o.CacheDir, create: b.create, log: b.o.Logger}
	state, newest, err := b.src.stamp(b.ctx)
	if err != nil {
		return nil, err
	}
	key := b.stampKey(state)
	if print, ok := cache.stamped(key); ok {
		if st := cache.open(print); st != nil {
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
	sums, print, err := b.fingerprint(lay)
	if err != nil {
		return nil, err
	}
	st := cache.open(print)
	if st == nil {
		if st, err = b.decode(&cache, lay, sums, print); err != nil {
			return nil, err
		}
	} else {
		b.progress(len(lay.items), len(lay.items))
	}
	if st.mem == nil && now.Sub(newest) > racy {
		cache.stamp(key, print)
	}
	return st, nil
}

func (b *builder) progress(done, total int) {
	if b.o.Progress != nil {
		b.o.Progress(done, total)
	}
}

// stampKey names a state of a source together with the options that change what
// is stored.
func (b *builder) stampKey(state string) string {
	h := sha256.New()
	fmt.Fprintf(h, "potstill stamp %d size %d val %g\n%s", formatVersion, b.o.Size, b.o.ValFraction, state)
	return hex.EncodeToString(h.Sum(nil))
}

type digest = [sha256.Size]byte

// fingerprint hashes every picture and returns the hashes and the dataset's
// fingerprint over names, parts, labels, hashes and the stored size.
func (b *builder) fingerprint(lay *layout) ([]digest, string, error) {
	sums := make([]digest, len(lay.items))
	err := parallel(b.ctx, b.src, lay.items,
		func(_ int, p []byte) (digest, error) { return sha256.Sum256(p), nil },
		func(i int, d digest) error { sums[i] = d; return nil })
	if err != nil {
		return nil, "", err
	}
	h := sha256.New()
	fmt.Fprintf(h, "potstill data %d size %d\n", formatVersion, b.o.Size)
	for _, c := range lay.classes {
		fmt.Fprintf(h, "class %q\n", c)
	}
	for i, it := range lay.items {
		fmt.Fprintf(h, "%d %d %q %x\n", it.part, it.label, it.file, sums[i])
	}
	for _, s := range lay.skipped {
		fmt.Fprintf(h, "skipped %q\n", s.File)
	}
	return sums, hex.EncodeToString(h.Sum(nil)), nil
}

// decoded is a picture, or why there is none.
type decoded struct {
	m   Image
	err error
}

// decode decodes all pictures into the cache.
func (b *builder) decode(cache *cacheDir, lay *layout, sums []digest, print string) (*store, error) {
	sink := cache.newSink()
	defer sink.abort()
	type record struct {
		entry entry
		ok    bool
	}
	recs := make([]record, len(lay.items))
	failed := make([]error, len(lay.items))
	done := 0
	work := func(i int, p []byte) (decoded, error) {
		if sha256.Sum256(p) != sums[i] {
			return decoded{}, fmt.Errorf("data: %s: %s changed while it was read: open it again", b.spec, lay.items[i].file)
		}
		m, err := decodeImage(p)
		if err == io.ErrUnexpectedEOF || err == io.EOF {
			err = fmt.Errorf("the file is cut short (%w)", err)
		}
		if err != nil && b.o.Strict {
			return decoded{}, fmt.Errorf("data: %s: %s: %w (strict)", b.spec, lay.items[i].file, err)
		}
		return decoded{shrink(m, b.o.Size), err}, nil
	}
	collect := func(i int, d decoded) error {
		done++
		b.progress(done, len(lay.items))
		if d.err != nil {
			failed[i] = d.err
			return nil
		}
		it := lay.items[i]
		e := entry{Part: it.part, Label: it.label, File: it.file, H: d.m.H, W: d.m.W}
		if err := sink.add(&e, d.m.Pix); err != nil {
			return err
		}
		recs[i] = record{e, true}
		return nil
	}
	if err := parallel(b.ctx, b.src, lay.items, work, collect); err != nil {
		return nil, err
	}
	idx := index{Classes: lay.classes, Skipped: lay.skipped}
	for i, r := range recs {
		if r.ok {
			idx.Items = append(idx.Items, r.entry)
		} else {
			idx.Skipped = append(idx.Skipped, skippedRecord{lay.items[i].file, failed[i].Error()})
		}
	}
	return sink.finish(idx, print)
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

// cacheName is the file name of a fingerprint's cache.
func cacheName(dir, print string) string { return filepath.Join(dir, print[:32]+".images") }
