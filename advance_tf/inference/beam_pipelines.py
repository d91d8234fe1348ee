"""Pipelines of Apache Beam: predictions, embeddings and soft labels to Parquet.

Beam divides the work among the processes of a runner, such as DirectRunner, Flink,
Spark or Dataflow. Every process loads the model once, whatever the number of its
threads. Examples that cannot be read go to a table of their own, the dead letters,
and do not end the pipeline.
"""

import dataclasses
import functools
import json
import threading
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from advance_tf import labels
from advance_tf.checksums import path_sha256
from advance_tf.config import FeatureConfig
from advance_tf.extras import requires_extra
from advance_tf.features.errors import MediaError, open_problem
from advance_tf.features.frontend import Frontend
from advance_tf.inference.examples import Example, find_examples, path_text
from advance_tf.inference.loading import load_model, model_sha256
from advance_tf.inference.model import Model
from advance_tf.inference.prediction import Prediction
from advance_tf.teacher.loading import load_teacher
from advance_tf.teacher.models import Teacher, teacher_features

if TYPE_CHECKING:
    import pyarrow

# Raised when a column changes its meaning, is renamed or removed; the columns are those
# of the tables of `advance predict`.
SCHEMA_VERSION = 1
DEAD_LETTERS = "dead_letters"
KINDS = ("predictions", "embeddings", "soft_labels")
_Row = dict[str, Any]
# Name, image and sound of an example.
_Files = tuple[str, str | None, str | None]


@dataclasses.dataclass(frozen=True)
class Job:
    """What a pipeline computes.

    Attributes:
        model: path of `load_model`, or for soft labels of `load_teacher`, which every
            process can open.
        data_dir: folder of images and sounds, or of shards.
        output: folder of the Parquet files.
        kind: "predictions", "embeddings" or "soft_labels".
        batch_size: examples in a batch.
        events: whether predictions have events.
        top: number of events in a row.
        min_confidence: as for `load_model`.
        features: rate and length of the clips of soft labels.
    """

    model: str
    data_dir: str
    output: str
    kind: str = "predictions"
    batch_size: int = 16
    events: bool = True
    top: int = 5
    min_confidence: float | None = None
    features: FeatureConfig = dataclasses.field(default_factory=FeatureConfig)

    def __post_init__(self) -> None:
        if self.kind not in KINDS or self.batch_size < 1:
            raise ValueError(
                f"kind must be one of {', '.join(KINDS)} and batch_size at least 1; "
                f"received {self.kind!r} and {self.batch_size}."
            )


def run_pipeline(job: Job, arguments: Sequence[str] = ()) -> None:
    """Runs a pipeline and waits for its end.

    Writes `<output>/<kind>-*.parquet` and `<output>/dead_letters-*.parquet`. Batches
    are those of one process: each answer is the one of `Model.predict_batch`.

    Args:
        job: what to compute.
        arguments: options of Beam: the runner, and for DirectRunner the number of its
            processes.

    Raises:
        ImportError: the extra `beam` is not installed.
        ValueError: the folder or the model cannot be read.
    """
    with requires_extra("beam"):
        import apache_beam as beam
        from apache_beam.options.pipeline_options import PipelineOptions
    examples, failures = find_examples(job.data_dir)
    sha256 = job_sha256(job)
    starts = range(0, len(examples), job.batch_size)
    batches = [
        [
            (one.name, path_text(one.image), path_text(one.sound))
            for one in examples[start : start + job.batch_size]
        ]
        for start in starts
    ]
    left_out = [{"name": one.name, "status": one.status} for one in failures]
    with beam.Pipeline(options=PipelineOptions(list(arguments))) as pipeline:
        computed = (
            pipeline
            | "batches" >> beam.Create(batches)
            | "distribute" >> beam.Reshuffle()
            | "compute"
            >> beam.FlatMap(functools.partial(_tagged_rows, job, sha256)).with_outputs(
                DEAD_LETTERS, main="rows"
            )
        )
        others = pipeline | "left out" >> beam.Create(left_out)
        dead = (computed[DEAD_LETTERS], others) | "all" >> beam.Flatten()
        for rows, name in (
            (computed.rows, job.kind),
            (dead, DEAD_LETTERS),
        ):
            _ = rows | f"write {name}" >> beam.io.WriteToParquet(
                f"{job.output}/{name}", _schema(name), file_name_suffix=".parquet"
            )


def job_sha256(job: Job) -> str:
    """The SHA-256 in the rows of a job: that of its model, or of its teacher.

    Args:
        job: what to compute; a teacher is a file or a folder.

    Returns:
        64 hexadecimal digits.
    """
    is_teacher = job.kind == "soft_labels"
    return path_sha256(job.model) if is_teacher else model_sha256(job.model)


