// Package data turns image files into batches: it reads datasets, keeps them
// decoded, augments them anew in every epoch, and does so ahead of the training
// that uses them.
//
// # Datasets
//
// [Open] takes a folder, a tar of one (plain or gzipped), or "builtin:fashion".
// Two layouts are understood, in both:
//
//	training/3_17.jpg         the study's naming: the label is the integer
//	validation/3_2.jpg        before "_"; parts are folders
//	testing/0_9.jpg
//
//	train/daisy/a.png         a folder for each class, as torchvision's
//	val/daisy/b.png           ImageFolder has it; parts are folders above,
//	test/rose/c.jpg           or are missing
//
// A part may be called training or train, validation, val or valid, testing or
// test (or evaluation). Where there is no validation part, a share of each
// class is held out from training, chosen by the hashes of the files' names. One
// folder around the whole dataset does no harm. Hidden files, and files that
// are no pictures by their extension, are passed over; so are, in an archive, links, special files and names that lead out of it. A test part
// without any labels is left out, since it cannot be evaluated.
//
// Package picture decodes the files, with the pixels that PIL and torchvision
// read.
//
// # Cache
//
// Pictures are decoded once, in parallel, into one file in [Options].CacheDir,
// named by the dataset's fingerprint and mapped into memory where the system
// can. The fingerprint is a hash of all names, labels and bytes. Hashing a large
// folder takes a while, so that a small stamp file beside the cache maps the
// names, sizes and modification times that were seen to the fingerprint. A file
// that is changed without changing its size or its time is therefore not
// noticed; remove the cache folder after such a change. Stamps are not written
// for sources that were modified within the last two seconds.
//
// The file is written under a temporary name and renamed, so that processes that
// open the same dataset at once may both decode it but never see half of it.
// Every checksum in it is verified when it is opened; a damaged file is made
// again. When it cannot be written, the images stay in memory.
//
// # Transforms
//
// [Transform] follows torchvision's semantics on PIL images, to the bit where
// these are deterministic. [TrainTransform] and [EvalTransform] are the study's.
// All random choices of an image are drawn before a pixel is touched: a device
// that has the images can therefore do the rest ([Transform.Draw],
// [LoaderOptions].OnDevice).
//
// # Randomness
//
// [random.Rand] is counter-based: the numbers of one image's augmentation are a
// function of the seed, the epoch, the image and the use. So a [Loader] gives
// the same batches whatever the number of its workers, and an epoch that starts
// in the middle gives exactly the rest of the whole one, which is what makes a
// resumed training equal to one that was never stopped.
package data
