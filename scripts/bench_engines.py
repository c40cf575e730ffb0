"""The inference engines' side of scripts/bench_cpu.sh: ONNX Runtime, or OpenVINO in float32 or bfloat16, driven line by line as
bench_worker.py describes. The model is the ONNX file that PyTorch exports of the work's net (the request's "onnx").

    python scripts/bench_engines.py openvino-bfloat16 --threads 2
"""

import argparse

from bench_cases import BFLOAT16, ENGINES, ENGINES_NARROW, precision_of
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


def onnxruntime(request, threads, _):
    import onnxruntime as ort

    options = ort.SessionOptions()
    options.intra_op_num_threads, options.inter_op_num_threads = threads, 1
    options.graph_optimization_level = ort.GraphOptimizationLevel.ORT_ENABLE_ALL
    session = ort.InferenceSession(request["onnx"], options, providers=["CPUExecutionProvider"])
    feed = {"image": image_of(request)}
    return Inference(lambda: session.run(None, feed)[0])


def openvino(request, threads, precision):
    import openvino as ov

    model = ov.Core().compile_model(request["onnx"], "CPU", {
        "PERFORMANCE_HINT": "LATENCY",
        "NUM_STREAMS": 1,
        "INFERENCE_NUM_THREADS": threads,
        "INFERENCE_PRECISION_HINT": "bf16" if precision == BFLOAT16 else "f32",
    })
    call, feed = model.create_infer_request(), {0: image_of(request)}
    return Inference(lambda: call.infer(feed, share_inputs=True, share_outputs=True)[0])


def main():
    p = argparse.ArgumentParser(description="one mode of an inference engine, driven line by line")
    p.add_argument("mode", choices=[*ENGINES, *ENGINES_NARROW])
    p.add_argument("--threads", type=int, default=2)
    o = p.parse_args()

    def start():
        if o.mode == "onnxruntime":
            import onnxruntime as ort

            return f"ONNX Runtime {ort.__version__}"
        import openvino as ov

        return f"OpenVINO {ov.__version__.split('-')[0]}"

    engine = onnxruntime if o.mode == "onnxruntime" else openvino
    serve(start, lambda r: engine(r, o.threads, precision_of(o.mode)))


if __name__ == "__main__":
    main()
