"""A SavedModel with files as input, labels inside and warmup requests beside it."""

import contextlib
import os
import pathlib
import shutil
from collections.abc import Iterator, Mapping

import tensorflow as tf
from tensorflow_serving.apis import model_pb2, predict_pb2, prediction_log_pb2

from advance_tf import labels
from advance_tf.serving.served import Answering
from advance_tf.serving.signatures import BYTES, Signatures

WARMUP = "assets.extra/tf_serving_warmup_requests"


@contextlib.contextmanager
def new_folder(folder: pathlib.Path) -> Iterator[pathlib.Path]:
    """Gives a temporary folder and renames it to `folder` when the block succeeds.

    Args:
        folder: must not exist.

    Yields:
        An empty folder beside it whose name is no number, so that TF Serving
        does not take it for a version; removed on failure.

    Raises:
        ValueError: the folder exists.
    """
    if folder.exists():
        raise ValueError(
            f"{folder} must not exist yet; an artefact is never overwritten. Give "
            "another --version, or leave it out for the next one."
        )
    temporary = folder.with_name(f"partial-{folder.name}-{os.getpid()}")
    shutil.rmtree(temporary, ignore_errors=True)
    temporary.mkdir(parents=True)
    try:
        yield temporary
        os.rename(temporary, folder)
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


def next_version(export_dir: pathlib.Path) -> int:
    """One more than the highest version below a folder; 1 for the first."""
    names = [path.name for path in export_dir.glob("*")]
    return max((int(name) for name in names if name.isdecimal()), default=0) + 1


class _Exported(tf.Module):
    """Holds the lists of labels as assets."""

    def __init__(self):
        super().__init__("advance")
        self.scenes = tf.saved_model.Asset(str(labels.asset_path("scenes.csv")))
        self.events = tf.saved_model.Asset(str(labels.asset_path("events.csv")))


def write_saved_model(
    folder: pathlib.Path,
    answering: Answering,
    *,
    top: int = 5,
    bad_rows: str = "status",
    warmup: Mapping[str, bytes],
) -> None:
    """Writes the SavedModel and its warmup requests into an empty folder.

    The weights are constants of the graph: batch norms are folded, and oneDNN
    brings a constant kernel into its layout once.

    Args:
        folder: to fill.
        answering: the model.
        top: number of names, best first.
        bad_rows: "status" or "error".
        warmup: "image" and "sound": encoded files to ask when a server starts.
    """
    functions = Signatures(answering, top=top, bad_rows=bad_rows).functions()
    tf.saved_model.save(_Exported(), str(folder), signatures=functions)
    _write_warmup(folder / WARMUP, functions, warmup, answering.source.name)


def _write_warmup(path, functions, warmup, name) -> None:
    path.parent.mkdir()
    with tf.io.TFRecordWriter(str(path)) as writer:
        for signature, function in functions.items():
            keys = [spec.name for spec in function.input_signature]
            if not set(keys) <= set(BYTES.values()):
                continue
            request = predict_pb2.PredictRequest(
                model_spec=model_pb2.ModelSpec(name=name, signature_name=signature)
            )
            for kind, key in BYTES.items():
                if key in keys:
                    tensor = tf.make_tensor_proto([warmup[kind]])
                    request.inputs[key].CopyFrom(tensor)
            log = prediction_log_pb2.PredictLog(request=request)
            record = prediction_log_pb2.PredictionLog(predict_log=log)
            writer.write(record.SerializeToString())
