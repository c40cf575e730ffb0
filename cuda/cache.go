package cuda

import (
	"bytes"
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
)

const (
	cacheMagic = "potstill cubin 1\n"
	cacheLimit = 64 << 20 // bytes; a file that is larger is none of ours
)

// A cacheKey is the hash of all that a compiled kernel depends on.
type cacheKey [sha256.Size]byte

// keyOf hashes parts so that no two lists of parts collide.
func keyOf(parts ...string) cacheKey {
	h := sha256.New()
	for _, p := range parts {
		var n [8]byte
		binary.LittleEndian.PutUint64(n[:], uint64(len(p)))
		h.Write(n[:])
		io.WriteString(h, p)
	}
	return cacheKey(h.Sum(nil))
}

// A cache keeps compiled kernels in a folder, each in a file of its own:
//
//	magic, key, SHA-256 of the cubin, the cubin
//
// With no folder it keeps nothing.
type cache struct{ dir string }

func (c cache) path(k cacheKey) string {
	return filepath.Join(c.dir, hex.EncodeToString(k[:16])+".cubin")
}

// get returns what was put. fs.ErrNotExist says that nothing was; any other
// error says why the file that is there cannot be used.
func (c cache) get(k cacheKey) ([]byte, error) {
	if c.dir == "" {
		return nil, os.ErrNotExist
	}
	path := c.path(k)
	info, err := os.Stat(path)
	if err != nil {
		return nil, err
	}
	if !info.Mode().IsRegular() || info.Size() > cacheLimit {
		return nil, fmt.Errorf("%s is no file of the cache", path)
	}
	b, err := os.ReadFile(path)
	if err != nil {
		return nil, err
	}
	rest, ok := bytes.CutPrefix(b, []byte(cacheMagic))
	if !ok || len(rest) < 2*sha256.Size {
		return nil, fmt.Errorf("%s is no file of the cache", path)
	}
	cubin := rest[2*sha256.Size:]
	sum := sha256.Sum256(cubin)
	if !bytes.Equal(rest[:sha256.Size], k[:]) || !bytes.Equal(rest[sha256.Size:2*sha256.Size], sum[:]) {
		return nil, fmt.Errorf("%s is damaged", path)
	}
	return cubin, nil
}

// put writes a file, which others see whole or not at all.
func (c cache) put(k cacheKey, cubin []byte) (err error) {
	if c.dir == "" || len(cubin)+len(cacheMagic)+2*sha256.Size > cacheLimit {
		return nil
	}
	if err := os.MkdirAll(c.dir, 0o700); err != nil {
		return err
	}
	f, err := os.CreateTemp(c.dir, ".cubin-*")
	if err != nil {
		return err
	}
	defer func() {
		if err != nil {
			err = errors.Join(err, os.Remove(f.Name()))
		}
	}()
	sum := sha256.Sum256(cubin)
	_, err = f.Write(bytes.Join([][]byte{[]byte(cacheMagic), k[:], sum[:], cubin}, nil))
	if closed := f.Close(); err == nil {
		err = closed
	}
	if err != nil {
		return err
	}
	return os.Rename(f.Name(), c.path(k))
}
