package rendezvous

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"strings"
	"sync"
	"time"
)

// The kinds of message. Each has a head: its kind and the number of its bytes, of four
// bytes each.
const (
	hello uint32 = iota + 0x50540001 // who somebody is, or why it is sent away
	alive
	part  // a rank's part of an exchange
	whole // all parts, in the order of the ranks
	gone  // a rank's number, and why
	bye
)

// A link is a connection to another rank.
type link struct {
	conn  net.Conn
	rank  int
	write sync.Mutex
	got   chan []byte   // what it exchanges
	ended chan struct{} // closed when nothing more is read
	sent  func(n int)
}

// begin reads from the link from now on.
func (l *link) begin(w *World) {
	l.got, l.ended = make(chan []byte, 1), make(chan struct{})
	l.sent = func(n int) { w.sent.Add(int64(n)) }
	go func() {
		defer close(l.ended)
		for l.read(w) {
		}
	}()
}

// read takes a message. It returns false when there is nothing more to read.
func (l *link) read(w *World) bool {
	kind, b, err := receive(l.conn, time.Now().Add(silence), most)
	var late net.Error
	switch {
	case errors.As(err, &late) && late.Timeout():
		w.lose(l.rank, fmt.Sprintf("nothing has been heard of it for %d s", int(silence.Seconds())))
		return false
	case err != nil:
		w.lose(l.rank, "its connection is broken: "+err.Error())
		return false
	}
	switch kind {
	case part, whole:
		select {
		case l.got <- b:
		case <-w.stop:
			return false
		}
	case gone:
		if len(b) >= 4 {
			w.lose(int(binary.LittleEndian.Uint32(b)), string(b[4:]))
		}
	case bye:
		return false
	}
	return true
}

// send sends a message.
func (l *link) send(kind uint32, b []byte) error {
	l.write.Lock()
	defer l.write.Unlock()
	if kind == part || kind == whole {
		defer l.sent(len(b))
	}
	return send(l.conn, kind, b)
}

func send(c net.Conn, kind uint32, b []byte) error {
	head := make([]byte, 8, 8+len(b))
	binary.LittleEndian.PutUint32(head, kind)
	binary.LittleEndian.PutUint32(head[4:], uint32(len(b)))
	if err := c.SetWriteDeadline(time.Now().Add(silence)); err != nil {
		return err
	}
	_, err := c.Write(append(head, b...))
	return err
}

// receive takes a message of at most so many bytes.
func receive(c net.Conn, until time.Time, most int) (kind uint32, b []byte, err error) {
	if err := c.SetReadDeadline(until); err != nil {
		return 0, nil, err
	}
	var head [8]byte
	if _, err := io.ReadFull(c, head[:]); err != nil {
		return 0, nil, err
	}
	kind = binary.LittleEndian.Uint32(head[:])
	n := binary.LittleEndian.Uint32(head[4:])
	if kind < hello || kind > bye || int64(n) > int64(most) {
		return 0, nil, fmt.Errorf("what it sends makes no sense: %#x with %d bytes", kind, n)
	}
	b = make([]byte, n)
	_, err = io.ReadFull(c, b)
	return kind, b, err
}

// goneText is the content of a message about a rank that is gone.
func goneText(rank int, why string) []byte {
	return append(binary.LittleEndian.AppendUint32(nil, uint32(rank)), why...)
}

// host waits for all other ranks at the port.
func (w *World) host(until time.Time) error {
	at, err := net.Listen("tcp", fmt.Sprintf(":%d", w.o.Port))
	if err != nil {
		return fmt.Errorf("rendezvous: rank 0 cannot listen at port %d: %w; name a free one in POTSTILL_PORT, at all ranks", w.o.Port, err)
	}
	defer at.Close()
	if err := at.(*net.TCPListener).SetDeadline(until); err != nil {
		return fmt.Errorf("rendezvous: %w", err)
	}
	there := make(map[int]*link)
	for len(there) < w.o.Size-1 {
		c, err := at.Accept()
		if err != nil {
			w.links = values(there)
			return fmt.Errorf("rendezvous: of %d ranks %d have come to %s in %v: %s is missing", w.o.Size, len(there)+1, w.where(), w.o.Patience, missing(there, w.o.Size))
		}
		l, err := w.welcome(c, there)
		if err != nil {
			_ = send(c, hello, []byte(err.Error()))
			c.Close()
			continue
		}
		there[l.rank] = l
	}
	w.links = values(there)
	for _, l := range w.links {
		if err := send(l.conn, hello, nil); err != nil {
			return fmt.Errorf("rendezvous: rank %d has come and gone: %w", l.rank, err)
		}
	}
	return nil
}

// welcome hears who has come.
func (w *World) welcome(c net.Conn, there map[int]*link) (*link, error) {
	kind, b, err := receive(c, time.Now().Add(silence), 1<<12)
	if err != nil || kind != hello || len(b) < 8 || string(b[8:]) != w.o.Name {
		return nil, errOther
	}
	rank, size := int(binary.LittleEndian.Uint32(b)), int(binary.LittleEndian.Uint32(b[4:]))
	switch {
	case size != w.o.Size:
		return nil, fmt.Errorf("rank %d is one of %d, and rank 0 one of %d", rank, size, w.o.Size)
	case rank < 1 || rank >= size:
		return nil, fmt.Errorf("rank %d of %d makes no sense", rank, size)
	case there[rank] != nil:
		return nil, fmt.Errorf("there are two processes of rank %d", rank)
	}
	return &link{conn: c, rank: rank}, nil
}

// values returns the links in the order of the ranks.
func values(there map[int]*link) (all []*link) {
	for r := 1; len(all) < len(there); r++ {
		if l := there[r]; l != nil {
			all = append(all, l)
		}
	}
	return all
}

// missing names the ranks that are not there.
func missing(there map[int]*link, size int) string {
	var names []string
	for r := 1; r < size; r++ {
		if there[r] == nil {
			names = append(names, fmt.Sprint(r))
		}
	}
	return "rank " + strings.Join(names, ", ")
}

// visit goes to rank 0, which may not be there yet.
func (w *World) visit(until time.Time) error {
	c, err := w.dial(until)
	if err != nil {
		return fmt.Errorf("rendezvous: rank 0 is not at %s after %v: %w", w.where(), w.o.Patience, err)
	}
	w.links = []*link{{conn: c}}
	who := binary.LittleEndian.AppendUint32(nil, uint32(w.o.Rank))
	who = binary.LittleEndian.AppendUint32(who, uint32(w.o.Size))
	if err := send(c, hello, append(who, w.o.Name...)); err != nil {
		return fmt.Errorf("rendezvous: rank 0 at %s: %w", w.where(), err)
	}
	kind, b, err := receive(c, until.Add(silence), 1<<12)
	switch {
	case err != nil:
		return fmt.Errorf("rendezvous: rank 0 at %s does not answer: %w", w.where(), err)
	case kind != hello:
		return fmt.Errorf("rendezvous: at %s there is another program; name a free port in POTSTILL_PORT, at all ranks", w.where())
	case len(b) > 0:
		return fmt.Errorf("rendezvous: rank 0 at %s sends this process away: %s", w.where(), b)
	}
	return nil
}

func (w *World) dial(until time.Time) (net.Conn, error) {
	for pause := 20 * time.Millisecond; ; pause = min(2*pause, time.Second) {
		c, err := net.DialTimeout("tcp", w.where(), min(time.Until(until), 10*time.Second))
		if err == nil || time.Until(until) < pause {
			return c, err
		}
		time.Sleep(pause)
	}
}
