package fit

import (
	"crypto/sha256"
	"encoding/json"
	"fmt"
)

// writes reports whether this process keeps what the job leaves behind: of several
// ranks, rank 0 does.
func (s *session) writes() bool { return s.j.Peers == nil || s.j.Peers.Rank() == 0 }

// join gives the trainer the other ranks, and what it cannot know of a run that must
// be the same at all of them.
func (s *session) join() error {
	j := s.j
	if j.Peers == nil {
		return nil
	}
	text, err := json.Marshal(s.ident)
	if err != nil {
		return err
	}
	var loss map[string]json.RawMessage
	if err := json.Unmarshal(text, &loss); err != nil {
		return err
	}
	net, err := json.Marshal(j.Net)
	if err != nil {
		return err
	}
	facts := map[string]string{
		"the net": fmt.Sprintf("%s %x", j.Net, sha256.Sum256(net)), "resume": fmt.Sprint(j.Resume),
		"sparsity": fmt.Sprint(j.Sparsity),
	}
	for name, v := range loss {
		facts["loss "+name] = string(v)
	}
	j.Config.Peers, j.Config.Facts = j.Peers, facts
	return nil
}
