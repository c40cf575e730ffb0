package torch

import (
	"slices"
	"strings"

	"github.com/potstill/potstill/layers/checkpoint/named"
	"github.com/potstill/potstill/layers/checkpoint/pickle"
)

// reading is the state of reading one file.
type reading struct {
	budget   *named.Budget
	storages map[string]*storage
	// fetch returns the data of a storage. It is called once for a storage, when
	// a tensor needs it.
	fetch func(*storage) ([]byte, error)
}

// A storage is a run of elements that tensors are views of.
type storage struct {
	key   string
	dtype string // "" where it is a run of bytes
	n     int    // elements, or bytes where dtype is ""
	data  []byte
	have  bool
	err   error
}

// A part is a storage, or in old files a run of elements within one.
type part struct {
	of        *storage
	offset, n int
}

// A tensor is a view of a storage that has not been decoded yet.
type tensor struct {
	part  *part
	dtype string
	view  named.View
	neg   bool // the values are those of the storage times -1
}

// storageTypes are the types of elements by the names of storage classes.
var storageTypes = map[string]string{
	"DoubleStorage": "float64", "FloatStorage": "float32", "HalfStorage": "float16", "BFloat16Storage": "bfloat16",
	"LongStorage": "int64", "IntStorage": "int32", "ShortStorage": "int16", "CharStorage": "int8",
	"ByteStorage": "uint8", "BoolStorage": "bool",
	// Known so that what holds them beside a state_dict can be read; as parts of
	// a state_dict they are refused.
	"ComplexDoubleStorage": "complex128", "ComplexFloatStorage": "complex64",
	"QInt8Storage": "qint8", "QUInt8Storage": "quint8", "QInt32Storage": "qint32", "QUInt4x2Storage": "quint4x2", "QUInt2x4Storage": "quint2x4",
}

// schemes are the names of quantization schemes.
var schemes = []string{
	"per_tensor_affine", "per_tensor_symmetric", "per_channel_affine", "per_channel_symmetric", "per_channel_affine_float_qparams",
}

// typeNames are the types that torch names as its attributes.
var typeNames = []string{
	"float64", "float32", "float16", "bfloat16", "int64", "int32", "int16", "int8", "uint64", "uint32", "uint16", "uint8", "bool",
	"complex128", "complex64", "complex32", "qint8", "quint8", "qint32", "quint4x2", "quint2x4", "float8_e4m3fn", "float8_e5m2", "float8_e4m3fnuz", "float8_e5m2fnuz", "float8_e8m0fnu",
}

// otherSizes are the bytes of elements of types that are known but not taken.
var otherSizes = map[string]int{"complex128": 16, "complex64": 8, "complex32": 4, "qint8": 1, "quint8": 1, "qint32": 4, "quint4x2": 1, "quint2x4": 1}

func elementSize(dtype string) int {
	if dtype == "" {
		return 1
	}
	return named.Size(dtype) + otherSizes[dtype]
}

// inert are the classes whose objects are kept as records that nothing reads.
var inert = []string{
	"torch Size", "torch device", "torch Generator", "argparse Namespace", "torch.torch_version TorchVersion",
	// Tensors of kinds that are no part of a plain state_dict.
	"torch._utils _rebuild_sparse_tensor", "torch._utils _rebuild_sparse_csr_tensor", "torch._utils _rebuild_nested_tensor",
	"torch._utils _rebuild_qtensor", "torch._utils _rebuild_meta_tensor_no_storage", "torch._utils _rebuild_wrapper_subclass",
	"torch._utils _rebuild_device_tensor_from_numpy", "torch.serialization _get_layout",
	"pathlib Path", "pathlib PosixPath", "pathlib PurePosixPath", "pathlib WindowsPath", "pathlib PureWindowsPath",
	"pathlib._local Path", "pathlib._local PosixPath", "pathlib._local WindowsPath",
	"builtins set", "builtins frozenset", "builtins list", "builtins tuple", "builtins slice", "builtins complex",
	"__builtin__ set", "__builtin__ frozenset", "__builtin__ list", "__builtin__ tuple", "__builtin__ slice", "__builtin__ complex",
}

