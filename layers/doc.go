// Package layers writes networks down for the engine: layer types with
// PyTorch's names and rules, the model families of the compression study, and
// the translation between the engine's tensors and PyTorch's state_dict.
//
// A family is built from its description:
//
//	m, err := layers.New(layers.Arch{Family: "cnn-dwpw", Classes: 11})
//	err = m.Init(store, seed)               // PyTorch's initial distributions
//	logits := m.Forward(b, images, true)    // images [N,H,W,3] to logits [N,11]
//
// and a net of one's own from layers:
//
//	m, err := layers.Compose("lenet",
//		layers.NewConv2d("conv1", 1, 6, 5, layers.Conv2dOptions{Padding: 2}),
//		layers.NewReLU("relu1"),
//		layers.NewMaxPool2d("pool1", engine.Square(2, 0, 0)),
//		layers.NewFlatten("flatten"),
//		layers.NewLinear("fc", 6*14*14, 10),
//	)
//
// A model holds no values. Its variables are identities, and their values live
// in an engine.Store, so that one model may have several sets of weights (the
// trained ones and their moving average) and one set may serve several graphs
// (training, evaluation).
//
// Activations are NHWC inside. Convolution weights are HWIO and linear weights
// [I,O] inside, OIHW and [O,I] in a StateDict; see Layout.
package layers
