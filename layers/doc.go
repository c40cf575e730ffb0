// Package layers writes networks down for the engine: layer types with
// PyTorch's names and rules, families of models, and the translation between the engine's tensors and PyTorch's state_dict.
//
// A family is built from its description:
//
//	m, err := layers.New(layers.Arch{Family: "cnn-dwpw", Classes: 11})
//	err = m.Init(store, seed)               // PyTorch's initial distributions
//	logits := m.Forward(b, images, true)    // images [N,H,W,3] to logits [N,11]
//
// and a net of one's own from layers:
//
//	b := layers.NewNetBuilder("lenet", layers.Input{Channels: 1, Height: 28, Width: 28})
//	x := b.Add("conv1", layers.Conv(1, 6, 5), layers.Image)
//	x = b.Add("relu1", layers.ReLU{}, x)
//	x = b.Add("pool1", layers.MaxPool(2, 0, 0), x)
//	x = b.Add("flatten", layers.Flatten{}, x)
//	net, err := b.Net(b.Add("fc", layers.Linear{InFeatures: 6 * 12 * 12, OutFeatures: 10, Bias: true}, x))
//
// A model holds no values. Its variables are identities, and their values live
// in an engine.Store, so that one model may have several sets of weights (the
// trained ones and their moving average) and one set may serve several graphs
// (training, evaluation).
//
// Activations are NHWC inside. Convolution weights are HWIO and linear weights
// [I,O] inside, OIHW and [O,I] in a StateDict; see Layout.
package layers
