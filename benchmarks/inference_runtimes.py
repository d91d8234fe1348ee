"""The runtimes of `benchmarks.inference`; all load the same weights."""

import pathlib

import numpy as np

from advance_tf.memory import ENVIRONMENT

# The image [B, 256, 256, 3] and the log-mel [B, 400, 64] of the full model.
SHAPES = {"image": (256, 256, 3), "log_mel": (400, 64)}
ONNX = "pair.onnx"


def example(batch):
    """Returns a batch of inputs that is the same in every process."""
    rng = np.random.default_rng(batch)
    return {
        "image": rng.uniform(0, 255, (batch, *SHAPES["image"])).astype(np.float32),
        "log_mel": rng.normal(size=(batch, *SHAPES["log_mel"])).astype(np.float32),
    }


def randomize(recognizer):
    """Sets random batch norms whose outputs stay near 1, as in a trained model."""
    rng = np.random.default_rng(0)
    for name in ("image_tower", "audio_tower"):
        for layer in recognizer.get_layer(name).layers:
            if not hasattr(layer, "moving_mean"):
                continue
            size = layer.gamma.shape[0]
            gain = 0.3 if layer.name.endswith("bn3") else 1.0
            layer.gamma.assign(gain * rng.uniform(0.8, 1.2, size))
            layer.beta.assign(rng.normal(0, 0.1, size))
            layer.moving_mean.assign(rng.normal(0, 0.1, size))
            first = layer.name == "bn1" and name == "image_tower"
            spread = 20_000.0 if first else 1.0
            layer.moving_variance.assign(spread * rng.uniform(0.8, 1.2, size))


def prepare(folder):
    """Writes the SavedModels, the PyTorch weights and the ONNX file.

    Args:
        folder: an empty folder, pathlib.Path.
    """
    import tensorflow as tf
    import torch

    from advance_tf.config import FeatureConfig, ModelConfig
    from advance_tf.models.folding import fold_batch_norms, freeze_graph
    from advance_tf.models.recognizer import build_recognizer
    from benchmarks.torch_recognizer import Pair, copy_weights

    recognizer = build_recognizer(ModelConfig(), FeatureConfig())
    randomize(recognizer)
    recognizer.save_weights(folder / "best.weights.h5")
    folded = fold_batch_norms(recognizer)
    signature = {
        name: tf.TensorSpec((None, *shape), tf.float32, name)
        for name, shape in SHAPES.items()
    }
    for name, model in (("plain", recognizer), ("folded", folded)):
        module = tf.Module()
        module.model = model
        module.recognize = tf.function(model.call, input_signature=[signature])
        tf.saved_model.save(module, str(folder / name))
    module = tf.Module()
    module.recognize = freeze_graph(folded)
    tf.saved_model.save(module, str(folder / "frozen"))

    pair = Pair().eval()
    copy_weights(recognizer, pair)
    torch.save(pair.state_dict(), folder / "pair.pt")
    names = list(SHAPES)
    torch.onnx.export(
        pair,
        tuple(_torch_inputs(example(2))),
        str(folder / ONNX),
        input_names=names,
        output_names=["scene_logits"],
        dynamic_axes={name: {0: "batch"} for name in [*names, "scene_logits"]},
        dynamo=False,
    )


def _channels_first(inputs):
    image = np.ascontiguousarray(inputs["image"].transpose(0, 3, 1, 2))
    return {"image": image, "log_mel": inputs["log_mel"][:, None]}


def _torch_inputs(inputs):
    import torch

    return [torch.from_numpy(x) for x in _channels_first(inputs).values()]


def saved_model(folder, name, inter_op=0, jit_compile=False):
    """Loads a SavedModel in TensorFlow."""
    import tensorflow as tf

    tf.config.threading.set_inter_op_parallelism_threads(inter_op)
    loaded = tf.saved_model.load(str(folder / name))
    recognize = loaded.recognize
    if jit_compile:
        recognize = tf.function(loaded.recognize, jit_compile=True)

    def bind(inputs):
        tensors = {name: tf.constant(value) for name, value in inputs.items()}
        # The default keeps `loaded` alive, which owns the variables.
        return lambda owner=loaded: recognize(tensors)["scene_logits"].numpy()

    return bind


