// Package data turns image files into batches: it reads datasets, keeps them
// decoded, augments them anew in every epoch, and does so ahead of the training
// that uses them.
//
// # Datasets
//
// [Open] takes a folder, a tar (plain, or compressed by gzip or bzip2) or a zip of
// one, or "builtin:fashion". These layouts are understood, in all of them:
//
//	training/3_17.jpg         the study's naming: the label is the integer
//	validation/3_2.jpg        before "_"; parts are folders
//	testing/0_9.jpg
//
//	train/daisy/a.png         a folder for each class, as torchvision's
//	val/daisy/deep/b.png      ImageFolder has it; parts are folders above,
//	test/rose/c.jpg           or are missing
//
//	images/0001.jpg           a label file: columns (CSV, TSV) or keys (JSON
//	labels.csv                lines) for a file's name, its label and, perhaps,
//	                          its part
//
//	train/daisy_0.jpg         a name and a number
//
// A part may be called training or train, validation, val or valid, testing or
// test (or evaluation), in any combination. Where there is no validation part, a
// share of each class is held out from training, chosen by the hashes of the
// files' names. One folder around the whole dataset does no harm. A test part
// without any labels is left out, since it cannot be evaluated.
//
// Class folders, and numbers in names, go before a label file where they tell
// classes apart; [Options].Labels names one that is to be used. A label file has
// a header with such names as file, filename, path, image or image_id, and label,
// class, category or target, and may have a split; without a header, the column
// of files is told by their extensions. Rows may give a path from anywhere, and
// leave out the extension. A file whose name says train, val or test is of that
// part.
//
// A file classes.txt gives the names of the classes and their order; folders and
// labels are found in it by name, or as numbers counted from 0. Names are
// compared in one normal form: see package classlist.
//
// Names that begin with a dot, __MACOSX, Thumbs.db and desktop.ini are passed
// over. Symbolic links are followed on disk, but not to a folder above; in an
// archive links, special files and names that lead out of it are not read. What
// is left out is counted by reason ([Dataset].LeftOut) and logged in one line.
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
// noticed; clear the cache after such a change. Stamps are not written for
// sources that were modified within the last two seconds.
//
// Of an image either the pixels are kept or, where they take more than 4 MiB and
// more than the file, the file's bytes, which are decoded whenever the image is
// wanted. Where the pixels of all images together would not fit into
// [Options].CacheLimit, files are kept of smaller ones too. With [Options].Resize
// the scaled pixels are kept instead. Nothing of this changes what a net sees.
//
// The file is written under a temporary name and renamed, so that processes that
// open the same dataset at once may both decode it but never see half of it.
// Every checksum in it is verified when it is opened; a damaged file is made
// again. When it cannot be written, the images stay in memory. Files are locked
// while they are open: when the folder has grown beyond its limit, those that
// were not opened for longest are removed, but none that is in use; and a
// temporary file that nobody has locked was left by a killed process, and goes.
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
