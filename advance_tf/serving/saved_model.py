"""A SavedModel with files as input, labels as assets and warmup requests."""

import contextlib
import json
import os
import pathlib
import shutil
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import tensorflow as tf

from advance_tf import labels
from advance_tf.checksums import record_folder
from advance_tf.extras import check_extra
from advance_tf.files import unique_number
from advance_tf.inference.backends import EMBED, SAVED_MODEL_METADATA
from advance_tf.serving.inference_model import InferenceModel
from advance_tf.serving.signatures import BYTES, Signatures

WARMUP = "assets.extra/tf_serving_warmup_requests"


@contextlib.contextmanager
def new_folder(folder: pathlib.Path) -> Iterator[pathlib.Path]:
    """Yields a temporary folder and renames it to `folder` when the block succeeds.

    Args:
        folder: path of the new folder, which must not exist.

    Yields:
        An empty folder of the same name. The name of its parent, which is beside
        `folder`, is not a number, so that TF Serving loads no unfinished version. It
        is removed when the block fails.

    Raises:
        ValueError: the folder exists.
    """
    if folder.exists():
        raise ValueError(
            f"{folder} must not exist; an export is never overwritten. Give another "
            "`version`, or omit it to use the next one."
        )
    parent = folder.with_name(f"partial-{folder.name}-{unique_number()}")
    shutil.rmtree(parent, ignore_errors=True)
    temporary = parent / folder.name
    temporary.mkdir(parents=True)
    try:
        yield temporary
        os.rename(temporary, folder)
    finally:
        shutil.rmtree(parent, ignore_errors=True)


def next_version(export_dir: pathlib.Path) -> int:
    """One more than the highest version in a folder; 1 for the first.

    >>> next_version(pathlib.Path("a folder that does not exist"))
    1
    """
    names = [path.name for path in export_dir.glob("*")]
    return max((int(name) for name in names if name.isdecimal()), default=0) + 1


class _Assets(tf.Module):
    """Holds the lists of labels, which are copied to assets/."""

    def __init__(self) -> None:
        super().__init__("advance")
        self.scenes = tf.saved_model.Asset(str(labels.asset_path("scenes.csv")))
        self.events = tf.saved_model.Asset(str(labels.asset_path("events.csv")))


def write_saved_model(
    folder: pathlib.Path,
    model: InferenceModel,
    *,
    top: int = 5,
    bad_rows: str = "status",
    warmup: Mapping[str, bytes],
    version: str = "1",
    **details: Any,
) -> None:
    """Writes the SavedModel, metadata.json and warmup requests to an empty folder.

    `checksums.json` holds the SHA-256 of each, which `load_model` checks.

    The weights are constants of the graph: batch norms are folded, and oneDNN
    converts a constant kernel to its layout once.

    Args:
        folder: empty folder to write to.
        model: model to export.
        top: number of scenes and events to rank.
        bad_rows: "status" or "error", see `Signatures`.
        warmup: "image" and "sound" → encoded files of the requests that a server
            runs when it starts.
        version: version of the export, for metadata.json.
        **details: further entries of metadata.json.

    Raises:
        ImportError: tensorflow-serving-api is not installed.
    """
    check_extra("serving", "tensorflow_serving.apis")
    functions = Signatures(model, top=top, bad_rows=bad_rows).functions()
    tf.saved_model.save(_Assets(), str(folder), signatures=functions)
    path = folder / SAVED_MODEL_METADATA
    path.parent.mkdir(exist_ok=True)
    metadata = model.describe(version=version, **details)
    path.write_text(json.dumps(metadata, indent=1) + "\n", encoding="utf-8")
    _write_warmup(folder / WARMUP, functions, warmup, model.source.name)
    record_folder(folder)


def _write_warmup(
    path: pathlib.Path,
    functions: Mapping[str, Callable[..., Any]],
    warmup: Mapping[str, bytes],
    name: str,
) -> None:
    """Writes one request for each signature that predicts from files."""
    from tensorflow_serving.apis import model_pb2, predict_pb2, prediction_log_pb2

    with tf.io.TFRecordWriter(str(path)) as writer:
        for signature, function in functions.items():
            keys = [spec.name for spec in function.input_signature]  # type: ignore[attr-defined]
            if signature == EMBED or not set(keys) <= set(BYTES.values()):
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