// decoder returns the decoder of the pickle with the tensors.
func (r *reading) decoder() *pickle.Decoder {
	globals := pickle.NumPy(r.budget)
	for _, name := range inert {
		globals[name] = pickle.Inert("", name)
	}
	for class := range storageTypes {
		globals["torch "+class] = nil
		globals["torch.storage "+class] = nil
	}
	globals["torch.storage UntypedStorage"] = nil
	globals["torch UntypedStorage"] = nil
	for _, name := range slices.Concat(typeNames, schemes) {
		globals["torch "+name] = nil
	}
	for _, builtin := range []string{"builtins ", "__builtin__ "} {
		globals[builtin+"dict"], globals[builtin+"int"], globals[builtin+"float"] = newDict, nil, nil
	}
	globals["collections OrderedDict"] = newDict
	globals["collections defaultdict"] = newDict
	globals["collections Counter"] = newCounter
	globals["torch._utils _rebuild_tensor"] = func(a pickle.Tuple) (any, error) { return r.rebuild(a, 4, 4) }
	globals["torch._utils _rebuild_tensor_v2"] = func(a pickle.Tuple) (any, error) { return r.rebuild(a, 6, 7) }
	globals["torch._utils _rebuild_tensor_v3"] = func(a pickle.Tuple) (any, error) { return r.rebuild(a, 7, 8) }
	globals["torch._utils _rebuild_parameter"] = rebuildParameter
	globals["torch._utils _rebuild_parameter_with_state"] = rebuildParameter
	globals["torch._tensor _rebuild_from_type_v2"] = rebuildFromType
	globals["torch Tensor"], globals["torch.nn.parameter Parameter"] = nil, nil
	return &pickle.Decoder{Globals: globals, Persistent: r.persistent, Budget: r.budget, Fix: fixState}
}

// newDict makes an empty dict, or, as protocols 0 and 1 of old Pythons have it,
// one of a list of pairs, which is refused. A defaultdict's factory is dropped.
func newDict(args pickle.Tuple) (any, error) {
	for _, a := range args {
		if _, name := a.(*pickle.Global); !name && a != nil {
			return nil, resave("a dict is made of %s", pickle.Describe(a))
		}
	}
	return &pickle.Dict{}, nil
}

// newCounter makes a dict of Counter(dict), as a Counter is pickled.
func newCounter(args pickle.Tuple) (any, error) {
	if len(args) == 0 {
		return &pickle.Dict{}, nil
	}
	if d, ok := args[0].(*pickle.Dict); ok && len(args) == 1 {
		return d, nil
	}
	return nil, resave("a Counter is made of %s", pickle.Describe(args[0]))
}

func resave(format string, args ...any) error {
	return named.Refused(fixResave, format, args...)
}

func rebuildParameter(args pickle.Tuple) (any, error) {
	if len(args) == 0 {
		return nil, named.Damaged("a parameter is made of nothing")
	}
	t, ok := args[0].(*tensor)
	if !ok {
		return nil, named.Damaged("a parameter is made of %s instead of a tensor", pickle.Describe(args[0]))
	}
	return t, nil
}

// rebuildFromType makes a tensor that has attributes of its own, which are
// dropped, of (function, class, arguments, attributes).
func rebuildFromType(args pickle.Tuple) (any, error) {
	if len(args) != 4 {
		return nil, named.Damaged("a tensor with attributes is made of %d values instead of 4", len(args))
	}
	f, ok := args[0].(*pickle.Global)
	inner, isTuple := args[2].(pickle.Tuple)
	if !ok || !isTuple || f.Module != "torch._utils" || !strings.HasPrefix(f.Name, "_rebuild_tensor") {
		return nil, resave("a tensor with attributes is made by %s", pickle.Describe(args[0]))
	}
	return f.Call(inner)
}

// rebuild makes a tensor of (storage, offset, size, stride[, requires_grad,
// hooks[, dtype][, metadata]]); version 3 has a dtype and a storage of bytes.
func (r *reading) rebuild(args pickle.Tuple, least, most int) (any, error) {
	if len(args) < least || len(args) > most {
		return nil, named.Damaged("a tensor is made of %d values instead of %d", len(args), least)
	}
	p, ok := args[0].(*part)
	if !ok {
		return nil, named.Damaged("a tensor is made of %s instead of a storage", pickle.Describe(args[0]))
	}
	offset, ok := pickle.Int(args[1])
	size, sizeOK := intsOf(args[2])
	stride, strideOK := intsOf(args[3])
	if !ok || !sizeOK || !strideOK {
		return nil, named.Damaged("a tensor's offset, size or stride are not ints, or are too many")
	}
	if err := r.budget.Take(len(size)+len(stride), 16); err != nil {
		return nil, err
	}
	t := &tensor{part: p, dtype: p.of.dtype, view: named.View{Shape: size, Stride: stride, Offset: offset}}
	if least == 7 {
		g, ok := args[6].(*pickle.Global)
		if !ok || g.Module != "torch" || p.of.dtype != "" {
			return nil, named.Damaged("a tensor of a run of bytes has no type")
		}
		t.dtype = g.Name
	} else if t.dtype == "" {
		return nil, named.Damaged("a tensor without a type is made of a run of bytes")
	}
	if len(args) == most && most > 4 {
		return t, t.describe(args[most-1])
	}
	return t, nil
}

