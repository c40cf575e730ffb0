package pickle

import "github.com/potstill/potstill/layers/checkpoint/named"

// A Dict is a dict, in the order of insertion. A key that is a string or an
// integer occurs once, with the value set last, as in Python; keys of other
// kinds are not compared.
type Dict struct {
	Keys, Values []any
	index        map[any]int // of strings and integers, once there are many
}

// few is up to how many keys are searched one by one.
const few = 8

// Get returns the value of a key that is a string.
func (d *Dict) Get(key string) (v any, ok bool) {
	if i := d.find(key); i >= 0 {
		return d.Values[i], true
	}
	return nil, false
}

// find returns the place of a string or integer key, or -1.
func (d *Dict) find(key any) int {
	if d.index != nil {
		if i, ok := d.index[key]; ok {
			return i
		}
		return -1
	}
	for i, k := range d.Keys {
		if searchable(k) && k == key {
			return i
		}
	}
	return -1
}

// searchable says whether a key is looked for.
func searchable(key any) bool {
	switch key.(type) {
	case string, int64:
		return true
	}
	return false
}

func (d *Dict) set(key, value any, b *named.Budget) error {
	known := searchable(key)
	if known {
		if i := d.find(key); i >= 0 {
			d.Values[i] = value
			return nil
		}
	}
	if err := b.Take(1, dictCost); err != nil {
		return err
	}
	if len(d.Keys) == few {
		d.index = make(map[any]int, 2*few)
		for i, k := range d.Keys {
			if searchable(k) {
				d.index[k] = i
			}
		}
	}
	d.Keys, d.Values = push(d.Keys, key), push(d.Values, value)
	if known && d.index != nil {
		d.index[key] = len(d.Keys) - 1
	}
	return nil
}
