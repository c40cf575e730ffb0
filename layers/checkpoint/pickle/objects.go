package pickle

import (
	"strconv"

	"github.com/potstill/potstill/layers/checkpoint/named"
)

func tuple(m *machine) error {
	items, err := m.popMark()
	if err != nil {
		return err
	}
	return m.pushTuple(items)
}

func (m *machine) tupleOf(n int) error {
	at := len(m.stack) - n
	if at < m.floor() {
		return m.underflow()
	}
	items := m.stack[at:]
	m.stack = m.stack[:at]
	return m.pushTuple(items)
}

func (m *machine) pushTuple(items []any) error {
	if err := m.take(len(items), 16); err != nil {
		return err
	}
	return m.box(append(make(Tuple, 0, len(items)), items...), 0)
}

func list(m *machine) error {
	items, err := m.popMark()
	if err != nil {
		return err
	}
	if err := m.take(len(items), 16); err != nil {
		return err
	}
	return m.box(&List{Items: append(make([]any, 0, len(items)), items...)}, 0)
}

func appendOne(m *machine) error {
	v, err := m.pop()
	if err != nil {
		return err
	}
	return m.extend([]any{v})
}

func appends(m *machine) error {
	items, err := m.popMark()
	if err != nil {
		return err
	}
	return m.extend(items)
}

// extend appends to the list on the stack.
func (m *machine) extend(items []any) error {
	top, err := m.top()
	if err != nil {
		return err
	}
	l, ok := top.(*List)
	if !ok {
		return named.Damaged("its pickle appends to %s, at byte %d", Describe(top), m.at-1)
	}
	if err := m.take(len(items), slotCost); err != nil {
		return err
	}
	for _, v := range items {
		l.Items = push(l.Items, v)
	}
	return nil
}

func dict(m *machine) error {
	items, err := m.popMark()
	if err != nil {
		return err
	}
	d := &Dict{}
	if err := m.fill(d, items); err != nil {
		return err
	}
	return m.box(d, 16)
}

func setItem(m *machine) error {
	v, err := m.pop()
	if err != nil {
		return err
	}
	k, err := m.pop()
	if err != nil {
		return err
	}
	return m.setAll([]any{k, v})
}

func setItems(m *machine) error {
	items, err := m.popMark()
	if err != nil {
		return err
	}
	return m.setAll(items)
}

func (m *machine) setAll(items []any) error {
	top, err := m.top()
	if err != nil {
		return err
	}
	d, ok := top.(*Dict)
	if !ok {
		return named.Damaged("its pickle sets an item of %s, at byte %d", Describe(top), m.at-1)
	}
	return m.fill(d, items)
}

func (m *machine) fill(d *Dict, items []any) error {
	if len(items)%2 != 0 {
		return named.Damaged("its pickle has a key without a value, at byte %d", m.at-1)
	}
	for i := 0; i < len(items); i += 2 {
		if err := d.set(items[i], items[i+1], m.d.Budget); err != nil {
			return err
		}
	}
	return nil
}

func (m *machine) sizedMemo(bytes uint64, use func(int64) error) error {
	i, err := m.size(bytes)
	if err != nil {
		return err
	}
	return use(int64(i))
}

func textGet(m *machine) error { return m.textMemo(m.get) }
func textPut(m *machine) error { return m.textMemo(m.put) }

func (m *machine) textMemo(use func(int64) error) error {
	b, err := m.line()
	if err != nil {
		return err
	}
	i, err := strconv.ParseInt(string(b[:min(len(b), 20)]), 10, 64)
	if err != nil || len(b) > 20 {
		return named.Damaged("its pickle has %s in the place of a memo's number", named.Quote(string(b)))
	}
	return use(i)
}

// memoize sets the memo that follows those set so far.
func memoize(m *machine) error { return m.put(int64(len(m.dense) + len(m.memo))) }

// maxName is the length of the longest name of a module or class.
const maxName = 512

func (m *machine) name() (string, error) {
	b, err := m.line()
	if err != nil {
		return "", err
	}
	if len(b) > maxName {
		return "", named.Damaged("its pickle names something with %d letters", len(b))
	}
	return string(b), nil
}

func global(m *machine) error {
	module, err := m.name()
	if err != nil {
		return err
	}
	name, err := m.name()
	if err != nil {
		return err
	}
	if err := m.take(2, len(module)+len(name)); err != nil {
		return err
	}
	return m.global(module, name)
}

func stackGlobal(m *machine) error {
	name, err := m.pop()
	if err != nil {
		return err
	}
	module, err := m.pop()
	if err != nil {
		return err
	}
	n, ok := name.(string)
	o, also := module.(string)
	if !ok || !also || len(n) > maxName || len(o) > maxName {
		return named.Damaged("its pickle takes a name that is not a short str, at byte %d", m.at-1)
	}
	if err := m.take(1, len(n)+len(o)); err != nil {
		return err
	}
	return m.global(o, n)
}

// reduce calls a function, or makes an object of a class, with the tuple on
// the stack.
func reduce(m *machine) error {
	args, err := m.pop()
	if err != nil {
		return err
	}
	callee, err := m.pop()
	if err != nil {
		return err
	}
	return m.call(callee, args)
}

// newObjectEx makes an object with named arguments, of which there may be none.
func newObjectEx(m *machine) error {
	keywords, err := m.pop()
	if err != nil {
		return err
	}
	if d, ok := keywords.(*Dict); !ok || len(d.Keys) > 0 {
		return named.Damaged("its pickle calls something with named arguments, at byte %d", m.at-1)
	}
	return reduce(m)
}

func inst(m *machine) error {
	items, err := m.popMark()
	if err != nil {
		return err
	}
	if err := m.take(len(items), 16); err != nil {
		return err
	}
	args := append(make(Tuple, 0, len(items)), items...)
	if err := global(m); err != nil {
		return err
	}
	callee, err := m.pop()
	if err != nil {
		return err
	}
	return m.call(callee, args)
}

func object(m *machine) error {
	items, err := m.popMark()
	if err != nil {
		return err
	}
	if len(items) == 0 {
		return m.underflow()
	}
	if err := m.take(len(items), 16); err != nil {
		return err
	}
	return m.call(items[0], append(make(Tuple, 0, len(items)), items[1:]...))
}

func textPersistent(m *machine) error {
	b, err := m.line()
	if err != nil {
		return err
	}
	if err := m.string(b); err != nil {
		return err
	}
	return persistent(m)
}

func persistent(m *machine) error {
	id, err := m.pop()
	if err != nil {
		return err
	}
	if m.d.Persistent == nil {
		return named.Refused(m.d.Fix, "its pickle refers to objects outside of it, at byte %d", m.at-1)
	}
	v, err := m.d.Persistent(id)
	if err != nil {
		return err
	}
	return m.box(v, 144)
}

func extension(m *machine) error {
	return named.Refused(m.d.Fix, "its pickle uses the extension registry, which can name anything, at byte %d", m.at-1)
}

func outOfBand(m *machine) error {
	return named.Refused("pickle it without buffer_callback", "its pickle expects buffers from elsewhere, at byte %d", m.at-1)
}
