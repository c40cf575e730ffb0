package study

import (
	"errors"
	"reflect"
	"slices"
	"strings"
	"testing"
)

// A study's steps one by one come to what the study comes to.
func TestMakeSteps(t *testing.T) {
	b, whole, dir := backend(t), t.TempDir(), t.TempDir()
	want, _, err := Run(t.Context(), b, parse(t, small), Options{Dir: whole, Seeds: 2})
	if err != nil {
		t.Fatal(err)
	}
	tasks, err := parse(t, small).Tasks(Options{Seeds: 2})
	if err != nil {
		t.Fatal(err)
	}
	// Only the teacher is the same with both seeds, for it names its own.
	expect := []Task{
		{Step: "teacher", Seed: 1, All: true}, {Step: "student", Seed: 1, Needs: []int{0}}, {Step: "a", Seed: 1, Needs: []int{1}},
		{Step: "b", Seed: 1, Needs: []int{1}}, {Step: "c", Seed: 1, Needs: []int{1}}, {Step: "d", Seed: 1}, {Step: "figures", Seed: 1, Needs: []int{1, 4}, Timed: true},
		{Step: "student", Seed: 2, Needs: []int{0}}, {Step: "a", Seed: 2, Needs: []int{7}},
		{Step: "b", Seed: 2, Needs: []int{7}}, {Step: "c", Seed: 2, Needs: []int{7}}, {Step: "d", Seed: 2}, {Step: "figures", Seed: 2, Needs: []int{7, 10}, Timed: true},
	}
	if !reflect.DeepEqual(tasks, expect) {
		t.Fatalf("tasks %+v", tasks)
	}
	for _, task := range tasks {
		p := &steps{}
		made, err := Make(t.Context(), b, parse(t, small), Options{Dir: dir, Seed: &task.Seed, Seeds: 1, Progress: p}, []string{task.Step})
		if err != nil {
			t.Fatal(task, err)
		}
		if len(made) != len(p.done) || made[0].Seed != task.Seed || made[0].Folder == "" || made[0].ValAccuracy == nil || made[0].TestAccuracy == nil ||
			(made[0].File == "") != task.Timed || (made[0].ImagesPerSecond > 0) != task.Timed {
			t.Errorf("%s: %+v, done %q", task.Step, made, p.done)
		}
	}
	p := &steps{}
	got, _, err := Run(t.Context(), b, parse(t, small), Options{Dir: dir, Seeds: 2, Progress: p})
	if err != nil {
		t.Fatal(err)
	}
	if len(p.done) != 0 {
		t.Errorf("left to do: %q", p.done)
	}
	sameStudy(t, got, dir, want, whole)
}

func TestMakeMistakes(t *testing.T) {
	b, dir := backend(t), t.TempDir()
	r := parse(t, small)
	for _, c := range []struct {
		steps, want []string
		digest      string
	}{
		{nil, []string{"no step is named", "teacher, student, a, b"}, ""},
		{[]string{"d", "e"}, []string{`no step "e"`, "small.yaml", "teacher, student, a, b"}, ""},
		{[]string{"teacher", "a"}, []string{"step a needs step student, and in " + dir, "it has not been made", "potstill study step small.yaml student"}, ""},
		{[]string{"figures"}, []string{"step figures needs steps student, c, and", "they have not been made", "potstill study step small.yaml student c"}, ""},
		{[]string{"d"}, []string{"small.yaml is not the one that was exported", r.Digest()[:12] + "…, not abc…", "export the study again"}, "abc"},
	} {
		if c.want[0] == "step figures needs steps student, c, and" { // the teacher is there, what follows is not
			if _, err := Make(t.Context(), b, r, Options{Dir: dir, Expect: r.Digest()}, []string{"teacher"}); err != nil {
				t.Fatal(err)
			}
		}
		p := &steps{}
		_, err := Make(t.Context(), b, r, Options{Dir: dir, Progress: p, Expect: c.digest}, c.steps)
		if err == nil || strings.Contains(err.Error(), "\n") || len(p.beside) != 0 {
			t.Fatalf("%q: %v, begun %q", c.steps, err, p.beside)
		}
		for _, want := range c.want {
			if !strings.Contains(err.Error(), want) {
				t.Errorf("%q: %v, want %q", c.steps, err, want)
			}
		}
	}
	// Steps that are named together need not have been made, whatever their order.
	made, err := Make(t.Context(), b, r, Options{Dir: dir}, []string{"a", "student"})
	if err != nil || len(made) != 2 || made[0].Step != "student" {
		t.Errorf("%+v, %v", made, err)
	}
	var missing *MissingError
	if _, err := Make(t.Context(), b, r, Options{Dir: dir, Epochs: 3}, []string{"a"}); !errors.As(err, &missing) || !slices.Equal(missing.Needs, []string{"teacher", "student"}) {
		t.Errorf("with other settings: %v", err)
	}
	if _, err := parse(t, strings.Replace(small, ", size: 16", "", 1)).Tasks(Options{}); err == nil || !strings.Contains(err.Error(), "gives no size") {
		t.Errorf("tasks without a size: %v", err)
	}
	quick, err := Builtin("hw7", true)
	if err != nil {
		t.Fatal(err)
	}
	if quick.command() != "hw7-quick" || r.command() != "small.yaml" {
		t.Errorf("%s, %s", quick.command(), r.command())
	}
	full, err := Builtin("hw7", false)
	if err != nil {
		t.Fatal(err)
	}
	if form, err := full.Form(true); err != nil || form.Digest() != quick.Digest() || full.command() != "hw7" {
		t.Errorf("the quick form: %v", err)
	}
	if _, err := r.Form(true); err == nil || !strings.Contains(err.Error(), "has no quick form") {
		t.Errorf("error %v", err)
	}
}
