package train

import (
	"context"
	"errors"

	"github.com/potstill/potstill/engine"
	"github.com/potstill/potstill/engine/data"
)

// A judge measures the weights of a run, or their averages, on the validation
// images.
type judge struct {
	*Evaluator
	images *data.Split
	vars   []*engine.Variable // the net's
	from   *engine.Store      // the run's
	state  *state
	peers  engine.Peers // who measure with this one, or nil
}

// newJudge makes the evaluator of a run. Averages are evaluated in a store of
// their own.
func newJudge(net Net, store *engine.Store, s *data.Split, classes int, c Config, state *state) (*judge, error) {
	j := &judge{images: s, vars: net.Variables(), from: store, state: state, peers: c.Peers}
	own := store
	if c.EMA > 0 {
		own = engine.NewStore(store.Backend())
	}
	var err error
	j.Evaluator, err = NewEvaluator(net, own, classes, EvalOptions{Batch: c.Batch, Transform: c.Eval, Workers: c.Workers})
	if err == nil {
		j.part, j.parts = c.rank(), c.ranks()
	}
	return j, err
}

// averages reports whether the averages of the weights are judged.
func (j *judge) averages() bool { return j.store != j.from }

// run measures the weights as they are.
func (j *judge) run(ctx context.Context) (*Evaluation, error) {
	if j.averages() {
		if err := j.take(); err != nil {
			return nil, err
		}
	}
	if j.peers != nil {
		return j.runShared(context.WithoutCancel(ctx), j.images, j.peers)
	}
	return j.Run(ctx, j.images, nil)
}

// take copies the averages, and what is not averaged.
func (j *judge) take() error {
	averaged := make(map[*engine.Variable]*engine.Variable, len(j.state.ema))
	for i, v := range j.state.source {
		averaged[v] = j.state.ema[i]
	}
	for _, v := range j.vars {
		src := v
		if e := averaged[v]; e != nil {
			src = e
		}
		if err := copyVariable(j.store, v, j.from, src); err != nil {
			return err
		}
	}
	return nil
}

// startAverages sets the averages to the weights.
func (j *judge) startAverages() error {
	for i, e := range j.state.ema {
		if err := copyVariable(j.from, e, j.from, j.state.source[i]); err != nil {
			return err
		}
	}
	return nil
}

func copyVariable(to *engine.Store, dst *engine.Variable, from *engine.Store, src *engine.Variable) error {
	buf := make([]byte, src.Bytes())
	if err := from.Get(src, buf); err != nil {
		return fault(from.Backend(), err)
	}
	return fault(to.Backend(), to.Set(dst, buf))
}

// close frees the programs, and the store if it is the judge's own. It may be
// called twice.
func (j *judge) close() error {
	err := j.Close()
	if j.averages() {
		err = errors.Join(err, j.store.Close())
	}
	return err
}
