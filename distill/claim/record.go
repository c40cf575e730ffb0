package claim

import (
	"cmp"
	"crypto/rand"
	"encoding/json"
	"fmt"
	"os"
	"strings"
	"time"
)

// A Holder is the process that has claimed some work.
type Holder struct {
	Name    string    `json:"name"` // of the work
	Host    string    `json:"host"`
	Machine string    `json:"machine"` // the same for processes under one kernel
	PID     int       `json:"pid"`
	Owner   string    `json:"owner"` // the same for all claims made through one Folder
	Since   time.Time `json:"since"`
	Alone   bool      `json:"alone"` // nothing else is to run on the machine meanwhile
}

// String names the process to a person.
func (h Holder) String() string {
	if h.PID == 0 {
		return "another process"
	}
	return fmt.Sprintf("process %d on %s", h.PID, h.Host)
}

// A record is what stands in a claim's file.
type record struct {
	Holder
	Free bool   `json:"free"` // it was given back, and the work is not done
	Beat string `json:"beat"` // a number that grows, of always as many digits
}

// beatDigits keep a record as long as it was, so that it is written in place and
// needs no more room on the disk.
const beatDigits = 12

func (r record) encode(beat int) []byte {
	r.Beat = fmt.Sprintf("%0*d", beatDigits, beat)
	text, err := json.Marshal(r)
	if err != nil {
		panic("claim: " + err.Error()) // of plain fields
	}
	return append(text, '\n')
}

// parse reads a record. One that another process is writing has no holder.
func parse(text []byte) record {
	var r record
	if json.Unmarshal(text, &r) != nil {
		return record{}
	}
	return r
}

// machine names the running kernel, and host the machine as people call it.
func machine() (id, host string) {
	host, _ = os.Hostname()
	host = cmp.Or(host, "this machine")
	if boot, err := os.ReadFile("/proc/sys/kernel/random/boot_id"); err == nil {
		return strings.TrimSpace(string(boot)), host
	}
	return host, host
}

// unique returns a text that no other process has.
func unique() string { return rand.Text()[:16] }
