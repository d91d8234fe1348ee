"""export/signature.json equals what the exporter writes; saved_model_cli reads it."""

import json
import pathlib
import subprocess
import sys

import numpy as np
import pytest
import tensorflow as tf

from advance_tf.models.resnet import embedding_size
from tests.imports import ROOT

SIGNATURE = ROOT / "export" / "signature.json"


def described(tensors) -> dict:
    """Name → type and shape of tensors of a signature."""
    return {
        name: {"dtype": spec.dtype.name, "shape": spec.shape.as_list()}
        for name, spec in sorted(tensors.items())
    }


def test_signature_json_is_that_of_an_export(exported, exported_run):
    signatures = tf.saved_model.load(str(exported / "1")).signatures
    found = {
        name: {
            "inputs": described(function.structured_input_signature[1]),
            "outputs": described(function.structured_outputs),
        }
        for name, function in signatures.items()
    }
    towers = {"image": "image_tower", "sound": "audio_tower"}
    for kind, tower in towers.items():
        size = exported_run.recognizer.get_layer(tower).output_shape[-1]
        shape = found["embed"]["outputs"][f"{kind}_embedding"]["shape"]
        assert shape == [None, size]
        # The file has the size of the default towers.
        shape[-1] = embedding_size(101)
    assert json.loads(SIGNATURE.read_text(encoding="utf-8")) == found, json.dumps(found)


def test_saved_model_cli_runs_the_features(exported, tmp_path):
    rng = np.random.default_rng(0)
    image = rng.integers(0, 256, (2, 40, 60, 3), dtype=np.uint8)
    waveform = rng.normal(0, 0.1, (2, 20_000)).astype(np.float32)
    np.save(tmp_path / "image.npy", image)
    np.save(tmp_path / "waveform.npy", waveform)
    command = pathlib.Path(sys.executable).with_name("saved_model_cli")
    given = f"image={tmp_path / 'image.npy'};waveform={tmp_path / 'waveform.npy'}"
    subprocess.run(
        [
            *(command, "run", "--dir", exported / "1", "--tag_set", "serve"),
            *("--signature_def", "features", "--inputs", given),
            *("--outdir", tmp_path),
        ],
        check=True,
        capture_output=True,
        timeout=300,
    )
    signature = tf.saved_model.load(str(exported / "1")).signatures["features"]
    expected = signature(image=tf.constant(image), waveform=tf.constant(waveform))
    found = np.load(tmp_path / "scene_probs.npy")
    np.testing.assert_allclose(found, expected["scene_probs"], atol=1e-6)
    assert found.sum(1) == pytest.approx([1, 1], abs=1e-5)
