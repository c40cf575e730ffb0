package gpu

import (
	"errors"
	"log/slog"
	"strings"
	"testing"

	"github.com/potstill/potstill/engine"
)

// TestSpoiledRecording shows that work which a capture does not allow, here a
// wait for the stream, is enqueued anew at each replay.
func TestSpoiledRecording(t *testing.T) {
	var log strings.Builder
	o := ours(t)
	o.Logger = slog.New(slog.NewTextHandler(&log, nil))
	b := openBackend(t, o)
	d := newDoubler(t, b, 100)
	for name, wait := range map[string]func() error{
		"and says so":      func() error { return b.wrap(b.stream.Sync()) },
		"and says nothing": func() error { _ = b.stream.Sync(); return nil },
	} {
		t.Run(name, func(t *testing.T) {
			log.Reset()
			r, err := b.Record(func() error { return errors.Join(wait(), d.enqueue()) })
			if err != nil {
				t.Fatal(err)
			}
			if !strings.Contains(log.String(), "cannot be captured") || !strings.Contains(log.String(), "STREAM_CAPTURE_") {
				t.Errorf("the log says %q", log.String())
			}
			x, y := make([]float32, 100), make([]float32, 100)
			for round := range 3 {
				x[99] = float32(round + 1)
				if err := errors.Join(d.x.Write(engine.Bytes(x)), r.Replay(), d.y.Read(engine.Bytes(y))); err != nil {
					t.Fatal(err)
				}
				if y[99] != 2*x[99] {
					t.Errorf("replay %d: 2·%g is %g", round, x[99], y[99])
				}
			}
			if err := errors.Join(r.Close(), r.Close()); err != nil {
				t.Error(err)
			}
			if r.Replay() == nil {
				t.Error("a closed recording is replayed")
			}
		})
	}
	// A mistake is one all the same.
	bad := errors.New("bad")
	if _, err := b.Record(func() error { _ = b.stream.Sync(); return bad }); !errors.Is(err, bad) {
		t.Errorf("a recording that fails gives %v", err)
	}
}