def forward_pass(folder):
    """Loads the weights of the run as `load_model` does."""
    from advance_tf.config import FeatureConfig, ModelConfig
    from advance_tf.models.forward import read_forward_pass

    recognize = read_forward_pass(
        folder / "best.weights.h5", ModelConfig(), FeatureConfig()
    )
    return lambda inputs: lambda: recognize(inputs)["scene_logits"]


def pytorch(folder):
    """Loads the model in PyTorch's eager mode."""
    import torch

    from benchmarks.torch_recognizer import Pair

    pair = Pair().eval()
    pair.load_state_dict(torch.load(folder / "pair.pt", weights_only=True))

    def bind(inputs):
        tensors = _torch_inputs(inputs)

        def recognize():
            with torch.inference_mode():
                return pair(*tensors).numpy()

        return recognize

    return bind


def onnx_runtime(folder):
    """Loads the model in ONNX Runtime with all graph optimizations, its default."""
    import onnxruntime

    session = onnxruntime.InferenceSession(
        str(folder / ONNX), providers=["CPUExecutionProvider"]
    )

    def bind(inputs):
        arrays = _channels_first(inputs)
        return lambda: session.run(None, arrays)[0]

    return bind


def openvino(folder):
    """Loads the model in OpenVINO: latency hint, float32, compiled for each batch."""
    import openvino as ov

    core = ov.Core()
    settings = {"PERFORMANCE_HINT": "LATENCY", "INFERENCE_PRECISION_HINT": "f32"}

    def bind(inputs):
        arrays = _channels_first(inputs)
        model = core.read_model(str(folder / ONNX))
        model.reshape({name: list(value.shape) for name, value in arrays.items()})
        request = core.compile_model(model, "CPU", settings).create_infer_request()
        return lambda: request.infer(arrays)[0]

    return bind


FROZEN = "SavedModel: folded, constants"
# Name → (environment, loader, arguments after the folder).
RUNTIMES = {
    "ONNX Runtime": ({}, onnx_runtime, ()),
    "OpenVINO": ({}, openvino, ()),
    "PyTorch eager": ({}, pytorch, ()),
    "TensorFlow, plain Keras graph": (ENVIRONMENT, saved_model, ("plain",)),
    "TensorFlow, folded": (ENVIRONMENT, saved_model, ("folded",)),
    "TensorFlow, run (forward pass)": (ENVIRONMENT, forward_pass, ()),
    FROZEN: (ENVIRONMENT, saved_model, ("frozen",)),
    f"{FROZEN}, glibc's default memory policy": ({}, saved_model, ("frozen",)),
    f"{FROZEN}, 1 inter-op thread that works too": (
        {**ENVIRONMENT, "TF_ONEDNN_THREADPOOL_USE_CALLER_THREAD": "1"},
        saved_model,
        ("frozen", 1),
    ),
    f"{FROZEN}, Eigen in place of oneDNN": (
        {**ENVIRONMENT, "TF_ENABLE_ONEDNN_OPTS": "0"},
        saved_model,
        ("frozen",),
    ),
    f"{FROZEN}, XLA": (ENVIRONMENT, saved_model, ("frozen", 0, True)),
    f"{FROZEN}, bfloat16 (not exact)": (
        {**ENVIRONMENT, "TF_SET_ONEDNN_FPMATH_MODE": "BF16"},
        saved_model,
        ("frozen",),
    ),
    # ONNX Runtime has no such setting; OpenVINO, which has oneDNN too, is the peer.
    f"{FROZEN}, oneDNN limited to AVX2": (
        {**ENVIRONMENT, "ONEDNN_MAX_CPU_ISA": "AVX2"},
        saved_model,
        ("frozen",),
    ),
    "OpenVINO, oneDNN limited to AVX2": (
        {"ONEDNN_MAX_CPU_ISA": "AVX2"},
        openvino,
        (),
    ),
}
# The runtimes of the table in docs/performance.md.
COMPARED = [
    *("ONNX Runtime", "OpenVINO", FROZEN, "TensorFlow, run (forward pass)"),
    *("OpenVINO, oneDNN limited to AVX2", f"{FROZEN}, oneDNN limited to AVX2"),
]


def load(name, folder):
    """Returns a function: inputs → function without arguments that returns logits."""
    _, loader, arguments = RUNTIMES[name]
    return loader(pathlib.Path(folder), *arguments)
