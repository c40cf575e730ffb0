// Package picture decodes the files of pictures into RGB: JPEG, PNG, WebP, BMP,
// TIFF, GIF and the portable formats of Netpbm. The content tells the format,
// never the name; [IsPicture] tells which names are worth opening.
//
// Pixels are those of Pillow's Image.open(file).convert("RGB"), and with it of
// torchvision's ImageFolder, to the bit but for what is said here:
//
//   - Alpha is dropped, not composited, and so is the transparency of palettes.
//   - Gray is repeated in all three channels. CMYK is converted by Pillow's
//     formula, without a color profile. Profiles and gamma are ignored.
//   - Samples of 16 bits keep their high byte. Pillow does so too with color, but
//     takes 16-bit gray as it is and clips it at 255, which makes all but the
//     darkest 256th white. Since a net that was trained on pictures read by
//     Pillow has seen the clipped ones, a [Note] says so, and another if the values
//     use only the lower bits and the picture is nearly black.
//   - Of animations and files of several pages, the first picture is taken.
//   - The orientation that a camera notes in EXIF is ignored, as torchvision
//     ignores it, unless [Options.EXIF] is set. That of TIFF, which is part of the
//     format, always counts, as it does to Pillow.
//
// # Damage
//
// A file is read if its pixels are there: a wrong checksum of what is not pixels, a
// missing end, stray bytes and unknown markers do not matter, and a [Note] tells of
// them. Damage that libjpeg-turbo repairs in JPEGs, at the price of some gray
// blocks, is repaired in the same way, with a note. A file of which pixels are
// missing is an error. Errors are one line, and say what to do.
//
// # Hostile files
//
// Files are not trusted. The number of pixels is held against a limit before
// anything of that size is allocated, so that memory is at most 24 bytes a pixel,
// twice the file and a few MiB. Readers never panic. docs/hostile-pictures.md
// lists what was made to hurt, and what it gives.
package picture
