package script

import (
	"fmt"
	"path"
	"strings"
)

// Slurm returns a script for bash that submits a study to Slurm: a job for each
// step, which begins when those that it needs have ended well, and one for the
// report. The script's own arguments are passed on to every sbatch.
func (s *Script) Slurm() ([]byte, error) {
	if err := s.check(); err != nil {
		return nil, err
	}
	var l lines
	l.add("#!/usr/bin/env bash")
	l.add("%s", Mark)
	l.add("# Submits the study %q, of the recipe %q, to Slurm: each step is a job that waits for those it needs. Arguments are passed on to", s.Study, s.Recipe)
	l.add("# every sbatch: bash FILE --partition=main --cpus-per-task=8 --time=4:00:00. What was done before is not done again.")
	l.add("set -euo pipefail")
	l.add("")
	l.add("potstill=%s # as a shell reads it", quote(quote(s.Program)))
	l.add(`options=("$@")`)
	l.add("cd %s", quote(s.Dir))
	l.add("mkdir -p -- %s", quote(s.Logs))
	l.add("")
	l.add("%s", fmt.Sprintf(submit, quote("--job-name="+s.Study+"."), quote("--output="+strings.ReplaceAll(path.Join(s.Logs, "/"), "%", "%%")+"/")))
	for i := range s.Jobs {
		j := &s.Jobs[i]
		s.submit(&l, j.name(), j.Needs, j.Args, j.Alone)
		l.add("job%d=$id", i)
	}
	s.submit(&l, "report", s.last(), s.Report, s.timed())
	return l.Bytes(), nil
}

// submit is the function by which the script submits a job.
const submit = `# submit NAME JOBS ARGUMENTS [OPTION...] submits a job that waits for others; its number is then in id.
ids=
submit() {
  local name=$1 needs=$2 arguments=$3
  shift 3
  id=$(sbatch --parsable --kill-on-invalid-dep=yes --requeue --signal=B:TERM@120 %s"$name" %s"$name"-%%j.log \
    ${needs:+"--dependency=afterok:$needs"} "$@" ${options[@]+"${options[@]}"} --wrap="exec $potstill $arguments") || id="nothing, with an error"
  id=${id%%%%;*}
  if [[ ! $id =~ ^[0-9]+$ ]]; then
    echo "$name was not submitted: sbatch answered $id${ids:+; scancel$ids cancels the jobs before it}" >&2
    exit 1
  fi
  ids+=" $id"
  echo "$name is job $id"
}
`

// submit writes the call that submits a job.
func (s *Script) submit(l *lines, name string, needs []int, args []string, alone bool) {
	var ids []string
	for _, k := range needs {
		ids = append(ids, fmt.Sprintf("$job%d", k))
	}
	options := ""
	if alone {
		options = " --exclusive"
	}
	l.add(`submit %s "%s" %s%s`, name, strings.Join(ids, ":"), quote(Words(args)), options)
}
