"""Every decoder and reader of files, with valid files to mutate."""

import dataclasses
import io
import json
import pathlib
import types
from collections.abc import Callable, Mapping

import numpy as np
import soundfile
import tensorflow as tf

from advance_tf import checksums
from advance_tf.config import Config, FeatureConfig, ModelConfig
from advance_tf.config_io import load_config, to_dict
from advance_tf.data import coordinates, image_conversion, recordings, tagged_clips
from advance_tf.data.cache import PairCache
from advance_tf.data.manifest import Manifest
from advance_tf.data.media_errors import media_errors
from advance_tf.data.pairing import Pair
from advance_tf.experiments import head_results, recipes, scheduler, study
from advance_tf.features.file_decoders import image_decoder, sound_decoder
from advance_tf.features.frontend import Frontend
from advance_tf.features.log_mel import load_stats
from advance_tf.inference import backends
from advance_tf.metrics.comparison import read_predictions
from advance_tf.models.forward import read_forward_pass
from advance_tf.models.recognizer import build_recognizer
from advance_tf.models.weights import METADATA, TowerMetadata, read_weights
from advance_tf.reporting.plots import read_log
from advance_tf.runs import workdir
from advance_tf.teacher import archives
from advance_tf.training.checkpoint import read_progress
from advance_tf.training.embeddings import EmbeddingStore
from advance_tf.training.pretraining_settings import (
    SETTINGS,
    combine_settings,
    write_settings,
)
from tests.features.image_forms import READ, REFUSED
from tests.fuzz.place_targets import place_targets
from tests.fuzz.seed_files import Target, csv_file, json_file, npz_file, written

FEATURES = FeatureConfig(image_size=32, clip_seconds=0.5)
_MODEL = ModelConfig(
    modality="both", image_depth=10, audio_depth=10, image_width=1, audio_width=1
)
_PAIR = Pair("00001", "lake", "00001", "vision/lake/00001.jpg", "sound/lake/00001.wav")


def _wavs() -> list[bytes]:
    noise = np.random.default_rng(0).uniform(-0.5, 0.5, (600, 2))
    files = []
    for coding, rate_hz, channels in (
        *(("PCM_16", 16_000, 1), ("PCM_U8", 8_000, 2), ("PCM_24", 44_100, 2)),
        *(("PCM_32", 22_050, 1), ("FLOAT", 16_000, 2), ("DOUBLE", 11_127, 1)),
    ):
        for kind in ("WAV", "WAVEX"):
            file = io.BytesIO()
            soundfile.write(file, noise[:, :channels], rate_hz, coding, format=kind)
            files.append(file.getvalue())
    return files


def _images(*names: str) -> list[bytes]:
    refused = {form: contents for form, (contents, _) in REFUSED.items()}
    forms = {**READ, **refused}
    return [forms[form] for form in forms if form.split()[0] in names]


def _manifest() -> bytes:
    manifest = Manifest((_PAIR,), ("training",), "site", 0)
    return written(lambda folder: manifest.save(folder / "a.csv"), "a.csv")


def _run_config() -> bytes:
    return written(
        lambda folder: workdir.write_config(folder, Config(model=_MODEL), None),
        workdir.CONFIG,
    )


def _pretraining() -> bytes:
    def write(folder: pathlib.Path) -> None:
        values = {"data_dir": "clips"}
        given = {"tower": "image"}
        combined = combine_settings(folder, values, Config(), given)
        write_settings(folder, *combined)

    return written(write, SETTINGS)


def _soft_labels() -> bytes:
    rows = np.random.default_rng(0).normal(0, 1, (3, 5)).astype(np.float32)
    arrays = {"key": "a", "mask": np.ones(5, bool)}
    return written(
        lambda folder: archives.write_arrays(
            folder / "a.npz", arrays, {"logits": rows}
        ),
        "a.npz",
    )


def _read_soft_labels(path: pathlib.Path) -> object:
    shapes = {"key": (), "mask": (5,)}
    archives.read_arrays(path, shapes)
    return np.asarray(archives.read_rows(path, "logits", (3, 5))[:])


def _weights() -> bytes:
    def write(folder: pathlib.Path) -> None:
        build_recognizer(_MODEL, FEATURES).save_weights(folder / "a.weights.h5")

    return written(write, "a.weights.h5")