def _tagged_rows(job: Job, sha256: str, batch: Sequence[_Files]) -> Iterator[Any]:
    """The rows of a batch, with the tag of Beam for the dead letters."""
    from apache_beam.pvalue import TaggedOutput

    for ok, row in compute_rows(job, sha256, batch):
        yield row if ok else TaggedOutput(DEAD_LETTERS, row)


def _schema(kind: str) -> "pyarrow.Schema":
    import pyarrow

    if kind == DEAD_LETTERS:
        return pyarrow.schema([(n, pyarrow.string()) for n in ("name", "status")])
    texts = [("name", pyarrow.string()), ("model_sha256", pyarrow.string())]
    vector = pyarrow.list_(pyarrow.float32())
    if kind == "soft_labels":
        return pyarrow.schema([*texts, ("teacher_logits", vector)])
    if kind == "embeddings":
        return pyarrow.schema([*texts, ("image", vector), ("sound", vector)])
    numbers = ["confidence", *map(_probability_column, labels.scenes())]
    return pyarrow.schema(
        [
            ("schema_version", pyarrow.int32()),
            *[
                (name, pyarrow.string())
                for name in ("name", "status", "scene", "reason", "label")
            ],
            *[(name, pyarrow.float64()) for name in numbers],
            *[
                (name, pyarrow.string())
                for name in ("events", "image", "sound", "model_sha256")
            ],
        ]
    )


def _probability_column(scene: str) -> str:
    return f"prob_{scene.replace(' ', '_')}"


_LOCK = threading.Lock()
_LOADED: dict[tuple[str, ...], Any] = {}


def _loaded(job: Job) -> Any:
    """The model or the teacher of a job, loaded once in this process."""
    key = job.kind, job.model, str(job.min_confidence), str(job.features)
    with _LOCK:
        if key not in _LOADED:
            _LOADED[key] = (
                load_teacher(job.model, job.features)
                if job.kind == "soft_labels"
                else load_model(job.model, min_confidence=job.min_confidence)
            )
        return _LOADED[key]


def compute_rows(
    job: Job, sha256: str, batch: Sequence[_Files]
) -> Iterator[tuple[bool, _Row]]:
    """The rows of a batch.

    Args:
        job: what to compute.
        sha256: hash of the model.
        batch: name, image and sound of each example.

    Yields:
        Whether the example could be read, and its row or its dead letter.
    """
    model = _loaded(job)
    examples = [Example(*one) for one in batch]
    if job.kind == "soft_labels":
        yield from _soft_label_rows(model, examples, job.features, sha256)
        return
    if job.kind == "embeddings":
        for one in examples:
            yield _embedding_row(model, one, sha256)
        return
    for answer in model.predict_batch(
        examples, batch_size=job.batch_size, events=job.events
    ):
        if answer.ok:
            yield True, prediction_row(answer, sha256, job.top)
        else:
            yield False, {"name": answer.name, "status": answer.status}


def prediction_row(answer: Prediction, sha256: str, top: int) -> _Row:
    """The row of a prediction."""
    events = [{"name": n, "probability": p} for n, p in answer.events[:top]]
    return {
        "schema_version": SCHEMA_VERSION,
        "name": answer.name,
        "status": answer.status,
        "scene": answer.scene,
        "reason": answer.reason,
        "label": answer.label,
        "confidence": answer.confidence,
        **{_probability_column(n): p for n, p in answer.scene_probs.items()},
        "events": json.dumps(events, ensure_ascii=False),
        "image": answer.image or "",
        "sound": answer.sound or "",
        "model_sha256": sha256,
    }


def _embedding_row(model: Model, one: Example, sha256: str) -> tuple[bool, _Row]:
    try:
        found = model.embed(one.image, one.sound)
    except ValueError as error:
        return False, {"name": one.name, "status": str(error)}
    vectors = {
        kind: None if vector is None else vector.tolist()
        for kind, vector in (("image", found.image), ("sound", found.sound))
    }
    return True, {"name": one.name, "model_sha256": sha256, **vectors}


def _soft_label_rows(
    teacher: Teacher, examples: Sequence[Example], features: FeatureConfig, sha256: str
) -> Iterator[tuple[bool, _Row]]:
    """The teacher's logits of the central clips of a batch."""
    frontend = Frontend(teacher_features(teacher, features), normalized=False)
    clips, names = [], []
    for one in examples:
        try:
            if one.sound is None:
                raise MediaError(f"Example '{one.name}' must have a sound.")
            clips.append(frontend.read_waveform(one.sound))
            names.append(one.name)
        except OSError as error:
            yield False, {"name": one.name, "status": open_problem(error)}
        except ValueError as error:
            yield False, {"name": one.name, "status": str(error)}
    if clips:
        logits = np.asarray(teacher.logits(np.stack(clips)), np.float32)
        for name, row in zip(names, logits, strict=True):
            yield (
                True,
                {"name": name, "model_sha256": sha256, "teacher_logits": row.tolist()},
            )
