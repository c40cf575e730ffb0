package shrink

import (
	"os"
	"path/filepath"
	"testing"
)

// TestJournal: what is saved is read again, and a broken journal is an error that names it.
func TestJournal(t *testing.T) {
	dir := t.TempDir()
	j, err := readJournal(dir)
	if err != nil || j != nil {
		t.Fatalf("an empty folder has the journal %v (%v)", j, err)
	}
	want := &Journal{Identity: "x", Rounds: 2, Trials: []Trial{{Round: 1, Name: "bits", Moves: []Move{{Kind: Bits, At: "conv1", Bits: 4}}, Accepted: true}}}
	if err := want.save(dir); err != nil {
		t.Fatal(err)
	}
	got, err := readJournal(dir)
	if err != nil || got.Rounds != 2 || len(got.Trials) != 1 || got.Trials[0].Moves[0].Bits != 4 {
		t.Errorf("read %+v (%v)", got, err)
	}
	if err := os.WriteFile(filepath.Join(dir, journalFile), []byte("{"), 0o666); err != nil {
		t.Fatal(err)
	}
	if _, err := readJournal(dir); err == nil {
		t.Error("a broken journal is read")
	}
}
