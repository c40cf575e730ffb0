package torch

import (
	"encoding/binary"
	"math/big"

	"github.com/potstill/potstill/layers/checkpoint/named"
	"github.com/potstill/potstill/layers/checkpoint/pickle"
)

// legacy decodes the format before PyTorch 1.6: the pickles of a magic number,
// of the protocol's version, of a description of the machine, of the object and
// of the keys of its storages; then, key by key, each storage as a number of
// elements (int64) and its data.
func (r *reading) legacy(b []byte) (any, error) {
	plain := &pickle.Decoder{Budget: r.budget, Fix: fixState}
	at := 0
	next := func(d *pickle.Decoder) (any, error) {
		v, n, err := d.Decode(b[at:])
		at += n
		return v, err
	}
	magic, err := next(plain)
	if err != nil {
		return nil, err
	}
	if n, ok := magic.(*big.Int); !ok || n.String() != magicNumber {
		return nil, named.Damaged("its magic number is not PyTorch's")
	}
	version, err := next(plain)
	if err != nil {
		return nil, err
	}
	if version != int64(protocol) {
		return nil, named.Refused(fixResave, "it is of a version of PyTorch's legacy format other than %d", protocol)
	}
	machine, err := next(plain)
	if err != nil {
		return nil, err
	}
	if d, ok := machine.(*pickle.Dict); !ok {
		return nil, named.Damaged("its description of the machine is %s", pickle.Describe(machine))
	} else if little, _ := d.Get("little_endian"); little == false {
		return nil, named.Refused("load it and save it again on a little-endian machine", "it is big-endian")
	}
	root, err := next(r.decoder())
	if err != nil {
		return nil, err
	}
	keys, err := next(plain)
	if err != nil {
		return nil, err
	}
	list, ok := keys.(*pickle.List)
	if !ok {
		return nil, named.Damaged("its list of storages is %s", pickle.Describe(keys))
	}
	if err := r.fill(b[at:], list.Items); err != nil {
		return nil, err
	}
	r.fetch = func(s *storage) ([]byte, error) {
		return nil, named.Damaged("it has no data for storage %s", named.Quote(s.key))
	}
	return root, nil
}

// fill gives the storages their data.
func (r *reading) fill(b []byte, keys []any) error {
	for _, k := range keys {
		key, ok := k.(string)
		if !ok {
			return named.Damaged("its list of storages holds %s", pickle.Describe(k))
		}
		s := r.storages[key]
		switch {
		case s == nil:
			return named.Damaged("its list of storages has %s, which no tensor has", named.Quote(key))
		case s.have:
			return named.Damaged("its list of storages has %s twice", named.Quote(key))
		case len(b) < 8:
			return named.Damaged("it ends before storage %s", named.Quote(key))
		}
		n := binary.LittleEndian.Uint64(b)
		b = b[8:]
		if n != uint64(s.n) {
			return named.Damaged("storage %s has %d elements, but %d are announced", named.Quote(key), n, s.n)
		}
		size := elementSize(s.dtype)
		if n > uint64(len(b)/size) {
			return named.Damaged("storage %s of %d elements of %d bytes does not fit into the %d bytes left", named.Quote(key), n, size, len(b))
		}
		s.data, s.have = b[:s.n*size], true
		b = b[s.n*size:]
	}
	if len(b) > 0 {
		return named.Damaged("%d bytes follow the last storage", len(b))
	}
	return nil
}
