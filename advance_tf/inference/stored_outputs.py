"""Logits and embeddings of a run for many pairs, computed once and stored."""

import dataclasses
import hashlib
import json
import pathlib
from collections.abc import Mapping, Sequence

import keras
import numpy as np
from tqdm import tqdm

from advance_tf.checksums import replacing_checked, verify
from advance_tf.config_io import key_settings
from advance_tf.data.dataset import make_dataset
from advance_tf.data.pair_files import PairFiles
from advance_tf.data.pairing import Pair
from advance_tf.data.resumable_rows import ResumableRows, remove_chunks
from advance_tf.data.rows import ComputedRows, Rows
from advance_tf.data.shards import media_state
from advance_tf.features.log_mel import AUTHORS
from advance_tf.inference.events import HEADS
from advance_tf.models.backbones.contract import TOWERS
from advance_tf.models.heads import embedding_model, with_mask
from advance_tf.models.recognizer import sound_input_of
from advance_tf.models.weights import stats_sha256
from advance_tf.runs.workdir import Run
from advance_tf.training.embeddings import used_towers


@dataclasses.dataclass(frozen=True, eq=False)
class StoredOutputs:
    """Outputs of a run, one row for each pair, read when they are indexed.

    Attributes:
        scene_logits: float32 [n, 13].
        event_logits: float32 [n, 527] of the event head, or None without one.
        embeddings: "image" → float32 [n, D_v] and "audio" → float32 [n, D_a], of the
            towers in use.
    """

    scene_logits: Rows
    event_logits: Rows | None
    embeddings: Mapping[str, Rows]


def compute_outputs(
    run: Run,
    pairs: Sequence[Pair],
    folder: str | pathlib.Path,
    *,
    batch_size: int = 16,
    progress: bool = True,
) -> StoredOutputs:
    """Computes the outputs of a run for pairs, or reads those that are stored.

    They are stored under a key of weights, feature settings and pairs. An interrupted
    computation resumes.

    Args:
        run: a loaded run.
        pairs: pairs of the data set of the run.
        folder: folder of stored outputs.
        batch_size: pairs in a batch.
        progress: show a progress bar.

    Returns:
        The outputs, in the order of the pairs.

    Raises:
        ValueError: a file cannot be read, or the stored outputs are damaged.
    """
    folder = pathlib.Path(folder)
    key = _key(run, pairs)
    path = folder / f"{key}.npy"
    model = _output_model(run)
    sizes = {name: int(output.shape[-1]) for name, output in model.output.items()}
    if not path.exists():
        chunks = folder / key
        rows = ResumableRows(
            chunks,
            len(pairs),
            sum(sizes.values()),
            content=f"outputs of {run.workdir} for these pairs",
            remedy="Remove its folder and run the command again.",
        )
        _append_missing(rows, run, model, pairs, batch_size, progress)
        with replacing_checked(path) as temporary, temporary.open("wb") as file:
            np.save(file, rows.array())
        remove_chunks(chunks)
    verify(path)
    # [n, 13 + 527 + D_v + D_a]: rows are read from the file.
    table = np.load(path, mmap_mode="r", allow_pickle=False)
    columns, start = {}, 0
    for name, size in sizes.items():
        columns[name] = _columns(table, start, size)
        start += size
    head = next((name for name in HEADS if name in columns), None)
    return StoredOutputs(
        columns["scene_logits"],
        columns[head] if head else None,
        {
            tower: columns[f"{tower}_embedding"]
            for tower in used_towers(run.config.model)
        },
    )


def _columns(table: np.ndarray, start: int, size: int) -> ComputedRows:
    return ComputedRows(
        lambda rows: table[rows, start : start + size], (len(table), size), np.float32
    )


def _key(run: Run, pairs: Sequence[Pair]) -> str:
    settings = key_settings(run.config.features)
    if run.config.features.log_mel_stats != AUTHORS:
        # The contents of the file rather than its name.
        settings["log_mel_stats"] = stats_sha256(run.config.features)
    fields = [
        run.weights_sha256,
        settings,
        [[*pair.key, *_states(run.data_dir, pair)] for pair in pairs],
    ]
    return hashlib.sha256(json.dumps(fields).encode()).hexdigest()[:16]


def _states(data_dir: pathlib.Path, pair: Pair) -> list[tuple[int, int]]:
    """Size and modification time of the files of a pair, wherever they are."""
    return [media_state(data_dir, name)[1:] for name in (pair.image, pair.sound)]


def _output_model(run: Run) -> keras.Model:
    """The recognizer with its embeddings as further outputs."""
    recognizer = run.recognizer
    embeddings = embedding_model(recognizer).output
    outputs = {
        **recognizer.output,
        **{f"{tower}_embedding": embeddings[tower] for tower in TOWERS},
    }
    return keras.Model(recognizer.input, outputs)


def _append_missing(
    rows: ResumableRows,
    run: Run,
    model: keras.Model,
    pairs: Sequence[Pair],
    batch_size: int,
    progress: bool,
) -> None:
    missing = pairs[len(rows) :]
    if not missing:
        return
    sound_input = sound_input_of(run.recognizer)
    files = PairFiles(missing, run.data_dir, run.config.features, sound_input)
    batches = make_dataset(files, batch_size)
    with (
        tqdm(
            desc=f"outputs of {run.workdir.name}",
            total=len(pairs),
            initial=len(rows),
            unit="pair",
            disable=None if progress else True,
        ) as bar,
        files.errors(),
    ):
        for inputs, _ in batches:
            found = model.predict_on_batch(with_mask(model, inputs))
            values = [np.asarray(found[name], np.float32) for name in model.output]
            rows.append(np.concatenate(values, axis=1))
            bar.update(len(values[0]))
