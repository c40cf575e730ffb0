//go:build linux && cgo

package cuda

/*
#include "driver.h"

#cgo noescape ps_capture_end
#cgo nocallback ps_capture_end
#cgo noescape ps_graph_instantiate
#cgo nocallback ps_graph_instantiate
*/
import "C"

import (
	"errors"
	"fmt"
	"unsafe"
)

// A Graph is work that was captured from a stream, ready to be done again. The
// kernels' modules, and the memory that they use, must outlive it; so must what
// they were given by address. Parameters are as they were at the capture.
type Graph struct {
	c    *Context
	exec unsafe.Pointer
}

// BeginCapture has what is enqueued next be captured instead of done. Until
// EndCapture, nothing may wait for the stream, so neither may Write nor Read.
func (s *Stream) BeginCapture() error {
	if err := s.open(); err != nil {
		return err
	}
	if r := C.ps_capture_begin(s.s); r != 0 {
		return s.c.result("cuStreamBeginCapture_v2", r)
	}
	s.capturing = true
	return nil
}

// EndCapture ends the capture, whatever came of it, and returns its graph.
func (s *Stream) EndCapture() (*Graph, error) {
	if err := s.open(); err != nil {
		return nil, err
	}
	if !s.capturing {
		return nil, errors.New("cuda: EndCapture of a stream that is not captured")
	}
	s.capturing = false
	var graph unsafe.Pointer
	if r := C.ps_capture_end(s.s, &graph); r != 0 {
		return nil, s.c.result("cuStreamEndCapture", r)
	}
	g := &Graph{c: s.c}
	instantiated := C.ps_graph_instantiate(s.c.c, graph, &g.exec)
	destroyed := C.ps_graph_destroy(s.c.c, graph)
	if instantiated != 0 {
		return nil, s.c.result("cuGraphInstantiateWithFlags", instantiated)
	}
	s.c.own(g)
	if destroyed != 0 {
		err := s.c.result("cuGraphDestroy", destroyed)
		return nil, errors.Join(err, g.Close())
	}
	return g, nil
}

// Launch enqueues the graph's work. It is one call into C and allocates nothing.
func (g *Graph) Launch(s *Stream) error {
	if s.s == nil {
		return s.open()
	}
	if g.exec == nil {
		return fmt.Errorf("cuda: the graph %w", errClosed)
	}
	if r := C.ps_graph_launch(s.s, g.exec); r != 0 {
		return s.c.result("cuGraphLaunch", r)
	}
	return nil
}

// Close destroys the graph. A launch that is under way ends on its own.
func (g *Graph) Close() error {
	if g.exec == nil {
		return nil
	}
	p := g.exec
	g.exec = nil
	g.c.disown(g)
	return g.c.result("cuGraphExecDestroy", C.ps_graph_close(g.c.c, p))
}