// describe takes a tensor's metadata: a dict of truth values, of which "neg" says
// that the values are those of the storage times -1, and "conj" (of complex
// tensors, which are not read) that they are its conjugates.
func (t *tensor) describe(metadata any) error {
	if metadata == nil {
		return nil
	}
	d, ok := metadata.(*pickle.Dict)
	if !ok {
		return named.Damaged("the metadata of a tensor are %s", pickle.Describe(metadata))
	}
	for i, k := range d.Keys {
		switch on, ok := d.Values[i].(bool); {
		case ok && k == "neg":
			t.neg = on
		case ok && k == "conj" && (!on || strings.HasPrefix(t.dtype, "complex")):
		default:
			return resave("the metadata of a tensor say %s, which is not understood", label(k))
		}
	}
	return nil
}

// intsOf also takes a torch.Size.
func intsOf(v any) ([]int, bool) {
	if r, ok := v.(*pickle.Record); ok && r.Name == "torch Size" && len(r.Args) == 1 {
		v = r.Args[0]
	}
	return pickle.Ints(v)
}

// persistent returns the storage that an identifier stands for: ("storage",
// class, key, location, elements[, view]).
func (r *reading) persistent(id any) (any, error) {
	t, ok := id.(pickle.Tuple)
	if !ok || len(t) < 2 {
		return nil, named.Damaged("its pickle refers to a storage by %s", pickle.Describe(id))
	}
	if t[0] == "module" {
		return nil, named.Refused(fixState, "it holds a whole pickled module with its source code, not a state_dict (nothing was executed)")
	}
	if t[0] != "storage" || len(t) < 5 || len(t) > 6 {
		return nil, named.Damaged("its pickle refers to something other than a storage")
	}
	class, classOK := t[1].(*pickle.Global)
	key, keyOK := t[2].(string)
	n, nOK := pickle.Int(t[4])
	if !classOK || !keyOK || !nOK || n < 0 {
		return nil, named.Damaged("its pickle refers to a storage in an unknown way")
	}
	dtype, typed := storageTypes[class.Name]
	if !typed && class.Name != "UntypedStorage" {
		return nil, named.Damaged("a storage is of the class %s", named.Plain(class.Module+"."+class.Name))
	}
	s := r.storages[key]
	if s == nil {
		if err := r.budget.Take(1, 512); err != nil {
			return nil, err
		}
		s = &storage{key: key, dtype: dtype, n: n}
		r.storages[key] = s
	}
	if s.dtype != dtype || s.n != n {
		return nil, named.Damaged("storage %s is described in two ways, as %d of %s and %d of %s", named.Quote(key), s.n, s.dtype, n, dtype)
	}
	if len(t) == 6 && t[5] != nil {
		return s.partOf(t[5])
	}
	return &part{of: s, n: n}, nil
}

// partOf returns the part that (key, offset, elements) describes.
func (s *storage) partOf(v any) (any, error) {
	t, ok := v.(pickle.Tuple)
	if !ok || len(t) != 3 {
		return nil, named.Damaged("a part of storage %s is described by %s", named.Quote(s.key), pickle.Describe(v))
	}
	offset, offsetOK := pickle.Int(t[1])
	n, nOK := pickle.Int(t[2])
	if !offsetOK || !nOK || offset < 0 || n < 0 || offset > s.n || n > s.n-offset {
		return nil, named.Damaged("a part of storage %s lies beyond its %d elements", named.Quote(s.key), s.n)
	}
	return &part{of: s, offset: offset, n: n}, nil
}

// bytes returns the data of the storage.
func (r *reading) bytes(s *storage) ([]byte, error) {
	if !s.have {
		s.have = true
		s.data, s.err = r.fetch(s)
	}
	return s.data, s.err
}

// decode returns the values of a tensor.
func (r *reading) decode(name string, t *tensor) (named.Tensor, error) {
	if named.Size(t.dtype) == 0 {
		return named.Decode(name, t.dtype, nil, t.view, r.budget) // which refuses it
	}
	b, err := r.bytes(t.part.of)
	if err != nil {
		return named.Tensor{}, err
	}
	size := elementSize(t.part.of.dtype)
	from := t.part.offset * size
	decoded, err := named.Decode(name, t.dtype, b[from:from+t.part.n*size], t.view, r.budget)
	if err == nil && t.neg {
		if decoded.Negate(); t.dtype == "uint64" && slices.ContainsFunc(decoded.Int, func(v int64) bool { return v < 0 }) {
			return decoded, resave("tensor %s has values beyond int64", named.Quote(name))
		}
	}
	return decoded, err
}
