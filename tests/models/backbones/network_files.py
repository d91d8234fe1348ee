"""Tiny networks of images and waveforms in files, and what they compute in NumPy."""

import keras
import numpy as np
import onnx
import tensorflow as tf

SIDE, SAMPLES = 16, 1_000
RNG = np.random.default_rng(0)
COLORS = RNG.normal(0, 0.02, (3, 5)).astype(np.float32)
BLOCKS = RNG.normal(0, 1, (100, 6)).astype(np.float32)


def image_vectors(images):
    """Means of the colours times a matrix, [B, H, W, 3] → [B, 5]."""
    return images.mean((1, 2)) @ COLORS


def sound_vectors(waveforms):
    """Mean over blocks of 100 samples of tanh of a product, [B, n] → [B, 6]."""
    blocks = waveforms.reshape(len(waveforms), -1, 100)
    return np.tanh(blocks @ BLOCKS).mean(1)


def keras_image(side=SIDE):
    """A model with a feature map as its layer `map` and two outputs."""
    levels = keras.Input((side, side, 3))
    x = keras.layers.Dense(5, use_bias=False, name="map")(levels)
    embedding = keras.layers.GlobalAveragePooling2D(name="embedding")(x)
    scores = keras.layers.Activation("sigmoid", name="scores")(embedding)
    model = keras.Model(levels, {"embedding": embedding, "scores": scores})
    model.get_layer("map").set_weights([COLORS])
    return model


class Sound(tf.Module):
    """Frames [B, blocks, 6] and scores of a waveform."""

    def __init__(self):
        super().__init__()
        self.kernel = tf.Variable(BLOCKS)

    def __call__(self, waveform):
        frames = tf.tanh(tf.reshape(waveform, (-1, SAMPLES // 100, 100)) @ self.kernel)
        return {"frames": frames, "scores": tf.reduce_max(frames, [1])}


def concrete(batch):
    """The module and its function for a batch of any size, of 1, or without batch."""
    module = Sound()
    shape = {"any": (None, SAMPLES), "one": (1, SAMPLES), "none": (SAMPLES,)}[batch]

    def call(waveform):
        found = module(waveform)
        return {k: v[0] for k, v in found.items()} if batch == "none" else found

    function = tf.function(call, input_signature=[tf.TensorSpec(shape, name="wave")])
    return module, function


def write_saved_model(path, batch="any"):
    module, function = concrete(batch)
    tf.saved_model.save(module, str(path), signatures=function)
    return path


def write_lite(path, batch="any"):
    module, function = concrete(batch)
    converter = tf.lite.TFLiteConverter.from_concrete_functions(
        [function.get_concrete_function()], module
    )
    path.write_bytes(converter.convert())
    return path


def write_signatures(path, names):
    """A file with signatures of a waveform: the n-th multiplies frames by 2 ** n."""
    module = Sound()

    def scaled(factor):
        signature = [tf.TensorSpec((None, SAMPLES), name="wave")]
        return tf.function(
            lambda wave: {"y": factor * module(wave)["frames"]}, signature
        )

    functions = {name: scaled(2.0**n) for n, name in enumerate(names)}
    folder = path.with_suffix("")
    tf.saved_model.save(module, str(folder), signatures=functions)
    if path.suffix:
        converter = tf.lite.TFLiteConverter.from_saved_model(
            str(folder), signature_keys=list(names)
        )
        path.write_bytes(converter.convert())
    return path


def write_onnx(path, batch="B"):
    """A network of images with channels first: mean over the pixels, two outputs."""
    helper, float32 = onnx.helper, onnx.TensorProto.FLOAT
    nodes = [
        helper.make_node("ReduceMean", ["x"], ["mean"], axes=[2, 3], keepdims=0),
        helper.make_node("MatMul", ["mean", "colors"], ["embedding"]),
        helper.make_node("Sigmoid", ["embedding"], ["scores"]),
    ]
    graph = helper.make_graph(
        nodes,
        "image",
        [helper.make_tensor_value_info("x", float32, [batch, 3, SIDE, SIDE])],
        [
            helper.make_tensor_value_info(name, float32, [batch, 5])
            for name in ("embedding", "scores")
        ],
        [onnx.numpy_helper.from_array(COLORS, "colors")],
    )
    opset = [helper.make_opsetid("", 13)]
    onnx.save(helper.make_model(graph, opset_imports=opset, ir_version=8), str(path))
    return path


def write_onnx_sound(path):
    """The network of `Sound`: frames [B, blocks, 6] and scores [B, 6] of a waveform."""
    helper, float32 = onnx.helper, onnx.TensorProto.FLOAT
    nodes = [
        helper.make_node("Reshape", ["wave", "shape"], ["blocks"]),
        helper.make_node("MatMul", ["blocks", "kernel"], ["product"]),
        helper.make_node("Tanh", ["product"], ["frames"]),
        helper.make_node("ReduceMax", ["frames"], ["scores"], axes=[1], keepdims=0),
    ]
    shape = np.array([-1, SAMPLES // 100, 100], np.int64)
    graph = helper.make_graph(
        nodes,
        "sound",
        [helper.make_tensor_value_info("wave", float32, ["B", SAMPLES])],
        [
            helper.make_tensor_value_info("frames", float32, ["B", SAMPLES // 100, 6]),
            helper.make_tensor_value_info("scores", float32, ["B", 6]),
        ],
        [
            onnx.numpy_helper.from_array(BLOCKS, "kernel"),
            onnx.numpy_helper.from_array(shape, "shape"),
        ],
    )
    opset = [helper.make_opsetid("", 13)]
    onnx.save(helper.make_model(graph, opset_imports=opset, ir_version=8), str(path))
    return path


def move_weights_beside(path):
    """Moves the weights of an ONNX file to one beside it, as `torch.onnx.export`."""
    weights = path.with_name(f"{path.name}.data")
    onnx.save(
        onnx.load(path),
        path,
        save_as_external_data=True,
        location=weights.name,
        size_threshold=0,
    )
    return weights


def write_bytes_network(path):
    """A network of three bytes that returns them as float32, by the ending of path."""
    if path.suffix == ".onnx":
        helper, kinds = onnx.helper, onnx.TensorProto
        graph = helper.make_graph(
            [helper.make_node("Cast", ["x"], ["y"], to=kinds.FLOAT)],
            "bytes",
            [helper.make_tensor_value_info("x", kinds.UINT8, [1, 3])],
            [helper.make_tensor_value_info("y", kinds.FLOAT, [1, 3])],
        )
        opset = [helper.make_opsetid("", 13)]
        model = helper.make_model(graph, opset_imports=opset, ir_version=8)
        onnx.save(model, str(path))
        return path
    module = tf.Module()
    signature = [tf.TensorSpec((1, 3), tf.uint8, name="x")]
    function = tf.function(lambda x: {"y": tf.cast(x, tf.float32)}, signature)
    if path.suffix == ".tflite":
        converter = tf.lite.TFLiteConverter.from_concrete_functions(
            [function.get_concrete_function()], module
        )
        path.write_bytes(converter.convert())
    else:
        tf.saved_model.save(module, str(path), signatures=function)
    return path