def _weights_reader() -> Callable[[pathlib.Path], object]:
    recognizer = build_recognizer(_MODEL, FEATURES)

    def read(path: pathlib.Path) -> None:
        if read_forward_pass(path, _MODEL, FEATURES) is None:
            workdir._load_weights(recognizer, path)

    return read


def _read_cache(path: pathlib.Path) -> None:
    cache = PairCache(path.parent, FEATURES)
    with media_errors():
        cache.read(tf.constant(str(path)))


def _cache_file() -> bytes:
    def write(folder: pathlib.Path) -> None:
        (folder / "a.jpg").write_bytes(READ["JPEG"])
        soundfile.write(folder / "a.wav", np.zeros(8_000), 16_000)
        pair = Pair("00001", "lake", "00001", "a.jpg", "a.wav")
        cache = PairCache(folder, FEATURES)
        cache.fill([pair], folder, progress=False)
        cache.path(pair, folder).rename(folder / "a.pair")

    return written(write, "a.pair")


def _media_reader(kind: str) -> Callable[[pathlib.Path], np.ndarray]:
    """Reads as a data set; an error is that of the predictor, which reads again."""
    frontend = Frontend(FEATURES)
    if kind == "image":
        decode, read = image_decoder(FEATURES), frontend.read_image
    else:
        decode, read = sound_decoder(FEATURES), frontend.read_waveform
    rest = [tf.constant(0.5)] if kind == "sound" else []

    def decode_or_read(path: pathlib.Path) -> np.ndarray:
        try:
            return np.asarray(decode(tf.constant(str(path)), *rest))
        except tf.errors.OpError as error:
            read(path)
            raise AssertionError(f"only the data set refuses {path}") from error

    return decode_or_read


def _convert_sound(path: pathlib.Path) -> object:
    copy = path.with_name("copy.wav")
    try:
        recordings.write_wav(path, copy, recordings.ClipRule(min_seconds=0))
        return soundfile.read(copy)[0]
    except (ValueError, soundfile.SoundFileError) as error:
        # `prepare` names the file before these.
        raise ValueError(f"{path}: {error}") from error


def _convert_image(path: pathlib.Path) -> None:
    try:
        image_conversion.convert_form(path, path.with_name("copy.png"))
    except ValueError as error:
        # `prepare` names the file before these.
        raise ValueError(f"{path}: {error}") from error


def _read_tags(path: pathlib.Path) -> None:
    path.with_name("a.wav").touch()
    tagged_clips.read_tags(path, path.parent, allow_missing=True)


def _metadata() -> bytes:
    values = {
        **{"modality": "both", "label": "", "events_source": "", "image_size": 32},
        **{"events_of_sound": False, "sample_rate_hz": 16_000, "clip_samples": 8_000},
    }
    return json_file(values)


def _read_metadata(path: pathlib.Path) -> None:
    folder = path.parent / "model"
    target = folder / backends.SAVED_MODEL_METADATA
    target.parent.mkdir(parents=True, exist_ok=True)
    target.write_bytes(path.read_bytes())
    try:
        backends._saved_model_metadata(folder)
    except ValueError as error:
        raise ValueError(str(error).replace(str(target), str(path))) from error


def _read_heads(path: pathlib.Path) -> None:
    head_results.read_result(types.SimpleNamespace(workdir=path.parent))


def _read_pretraining(path: pathlib.Path) -> None:
    combine_settings(path.parent, {}, Config(), {})


def _read_checksums(path: pathlib.Path) -> None:
    checksums._recorded(path.parent)


