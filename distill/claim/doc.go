// Package claim divides work among processes that share a folder, on one
// machine or on several: each piece of work is claimed by a process before it is
// done, and a process that dies leaves its claims to the others.
//
// A claim of the work NAME is a file NAME.N in the folder, and of several the
// one of the highest number N holds. A file appears whole, by a link to a
// temporary one, and is never renamed, so that exactly one process gets a number.
// Who takes over from a dead process makes the file of the next number; a process
// that was thought dead and was not sees that file and learns that it has lost its
// claim. Nothing depends on clocks of several machines being equal.
//
// Whether the holder of a claim is alive is found in one of two ways. On the same
// machine the operating system says so: a holder keeps its file locked, and the
// lock ends with the process, however that ends. From another machine, and where
// the file system has no locks, a claim is dead when its holder has not written
// to its file for a time ([Folder.Stale]): a living one does so every few seconds
// ([Folder.Beat]).
package claim
