"""What a user imports: fast, lazy, complete, and three lines long."""

import json
import math
import subprocess
import sys

import pytest

import advance_tf
from advance_tf.data import synthetic
from tests.imports import ROOT, room_of, stub_names, stubs

MAX_IMPORT_SECONDS = 0.3
HEAVY = {"tensorflow", "keras", "numpy", "scipy", "absl", "matplotlib", "soundfile"}
ROOMS = {
    *("data", "experiments", "features", "geo", "inference", "losses", "metrics"),
    *("models", "reporting", "runs", "serving", "teacher", "training"),
}
# Package → names that the documentation uses.
DOCUMENTED = {
    "advance_tf": {
        *("Config", "DataConfig", "FeatureConfig", "ModelConfig", "TrainingConfig"),
        *("TransferConfig", "Embedding", "Model", "Prediction", "Run", "config"),
        *("evaluate", "labels", "load_model", "load_run", "train"),
        *ROOMS,
    },
    "advance_tf.data": {"load_advance", "download_advance", "synthetic"},
    "advance_tf.data.synthetic": {"write_pairs", "write_tagged_clips"},
    "advance_tf.features": {"Frontend", "decode_wav", "log_mel_db", "resample"},
    "advance_tf.losses": {
        *("CompoundEventKL", "EventKL", "EventSquaredDistance", "SceneLoss"),
        *("RelevanceAlignment", "build_objective"),
    },
    "advance_tf.metrics": {"ConfusionScores", "Evaluation", "calibrate", "compare"},
    "advance_tf.models": {"build_recognizer", "build_resnet", "load_pretrained"},
    "advance_tf.reporting": {"explain", "write_html_report"},
    "advance_tf.serving": {"export_litert", "export_onnx", "export_saved_model"},
    "advance_tf.teacher": {"EventKnowledge", "compute_knowledge", "load_teacher"},
}


def in_a_new_process(code):
    """What the code prints, as JSON, in an interpreter of its own."""
    done = subprocess.run(
        [sys.executable, "-c", f"import json, sys, time\n{code}"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
    )
    return json.loads(done.stdout)


def test_the_import_takes_less_than_a_third_of_a_second():
    code = (
        "begin = time.perf_counter()\n"
        "import advance_tf\n"
        "print(json.dumps(time.perf_counter() - begin))"
    )
    # Other work on the machine makes a single measurement longer, never shorter.
    assert min(in_a_new_process(code) for _ in range(5)) < MAX_IMPORT_SECONDS


def test_the_import_loads_no_heavy_package():
    code = "import advance_tf; dir(advance_tf); print(json.dumps(sorted(sys.modules)))"
    loaded = {name.split(".")[0] for name in in_a_new_process(code)}
    assert "advance_tf" in loaded
    assert not HEAVY & loaded


def test_a_configuration_needs_no_tensorflow():
    code = "import advance_tf; advance_tf.Config(); print(json.dumps([*sys.modules]))"
    loaded = {name.split(".")[0] for name in in_a_new_process(code)}
    assert not {"tensorflow", "keras"} & loaded


@pytest.mark.parametrize("package", DOCUMENTED)
def test_the_documented_names_are_public(package):
    assert DOCUMENTED[package] <= set(stub_names(stubs()[package]))


def test_dir_lists_the_public_names():
    assert set(dir(advance_tf)) == DOCUMENTED["advance_tf"]
    assert {room_of(name) for name in stubs()} == ROOMS | {"advance_tf"}


def test_an_unknown_name_is_an_attribute_error():
    with pytest.raises(AttributeError, match="load_modle"):
        _ = advance_tf.load_modle


def test_from_data_to_a_prediction(tmp_path):
    synthetic.write_pairs(tmp_path / "pairs", sites_per_scene=3)
    config = advance_tf.Config(
        features=advance_tf.FeatureConfig(image_size=32, clip_seconds=1.0),
        model=advance_tf.ModelConfig(
            image_depth=10, audio_depth=10, image_width=4, audio_width=4
        ),
        transfer=advance_tf.TransferConfig(transfer="none"),
        training=advance_tf.TrainingConfig(epochs=1, batch_size=13),
    )

    dataset = advance_tf.data.load_advance(
        tmp_path / "pairs", train_fraction=0.34, validation_fraction=0.34
    )
    run = advance_tf.train(config, dataset, tmp_path / "run")
    evaluation = advance_tf.evaluate(run, "test")
    model = advance_tf.load_model(tmp_path / "run")
    pair = run.pairs_of("test")[0]
    answer = model.predict(
        image=tmp_path / "pairs" / pair.image, sound=tmp_path / "pairs" / pair.sound
    )

    assert (len(dataset.pairs), len(dataset.sites)) == (78, 39)
    assert set(dataset.splits) == {"training", "validation", "test"}
    assert 0 <= evaluation.weighted_f <= 1
    assert answer.status == "ok"
    assert answer.scene in advance_tf.labels.scenes()
    assert len(answer.scene_probs) == 13
    assert math.isclose(sum(answer.scene_probs.values()), 1, abs_tol=1e-5)
    # The evaluation and the model predict the same.
    row = evaluation.stems.index(pair.stem)
    for scene, probability in zip(
        evaluation.scenes, evaluation.scene_probs[row], strict=True
    ):
        assert math.isclose(answer.scene_probs[scene], probability, abs_tol=1e-4)
    assert json.loads(json.dumps(answer.to_dict()))["status"] == "ok"