def targets() -> Mapping[str, Callable[[], Target]]:
    """The readers by name; only those that are called build models and graphs."""
    side = {"stem": "00001", "site": "00001", "scene": "lake", "predicted": "beach"}
    labels = {"tower": "image", "backbone": "resnet", "outputs": 0}
    fields = {field.name for field in dataclasses.fields(TowerMetadata)}
    tower = {"depth": 10, "width": 1, "source": "a", **labels}
    metadata = {name: value for name, value in tower.items() if name in fields}
    rows = np.random.default_rng(0).normal(0, 1, (2, 4)).astype(np.float32)
    bands = [(band, -40.0, 10.0) for band in range(FEATURES.mel_bins)]
    return {
        "wav": lambda: Target("a.wav", _wavs(), _media_reader("sound")),
        "jpeg": lambda: Target("a.jpg", _images("JPEG"), _media_reader("image")),
        "png": lambda: Target("a.png", _images("PNG"), _media_reader("image")),
        "bmp": lambda: Target("a.bmp", _images("BMP"), _media_reader("image")),
        "webp": lambda: Target("a.webp", _images("WebP"), _media_reader("image")),
        "other image": lambda: Target(
            "a.jpg", _images("GIF", "TIFF"), _media_reader("image")
        ),
        "prepared image": lambda: Target(
            "a.bmp", _images("BMP", "GIF"), _convert_image
        ),
        "prepared sound": lambda: Target("a.wav", _wavs(), _convert_sound),
        "tags": lambda: Target(
            "a.csv",
            [csv_file(("clip", "labels"), ("a.wav", "Music,Speech"))],
            _read_tags,
        ),
        "classes": lambda: Target(
            "a.csv",
            [csv_file(("filename", "category"), ("a.wav", "dog"))],
            tagged_clips.read_classes,
        ),
        "events of classes": lambda: Target(
            "a.csv",
            [csv_file(("category", "events"), ("dog", "Dog"))],
            tagged_clips.read_class_events,
        ),
        "coordinates": lambda: Target(
            "a.csv",
            [csv_file(("site", "latitude", "longitude"), ("00001", 52.5, 13.4))],
            coordinates.read_coordinates,
        ),
        "manifest.csv": lambda: Target("manifest.csv", [_manifest()], Manifest.load),
        "log.csv": lambda: Target(
            "log.csv", [csv_file(("epoch", "loss"), (1, 2.5), (2, 1.25))], read_log
        ),
        "predictions.csv": lambda: Target(
            "predictions.csv", [csv_file(side, side.values())], read_predictions
        ),
        "statistics": lambda: Target(
            "stats.csv",
            [csv_file(("mel_bin", "mean_db", "std_db"), *bands)],
            lambda path: load_stats(
                dataclasses.replace(FEATURES, log_mel_stats=str(path))
            ),
        ),
        "config.json": lambda: Target(
            workdir.CONFIG,
            [_run_config()],
            lambda path: workdir.read_config(path.parent),
        ),
        "configuration": lambda: Target(
            "a.json", [json_file(to_dict(Config()))], load_config
        ),
        "checksums.json": lambda: Target(
            checksums.CHECKSUMS, [json_file({"a.txt": ["0" * 64]})], _read_checksums
        ),
        "pretrain.json": lambda: Target(SETTINGS, [_pretraining()], _read_pretraining),
        "study.json": lambda: Target(
            "study.json",
            [json_file({"data_dir": "a", "epochs": 3})],
            study._read_settings,
        ),
        "heads.json": lambda: Target(
            scheduler.RESULT,
            [json_file({"config": {}, "manifest_sha256": "", "best_score": 0.5})],
            _read_heads,
        ),
        "metadata.json": lambda: Target("metadata.json", [_metadata()], _read_metadata),
        "recipe": lambda: Target(
            "a.flags", [b"# A recipe\n--alpha=0.1\n--epochs=20\n"], recipes.read_recipe
        ),
        "checkpoint.npz": lambda: Target(
            "checkpoint.npz",
            [npz_file(progress=np.array(json_file({"epochs": 1}).decode()))],
            read_progress,
        ),
        "tower.npz": lambda: Target(
            "tower.npz",
            [
                npz_file(
                    **{METADATA: np.array(json.dumps(metadata)), "conv1/kernel": rows}
                )
            ],
            read_weights,
        ),
        "best.weights.h5": lambda: Target(
            "a.weights.h5", [_weights()], _weights_reader()
        ),
        "soft labels": lambda: Target("a.npz", [_soft_labels()], _read_soft_labels),
        "embeddings": lambda: Target(
            "a.npz",
            [npz_file(keys=np.array(["a", "b"]), embeddings=rows)],
            lambda path: list(EmbeddingStore(path.parent).read({"a"}).values()),
        ),
        "cache": lambda: Target("a.pair", [_cache_file()], _read_cache),
        **place_targets(),
    }
