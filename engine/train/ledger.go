package train

import "time"

// A ledger is the account of a run: how far it is, what its steps have come to,
// and the figures of the epochs that are done. Everything in it but the clock is
// a function of the seed.
type ledger struct {
	c        Config
	schedule *Schedule
	batches  int             // an epoch
	terms    func() []string // the names of the loss's terms

	pos     position // up to which all is accounted for
	part    partial  // sums of the epoch under way
	history []EpochInfo
	step    lastStep   // the step under way, and then the last one
	alone   [1]figures // of a run in one process
	clock   clock
}

// A lastStep is what a step has come to.
type lastStep struct {
	epoch, step int // from 1
	loss, norm  float64
	terms       []TermLoss
}

// A clock counts the seconds of an epoch that are spent in training.
type clock struct {
	begin  time.Time
	before float64
}

func (c *clock) start(before float64) { c.begin, c.before = time.Now(), before }

func (c *clock) seconds() float64 { return c.before + time.Since(c.begin).Seconds() }

// steps returns the steps an epoch.
func (l *ledger) steps() int { return l.stepsOf(l.batches) }

// stepsOf returns the steps that so many batches make.
func (l *ledger) stepsOf(batches int) int { return ceilDiv(batches, l.c.perStep()) }

// figures are what a batch has come to.
type figures struct {
	n       int // images
	loss    float64
	terms   []float64 // of the loss, if it has several
	correct int
}

// settle enters a launch whose program has been waited for, with the batches of all
// ranks.
func (l *ledger) settle(x *launch, all []figures) error {
	for i := range all {
		if err := l.batch(x, &all[i], x.first && i == 0); err != nil {
			return err
		}
	}
	if !x.ends {
		return nil
	}
	if err := l.norm(x.p, l.step.loss); err != nil {
		return err
	}
	l.step.epoch, l.step.step = l.pos.Epoch+1, l.part.Steps+1
	l.part.Norm += l.step.norm
	l.part.Steps++
	l.pos.Update++
	l.part.Seconds = l.clock.seconds()
	return nil
}

// batch enters a batch, the first of its step or a later one.
func (l *ledger) batch(x *launch, f *figures, first bool) error {
	if !finite(f.loss) {
		return l.diverged("loss", f.loss, l.pos.Epoch+1, l.part.Steps+1)
	}
	if first {
		l.step.loss = 0
	}
	n, share := float64(f.n), float64(f.n)/float64(x.images)
	l.part.Loss += f.loss * n
	l.step.loss += f.loss * share
	l.addTerms(f, share, first)
	l.part.Correct += f.correct
	l.part.Images += f.n
	l.pos.Batch++
	l.pos.Batches++
	return nil
}

// addTerms enters the terms of a batch's loss, if it has several. An epoch that
// was begun by a version without them has none.
func (l *ledger) addTerms(f *figures, share float64, first bool) {
	if len(f.terms) == 0 {
		return
	}
	if l.step.terms == nil {
		l.step.terms = make([]TermLoss, len(f.terms))
	}
	if l.part.Terms == nil && l.part.Images == 0 {
		l.part.Terms = make([]TermLoss, len(f.terms))
	}
	for i, v := range f.terms {
		name := l.terms()[i]
		if first {
			l.step.terms[i] = TermLoss{Name: name}
		}
		l.step.terms[i].Value += v * share
		if l.part.Terms != nil {
			l.part.Terms[i] = TermLoss{Name: name, Value: l.part.Terms[i].Value + v*float64(f.n)}
		}
	}
}

// norm enters the gradient's norm, if the step has measured it.
func (l *ledger) norm(p *program, loss float64) error {
	if p.norm == nil {
		return nil
	}
	l.step.norm = float64(p.norm[0])
	if !finite(l.step.norm) {
		return l.diverged("the gradient's norm", loss, l.pos.Epoch+1, l.part.Steps+1)
	}
	return nil
}

// info tells of the last step.
func (l *ledger) info() StepInfo {
	return StepInfo{
		Epoch: l.pos.Epoch + 1, Step: l.stepsOf(l.pos.Batch), Steps: l.steps(), Update: l.pos.Update,
		Loss: l.step.loss, Terms: l.step.terms, LR: l.schedule.LR(l.pos.Update - 1), GradNorm: l.step.norm,
		ImagesPerSecond: rate(l.part.Images, l.part.Seconds),
	}
}

// finish turns the epoch's sums into an entry of the history.
func (l *ledger) finish(ev *Evaluation) EpochInfo {
	p := l.part
	info := EpochInfo{
		Epoch: l.pos.Epoch + 1, Step: l.pos.Update,
		TrainLoss: p.Loss / float64(p.Images), TrainAccuracy: float64(p.Correct) / float64(p.Images),
		ValLoss: ev.Loss, ValAccuracy: ev.Top1, LR: l.schedule.LR(l.pos.Update - 1),
		Seconds: p.Seconds, ImagesPerSecond: rate(p.Images, p.Seconds), GradNorm: p.Norm / float64(p.Steps),
	}
	if p.Terms != nil {
		info.Terms = make(map[string]float64, len(p.Terms))
	}
	for _, term := range p.Terms {
		info.Terms[term.Name] = term.Value / float64(p.Images)
	}
	b := l.best()
	info.Best = b == nil || info.ValAccuracy > b.ValAccuracy
	l.history = append(l.history, info)
	l.pos.Epoch, l.pos.Batch, l.part = l.pos.Epoch+1, 0, partial{}
	return info
}

// best returns the history's best epoch, nil if there is none.
func (l *ledger) best() *EpochInfo {
	for i := len(l.history) - 1; i >= 0; i-- {
		if l.history[i].Best {
			return &l.history[i]
		}
	}
	return nil
}

// over reports whether there is nothing left to train: the last epoch is done,
// or patience is spent.
func (l *ledger) over() bool {
	b := l.best()
	return l.pos.Epoch >= l.c.Epochs || l.c.Patience > 0 && b != nil && l.pos.Epoch-b.Epoch >= l.c.Patience
}

func rate(n int, seconds float64) float64 {
	if seconds <= 0 {
		return 0
	}
	return float64(n) / seconds
}
