"""Predictions of many examples, computed by several processes in parts."""

import hashlib
import itertools
import json
import os
import pathlib
import shutil
from collections.abc import Iterator, Sequence

from advance_tf.features.media_files import container
from advance_tf.files import replacing
from advance_tf.inference.examples import Example, path_text
from advance_tf.inference.model import Model
from advance_tf.inference.prediction import OK, Prediction
from advance_tf.parts import Parts, Shard

RESULTS = "predictions.jsonl"
# Rows in a part, the most that an interruption loses.
_PART_ROWS = 64


def predict_shard(
    model: Model,
    examples: Sequence[Example],
    failures: Sequence[Prediction],
    folder: str | pathlib.Path,
    shard: Shard,
    *,
    model_sha256: str,
    batch_size: int = 16,
    events: bool = True,
    top: int | None = None,
) -> Iterator[Prediction]:
    """Predicts the parts of one process that are not done, and writes them.

    The parts consist of whole batches: every example is in the batch in which one
    process alone predicts it, and has the same answer. The process that finds all
    parts done joins them to `<folder>/predictions.jsonl`, one JSON object a line in
    the order of the examples; those that cannot be read have their `status`, and
    `failures` follow.

    Args:
        model: the model.
        examples: all examples, the same for every process.
        failures: predictions of what cannot be an example.
        folder: folder of the parts, the same for every process.
        shard: this process.
        model_sha256: SHA-256 of the model, which every process must share.
        batch_size: examples in a batch.
        events: whether to predict events.
        top: number of scenes and events to write; None for all.

    Yields:
        The predictions that this process computes; and of its parts that were done
        before, those of examples that cannot be read.

    Raises:
        ValueError: the folder holds parts of another model, other examples or other
            settings.
    """
    rows: list[Example | Prediction] = [*examples, *failures]
    parts = Parts(
        pathlib.Path(folder),
        {
            "model_sha256": model_sha256,
            "examples_sha256": _digest(rows),
            "batch_size": batch_size,
            "events": events,
            "top": top,
            "min_confidence": model.min_confidence,
        },
        len(rows),
        -(-_PART_ROWS // batch_size) * batch_size,
        ".jsonl",
    )
    parts.begin()
    missing = parts.missing(shard)
    for start in parts.starts[shard.index :: shard.count]:
        if start not in missing:
            yield from _failures(parts.path(start))
    for start in missing:
        with replacing(parts.path(start)) as temporary:
            with temporary.open("w", encoding="utf-8") as file:
                part = rows[start : start + parts.part_rows]
                for answer in _answers(model, part, batch_size, events):
                    file.write(answer.to_json(top) + "\n")
                    yield answer
    if not parts.missing():
        with replacing(parts.folder / RESULTS) as temporary:
            with temporary.open("wb") as joined:
                for start in parts.starts:
                    with parts.path(start).open("rb") as part_file:
                        shutil.copyfileobj(part_file, joined)
        parts.finish()


def _answers(
    model: Model, part: Sequence[Example | Prediction], batch_size: int, events: bool
) -> Iterator[Prediction]:
    """The predictions of a part, in order."""
    examples = [row for row in part if isinstance(row, Example)]
    answers = model.predict_batch(examples, batch_size=batch_size, events=events)
    return itertools.chain(answers, (r for r in part if isinstance(r, Prediction)))


def _failures(path: pathlib.Path) -> Iterator[Prediction]:
    """The predictions of a part for what cannot be read."""
    with path.open(encoding="utf-8") as file:
        for values in map(json.loads, file):
            if values["status"] != OK:
                kept = ("name", "status", "image", "sound", "label")
                yield Prediction(**{name: values[name] for name in kept})


def _digest(rows: Sequence[Example | Prediction]) -> str:
    """SHA-256 of the names of rows, and of paths, sizes and times of their files."""
    digest = hashlib.sha256()
    for row in rows:
        paths = [path_text(row.image), path_text(row.sound)]
        fields = [row.name, *((path, *_state(path)) for path in paths)]
        digest.update(json.dumps(fields).encode())
    return digest.hexdigest()


def _state(path: str | None) -> tuple[int, ...]:
    """Size and modification time of a file, or of its shard; () if there is none."""
    try:
        status = os.stat(container(path)) if path else None
    except OSError:
        return ()
    return (status.st_size, status.st_mtime_ns) if status else ()
