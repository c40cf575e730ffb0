package picture

import (
	"path"
	"slices"
	"strings"
)

// Extensions lists the file name extensions of the formats that [Decode] reads,
// in lower case, each with its dot.
var Extensions = []string{
	".jpg", ".jpeg", ".jpe", ".jfif", ".png", ".webp", ".bmp", ".tif", ".tiff", ".gif", ".ppm", ".pgm", ".pbm", ".pnm",
}

// IsPicture reports whether a name ends in one of [Extensions], in letters of
// any case. It looks at the name alone: what a file holds is told by its
// content, in [Decode].
func IsPicture(name string) bool {
	return slices.Contains(Extensions, strings.ToLower(path.Ext(name)))
}

// MayBeJPEG reports whether a name ends as those of JPEG files do, or says
// nothing of a format.
func MayBeJPEG(name string) bool {
	switch strings.ToLower(path.Ext(name)) {
	case ".png", ".webp", ".bmp", ".tif", ".tiff", ".gif", ".ppm", ".pgm", ".pbm", ".pnm":
		return false
	}
	return true
}
