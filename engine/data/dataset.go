package data

import "log/slog"

// Options say how a dataset is opened. The zero value is usable.
type Options struct {
	// CacheDir is where images are kept. "" is [CacheDir].
	CacheDir string
	// CacheLimit is the size in bytes to which the cache folder may grow before
	// datasets that were not used for longest are removed from it. 0 means
	// [DefaultCacheLimit], a negative number no limit. What is in use is never
	// removed, and a dataset whose files alone are larger is kept all the same.
	CacheLimit int64
	// Size bounds the stored images: one whose shorter side is longer is scaled
	// down once, antialiased, so that its shorter side is Size; smaller ones
	// stay. 0 stores all as they are, which is the study's recipe: its random
	// crop then finds the whole picture.
	Size int
	// Resize promises that every transform of these images has this Resize, not
	// 0. Images whose shorter side is longer are then kept scaled down to it, and
	// their pixels in a batch are the same as without. A Loader with another
	// transform is refused. Unlike Size it has no influence on the fingerprint.
	Resize int
	// EXIF turns and mirrors pictures as their EXIF orientation says. Without it
	// that is ignored, as torchvision ignores it. It has an influence on the
	// fingerprint, if it is set.
	EXIF bool
	// Strict makes a picture that cannot be decoded an error; else it is left
	// out, counted in LeftOut, and listed in Dataset.Skipped.
	Strict bool
	// Evaluate opens images that are only to be evaluated: there may be no
	// training part, one class alone, and classes without training images.
	Evaluate bool
	// Labels names a label file, on disk or in the data, that is to be used for
	// all pictures that it names; NoLabels leaves label files alone. "" uses one
	// where folders and names do not tell classes apart.
	Labels string
	// ValFraction is the share of each class that becomes the validation part
	// of a set that has none. 0 means 0.2. Which files it takes depends on
	// their names' hashes alone.
	ValFraction float64
	Logger      *slog.Logger          // nil: silent
	Progress    func(done, total int) // called while decoding, from one goroutine at a time; may be nil
}

// Dataset is a set of labeled images in up to three parts.
type Dataset struct {
	Name    string   // the spec's last element, without extension
	Classes []string // by label; in the study's naming "0", "1", …
	// Train and Val have images, unless Options.Evaluate was set; then they may
	// be empty. Test is nil if there is none.
	Train, Val, Test *Split
	// Fingerprint is the hex SHA-256 of all names, labels, parts and files'
	// bytes, and of Options.Size. A folder and an archive of it have the same.
	Fingerprint string
	Skipped     []Skipped // pictures left out, since they cannot be decoded
	LeftOut     []LeftOut // all files of the source that are not used, by reason
	HeldOut     int       // how many of Val's images were held out from training
	listed      bool      // Classes are those of classes.txt
	st          *store
}

// Skipped is a picture that was left out, and why.
type Skipped struct {
	File string
	Err  error
}

// Close releases the cache. Images of the dataset must not be used afterwards,
// so loaders have to be closed before. It may be called twice.
func (d *Dataset) Close() error { return d.st.close() }

// Split is one part of a dataset, in a fixed order: by name in the study's
// naming, by class and name in one-folder-a-class sets (torchvision's order).
type Split struct {
	st      *store
	at      []int // records of the store
	classes int
}

// Len returns the number of images.
func (s *Split) Len() int { return len(s.at) }

// Label returns the class of image i.
func (s *Split) Label(i int) int { return s.st.idx.Items[s.at[i]].Label }

// File returns the name of image i, relative to the dataset's root.
func (s *Split) File(i int) string { return s.st.idx.Items[s.at[i]].File }

// Image returns image i, layout HWC: a view into the cache or, of a large
// picture, decoded anew. It must not be written to, and not be used after the
// dataset is closed.
func (s *Split) Image(i int) Image { return s.st.image(s.at[i]) }

// Bounds returns the height and width of image i.
func (s *Split) Bounds(i int) (h, w int) {
	e := &s.st.idx.Items[s.at[i]]
	return e.H, e.W
}

// Uniform returns the images' height and width, if all have the same.
func (s *Split) Uniform() (h, w int, ok bool) {
	for i := range s.at {
		ih, iw := s.Bounds(i)
		if i == 0 {
			h, w = ih, iw
		}
		if ih != h || iw != w {
			return 0, 0, false
		}
	}
	return h, w, len(s.at) > 0
}

// Subset returns n images, or all where there are fewer: the first of each
// class, then the second of each, and so on, so that classes stay balanced.
func (s *Split) Subset(n int) *Split {
	by := make([][]int, s.classes)
	for i, at := range s.at {
		l := s.Label(i)
		by[l] = append(by[l], at)
	}
	n = min(max(n, 0), len(s.at))
	out := &Split{st: s.st, classes: s.classes, at: make([]int, 0, n)}
	for k := 0; len(out.at) < n; k++ {
		for _, c := range by {
			if k < len(c) && len(out.at) < n {
				out.at = append(out.at, c[k])
			}
		}
	}
	return out
}

// All returns the images of all parts as one: training, validation, testing.
func (d *Dataset) All() *Split {
	out := &Split{st: d.st, classes: len(d.Classes)}
	for _, s := range []*Split{d.Train, d.Val, d.Test} {
		if s != nil {
			out.at = append(out.at, s.at...)
		}
	}
	return out
}
