// Command fashion takes apart Fashion-MNIST, the four idx.gz files in the folder DIR.
//
//	go run ./scripts/fashion builtin DIR OUT
//	go run ./scripts/fashion rest    DIR OUT
//
// builtin makes the file that builtin:fashion is in: the first 600 images of each
// class of the training file, and of the test file the first 100 of each class, for
// validation, and the next 100, for testing, each in the files' order. rest makes a
// folder of what the built-in teacher learns from (scripts/fashion_teacher.sh): the
// training images that are left, and the same validation images.
package main

import (
	"compress/gzip"
	"io"
	"log"
	"os"
)

func main() {
	log.SetFlags(0)
	write := map[string]func(dir, out string){"builtin": writeBuiltin, "rest": writeRest}
	if len(os.Args) != 4 || write[os.Args[1]] == nil {
		log.Fatal("usage: go run ./scripts/fashion builtin|rest DIR OUT")
	}
	write[os.Args[1]](os.Args[2], os.Args[3])
}

func idx(name string, header int) []byte {
	f, err := os.Open(name)
	check(err)
	defer f.Close()
	z, err := gzip.NewReader(f)
	check(err)
	b, err := io.ReadAll(z)
	check(err)
	if len(b) < header {
		log.Fatalf("%s: too short", name)
	}
	return b[header:]
}

func check(err error) {
	if err != nil {
		log.Fatal(err)
	}
}
