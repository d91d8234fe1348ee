"""The server process of `benchmarks.serving`: a SavedModel over gRPC.

TF Serving joins requests by `SharedBatchScheduler` before it runs the session. The
operator BatchFunction of TensorFlow runs a function behind the same scheduler with the
same parameters, so that batching can be measured where the server cannot be run.
"""

import argparse
import json
import pathlib
import resource
import sys
import time
from concurrent import futures

import grpc
import tensorflow as tf
from tensorflow.core.protobuf import saved_model_pb2
from tensorflow_serving.apis import (
    get_model_metadata_pb2,
    predict_pb2,
    prediction_service_pb2_grpc,
)

from advance_tf.memory import keep_freed_memory

THREADS = 64


def batched(function, parameters, counts):
    """A signature whose calls run together.

    Args:
        function: the signature of a SavedModel.
        parameters: those of `tf.nondifferentiable_batch_function`.
        counts: int64 [2] variable: the batches and their rows so far.

    Returns:
        A function of the same inputs and outputs.
    """
    specs = function.structured_input_signature[1]
    names = sorted(specs)

    @tf.nondifferentiable_batch_function(autograph=False, **parameters)
    def run(*columns):
        counts.assign_add([1, tf.shape(columns[0], tf.int64)[0]])
        return function(**dict(zip(names, columns, strict=True)))

    @tf.function(input_signature=[specs[name] for name in names], autograph=False)
    def call(*columns):
        return run(*columns)

    return lambda **inputs: call(*(inputs[name] for name in names))


class Servicer(prediction_service_pb2_grpc.PredictionServiceServicer):
    """Predict and GetModelMetadata of one SavedModel, with or without batching."""

    def __init__(self, folder, parameters):
        self._loaded = tf.saved_model.load(str(folder))
        self.counts = tf.Variable([0, 0], dtype=tf.int64)
        self._functions = dict(self._loaded.signatures)
        if parameters:
            self._functions = {
                name: batched(function, parameters, self.counts)
                for name, function in self._functions.items()
            }
        saved = saved_model_pb2.SavedModel()
        saved.ParseFromString((folder / "saved_model.pb").read_bytes())
        self._definitions = saved.meta_graphs[0].signature_def

    def Predict(self, request, context):  # noqa: N802
        """The outputs in the filter of the request."""
        inputs = {
            name: tf.constant(tf.make_ndarray(tensor))
            for name, tensor in request.inputs.items()
        }
        try:
            outputs = self._functions[request.model_spec.signature_name](**inputs)
        except tf.errors.UnavailableError as error:
            context.abort(grpc.StatusCode.UNAVAILABLE, str(error))
        except tf.errors.InvalidArgumentError as error:
            context.abort(grpc.StatusCode.INVALID_ARGUMENT, str(error))
        response = predict_pb2.PredictResponse()
        for name in request.output_filter or outputs:
            tensor = tf.make_tensor_proto(outputs[name].numpy())
            response.outputs[name].CopyFrom(tensor)
        return response

    def GetModelMetadata(self, request, context):  # noqa: N802
        """The signatures."""
        found = get_model_metadata_pb2.SignatureDefMap()
        for name, definition in self._definitions.items():
            found.signature_def[name].CopyFrom(definition)
        response = get_model_metadata_pb2.GetModelMetadataResponse()
        response.metadata["signature_def"].Pack(found)
        return response


def write_export(folder, full):
    """Exports an untrained run: the model of the paper, or small towers.

    Args:
        folder: an empty folder.
        full: whether to export the model of the paper.

    Returns:
        The folder of the SavedModel.
    """
    from advance_tf.config import (
        Config,
        DataConfig,
        FeatureConfig,
        ModelConfig,
        TransferConfig,
    )
    from advance_tf.data.manifest import make_manifest
    from advance_tf.data.synthetic.pairs import LABEL, write_pairs
    from advance_tf.models.recognizer import build_recognizer
    from advance_tf.runs.workdir import MANIFEST, write_config
    from advance_tf.serving.export import export_saved_model
    from advance_tf.training.callbacks import BEST_WEIGHTS
    from benchmarks.inference_runtimes import randomize

    small = {"image_depth": 18, "audio_depth": 18}
    small |= {"image_width": 16, "audio_width": 16}
    features = FeatureConfig() if full else FeatureConfig(image_size=96)
    write_pairs(folder / "data", sites_per_scene=2, progress=False)
    config = Config(
        data=DataConfig(data_dir=str(folder / "data")),
        features=features,
        model=ModelConfig() if full else ModelConfig(**small),
        transfer=TransferConfig(transfer="kl_audiovisual"),
    )
    manifest = make_manifest(config.data)
    run = folder / "run"
    manifest.save(run / MANIFEST)
    write_config(run, config, manifest, label=LABEL)
    recognizer = build_recognizer(config.model, features, "kl_audiovisual")
    randomize(recognizer)
    recognizer.save_weights(run / BEST_WEIGHTS)
    return export_saved_model(run, folder / "models").path


def main():
    """Prints a line when it serves; when its input ends, prints what it used."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--folder", type=pathlib.Path, required=True)
    parser.add_argument("--write", choices=("small", "full"))
    parser.add_argument("--batching", default="{}", help="parameters as JSON")
    arguments = parser.parse_args()
    keep_freed_memory()
    if arguments.write:
        print(write_export(arguments.folder, arguments.write == "full"))
        return
    servicer = Servicer(arguments.folder, json.loads(arguments.batching))
    options = [("grpc.max_receive_message_length", -1)]
    server = grpc.server(futures.ThreadPoolExecutor(THREADS), options=options)
    prediction_service_pb2_grpc.add_PredictionServiceServicer_to_server(
        servicer, server
    )
    port = server.add_insecure_port("127.0.0.1:0")
    server.start()
    print(port, flush=True)
    # A line before each measurement, whose figures begin there.
    for _ in sys.stdin:
        servicer.counts.assign([0, 0])
        cpu = time.process_time()
        print("started", flush=True)
        sys.stdin.readline()
        batches, rows = servicer.counts.numpy().tolist()
        found = {
            "cpu_seconds": time.process_time() - cpu,
            "batches": batches,
            "rows": rows,
            "peak_mib": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024,
        }
        print(json.dumps(found), flush=True)
    server.stop(None).wait()


if __name__ == "__main__":
    main()
