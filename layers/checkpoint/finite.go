package checkpoint

import "fmt"

// CheckFinite reports the first tensor of the model that holds a NaN or an
// infinity. No setting of training helps such a model.
func (c *Checkpoint) CheckFinite() error {
	for i := range c.State {
		e := &c.State[i]
		for _, v := range e.Data {
			if !finite(float64(v)) {
				return c.named(fmt.Errorf("%s holds %g: the model's weights are broken; take an earlier checkpoint", e.Name, v))
			}
		}
	}
	return nil
}
