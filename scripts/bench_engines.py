"""The inference engines' side of scripts/bench_cpu.sh: ONNX Runtime in float32 or int8, or OpenVINO in float32, bfloat16 or int8, driven
line by line as bench_worker.py describes. The model is the ONNX file that PyTorch exports of the work's net (the request's "onnx"). In int8 it is
what the engine's own quantizer makes of it, by its defaults but for a scale per channel, with ranges of the batch: ONNX Runtime's quantize_static, and
NNCF for OpenVINO.

    python scripts/bench_engines.py openvino-bfloat16 --threads 2
"""

import argparse
import os

from bench_cases import BFLOAT16, ENGINES, ENGINES_NARROW, ENGINES_QUANTIZED, INT8, precision_of
from bench_worker import serve


class Inference:
    """One net on one batch: run returns the logits."""

    def __init__(self, run):
        self.step = run

    def reset(self):
        """Nothing changes from run to run."""

    def check(self):
        return self.step().astype("float32").ravel().tolist()


def image_of(request):
    from safetensors.numpy import load_file

    return load_file(request["file"])["image"]


def quantized(path, image):
    """The file of the model as ONNX Runtime's static quantization makes it, beside it."""
    made = path + ".onnxruntime-int8.onnx"
    if os.path.exists(made):
        return made
    from onnxruntime.quantization import CalibrationDataReader, QuantType, quantize_static
    from onnxruntime.quantization.shape_inference import quant_pre_process

    class Reader(CalibrationDataReader):
        def __init__(self):
            self.rest = [{"image": image}]

        def get_next(self):
            return self.rest.pop() if self.rest else None

    ready = path + ".ready.onnx"
    quant_pre_process(path, ready, skip_symbolic_shape=True)
    quantize_static(ready, made + ".part", Reader(), per_channel=True, activation_type=QuantType.QUInt8, weight_type=QuantType.QInt8)
    os.replace(made + ".part", made)
    return made


def onnxruntime(request, threads, precision):
    import onnxruntime as ort

    options = ort.SessionOptions()
    options.intra_op_num_threads, options.inter_op_num_threads = threads, 1
    options.graph_optimization_level = ort.GraphOptimizationLevel.ORT_ENABLE_ALL
    feed = {"image": image_of(request)}
    path = quantized(request["onnx"], feed["image"]) if precision == INT8 else request["onnx"]
    session = ort.InferenceSession(path, options, providers=["CPUExecutionProvider"])
    return Inference(lambda: session.run(None, feed)[0])


def openvino(request, threads, precision):
    import openvino as ov

    image, model = image_of(request), request["onnx"]
    if precision == INT8:
        made = model + ".openvino-int8.xml"
        if not os.path.exists(made):
            import nncf

            ov.save_model(nncf.quantize(ov.Core().read_model(model), nncf.Dataset([image])), made, compress_to_fp16=False)
        model = made
    model = ov.Core().compile_model(model, "CPU", {
        "PERFORMANCE_HINT": "LATENCY",
        "NUM_STREAMS": 1,
        "INFERENCE_NUM_THREADS": threads,
        "INFERENCE_PRECISION_HINT": "bf16" if precision == BFLOAT16 else "f32",
    })
    call, feed = model.create_infer_request(), {0: image}
    return Inference(lambda: call.infer(feed, share_inputs=True, share_outputs=True)[0])


def main():
    p = argparse.ArgumentParser(description="one mode of an inference engine, driven line by line")
    p.add_argument("mode", choices=[*ENGINES, *ENGINES_NARROW, *ENGINES_QUANTIZED])
    p.add_argument("--threads", type=int, default=2)
    o = p.parse_args()

    def start():
        if o.mode.startswith("onnxruntime"):
            import onnxruntime as ort

            return f"ONNX Runtime {ort.__version__}"
        import openvino as ov

        return f"OpenVINO {ov.__version__.split('-')[0]}"

    engine = onnxruntime if o.mode.startswith("onnxruntime") else openvino
    serve(start, lambda r: engine(r, o.threads, precision_of(o.mode)))


if __name__ == "__main__":
    main()
