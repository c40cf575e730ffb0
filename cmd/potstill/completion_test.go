package main

import (
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/alecthomas/kong"
)

// grammar returns the command line's grammar.
func grammar(t *testing.T) *kong.Application {
	t.Helper()
	k, err := kong.New(&commands{}, kong.Vars{"version": ""})
	if err != nil {
		t.Fatal(err)
	}
	k.Model.Name = "potstill"
	return k.Model
}

func TestCandidates(t *testing.T) {
	app := grammar(t)
	for _, c := range []struct {
		words, want, not string
		files            bool
	}{
		{words: "", want: "train study completion", not: "--help"},
		{words: "tr", want: "train", not: "study"},
		{words: "study ", want: "run step export list show", not: "train"},
		{words: "study step hw7 ", want: "teacher", not: "hw7"},
		{words: "study step hw7 teacher t", want: "teacher", not: "student"},
		{words: "study step nothing.yaml "},
		{words: "study export --to ", want: "make slurm"},
		{words: "train --ar", want: "--arch", not: "--base"},
		{words: "train --arch ", want: "cnn-dwpw resnet18", not: "--base", files: true},
		{words: "train --arch=cnn", want: "--arch=cnn-dwpw", not: "--arch=resnet18", files: true},
		{words: "train --arch = cnn", want: "cnn-dwpw", not: "resnet18", files: true}, // as bash gives it
		{words: "train --arch =", want: "cnn-dwpw resnet18", files: true},
		{words: "train --epochs "},
		{words: "train --resume --sch", want: "--schedule"},
		{words: "train --schedule ", want: "constant cosine onecycle"},
		{words: "train --device ", want: "auto cpu cuda:0"},
		{words: "train --data ", want: "builtin:fashion", files: true},
		{words: "quantise --sch", want: "--scheme"},
		{words: "study run ", want: "hw7 hw7-quick", files: true},
		{words: "study show hw7", want: "hw7 hw7-quick", files: true},
		{words: "study show hw7 "},
		{words: "summary ", want: "resnet18", files: true},
		{words: "eval --model ", want: "builtin:fashion-resnet18", files: true},
		{words: "distill --teacher ", want: "builtin:fashion-resnet18", files: true},
		{words: "predict a.jpg b.jpg ", files: true},
		{words: "completion ", want: "bash zsh fish"},
		{words: "nonsense --x ", want: "train"},
		{words: "train --nonsense="},
	} {
		found, files := candidates(app.Node, strings.Split(c.words, " "))
		var texts []string
		for _, f := range found {
			texts = append(texts, f.text)
		}
		for _, w := range strings.Fields(c.want) {
			if !slices.Contains(texts, w) {
				t.Errorf("%q: %q lacks %q", c.words, texts, w)
			}
		}
		if c.not != "" && slices.Contains(texts, c.not) || c.want == "" && len(texts) > 0 || files != c.files {
			t.Errorf("%q: %q, files %t", c.words, texts, files)
		}
	}
}

// Each shell completes by its script.
func TestCompletionInShells(t *testing.T) {
	dir := t.TempDir()
	write(t, filepath.Join(dir, "recipe.yaml"), nil)
	if err := exec.Command("cp", binary, filepath.Join(dir, "potstill")).Run(); err != nil {
		t.Skipf("no copy of the program: %v", err)
	}
	for shell, run := range map[string]string{
		"bash": `eval "$(potstill completion bash)"
			try() { COMP_WORDS=(potstill "$@"); COMP_CWORD=$#; _potstill 2>/dev/null; printf '%s\n' "$*:" "${COMPREPLY[@]}"; }
			try tr; try train --arch = cnn-g; try study run ''; try train --data builtin : f`,
		"zsh": `autoload -Uz compinit; compinit -u -d ./dump; eval "$(potstill completion zsh)"
			_describe() { print -l -- "${(@)${(@P)2}//\\:/:}" }; _files() { print -l -- * }; compset() { }
			try() { words=(potstill "$@"); CURRENT=$#words; print -- "$*:"; _potstill }
			try tr; try train --arch=cnn-g; try study run ''; try train --data builtin:f`,
		"fish": `potstill completion fish | source
			for line in "tr" "train --arch=cnn-g" "study run " "train --data builtin:f"; echo $line:; complete -C "potstill $line"; end`,
	} {
		t.Run(shell, func(t *testing.T) {
			path, err := exec.LookPath(shell)
			if err != nil {
				t.Skip(err)
			}
			cmd := exec.CommandContext(t.Context(), path, "-c", run)
			cmd.Dir = dir
			cmd.Env = append(cmd.Environ(), "PATH="+dir+":"+filepath.Dir(path)+":/bin:/usr/bin", "HOME="+dir, "XDG_CONFIG_HOME="+dir, "XDG_DATA_HOME="+dir)
			out, err := cmd.CombinedOutput()
			if err != nil {
				t.Fatalf("%v\n%s", err, out)
			}
			for _, want := range []string{"train", "cnn-group-printed", "hw7-quick", "recipe.yaml", "fashion"} {
				if !strings.Contains(string(out), want) {
					t.Errorf("%q is missing in\n%s", want, out)
				}
			}
			if strings.Contains(string(out), "cnn-plain") || strings.Contains(string(out), "devices") {
				t.Errorf("other words are offered:\n%s", out)
			}
		})
	}
}

func TestManPage(t *testing.T) {
	text := succeeds(t, "man").out
	for _, n := range grammar(t).Leaves(true) {
		if !strings.Contains(text, roff(n.Path())) || !strings.Contains(text, roff(strings.SplitN(n.Detail, "\n", 2)[0])) {
			t.Errorf("the page lacks %s", n.Path())
		}
		for _, f := range n.Flags {
			if !f.Hidden && !strings.Contains(text, `\fB`+roff("--"+f.Name)+`\fR`) {
				t.Errorf("the page lacks --%s", f.Name)
			}
		}
	}
	for _, want := range []string{"EXIT STATUS", "POTSTILL_CACHE", "POTSTILL_CUDA_PATH"} {
		if !strings.Contains(text, want) {
			t.Errorf("the page lacks %s", want)
		}
	}
	groff, err := exec.LookPath("groff")
	if err != nil {
		t.Skip(err)
	}
	cmd := exec.CommandContext(t.Context(), groff, "-man", "-ww", "-z", "-Tutf8")
	cmd.Stdin = strings.NewReader(text)
	if out, err := cmd.CombinedOutput(); err != nil || len(out) > 0 {
		t.Errorf("groff says %v\n%s", err, out)
	}
}

func TestHelpAndVersion(t *testing.T) {
	help := succeeds(t, "--help").out
	for _, args := range [][]string{{}, {"help"}, {"-h"}} {
		if r := succeeds(t, args...); r.out != help || r.err != "" {
			t.Errorf("potstill %q prints\n%s%s", args, r.out, r.err)
		}
	}
	if got, want := succeeds(t, "help", "study", "run").out, succeeds(t, "study", "run", "--help").out; got != want || !strings.Contains(got, "study run hw7-quick") {
		t.Errorf("help study run prints\n%s", got)
	}
	version := succeeds(t, "version").out
	if got := succeeds(t, "--version").out; got != version || !strings.HasPrefix(got, "potstill ") || strings.Count(got, "\n") != 1 {
		t.Errorf("--version prints %q, version %q", got, version)
	}
	if r := potstill(t, "help", "nonsense"); r.code != 2 || !strings.Contains(r.err, "nonsense") {
		t.Errorf("help nonsense: exit status %d, %s", r.code, r.err)
	}
}
