// Package jpeg decodes JPEG files (ITU-T T.81) into RGB, with the pixels that
// libjpeg-turbo gives with its default settings, and with them Pillow and
// torchvision. All arithmetic is on integers, so that the pixels are the same on
// every machine.
//
// It reads 8-bit baseline, extended and progressive files, coded by Huffman or
// arithmetic codes; one, three or four components with integral sampling
// factors, interleaved or not; restart markers anywhere; gray, YCbCr, RGB, CMYK
// and YCCK. Frames of Motion-JPEG, which leave out the Huffman tables, get the
// standard's. It does not read lossless, hierarchical and 12-bit files, nor
// pictures whose height is given after the scan (by DNL alone).
//
// # Damage
//
// What libjpeg-turbo repairs is repaired in the same way, and said in
// [Picture.Notes]: restart markers are found again, data that end early leave
// mid-gray blocks, codes that do not exist count as zero. A file that ends in
// the middle, without an end marker, is an error, as it is to Pillow, and so is
// a file that has lost more than half of its blocks.
//
// # Limits
//
// The number of pixels is held against the caller's limit before anything is
// allocated. Memory is 3 bytes a pixel for the result, as many bytes for samples
// as there are, at most 4 a pixel, and twice that for coefficients of files with
// several scans, all but the first rounded up to whole MCUs (32×32 pixels at most).
// Scans may visit 64 times as many blocks as the picture has, and 4 million in any
// case.
package jpeg
