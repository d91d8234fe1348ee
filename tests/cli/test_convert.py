"""`advance convert`, and other commands with its files."""

import json

import numpy as np
import pytest
import torch

from advance_tf import labels
from advance_tf.checksums import file_sha256
from advance_tf.features.image import decode_image
from advance_tf.models.backbones.contract import WeightsSource
from advance_tf.models.weights import read_weights
from advance_tf.runs.workdir import load_run
from advance_tf.serving.model_card import provenance_of
from tests.commands import run_command
from tests.models.torch_resnet import Fusion, create_resnet, to_arrays, to_nchw


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory):
    """An audio ResNet, saved from DataParallel like the authors' checkpoints."""
    model = create_resnet(10, 2, 1, 527, 1, torch.randn(2, 1, 40, 64))
    weights = {f"module.{key}": value for key, value in model.state_dict().items()}
    path = tmp_path_factory.mktemp("checkpoint") / "audio.pt"
    torch.save({"model": weights}, path)
    return path, model


def test_a_converted_tower_is_a_teacher_and_initializes_a_run(
    checkpoint, tmp_path, fabricated_advance
):
    path, model = checkpoint
    tower = tmp_path / "audio.npz"
    status, printed, _ = run_command(
        "convert", f"--checkpoint={path}", f"--output={tower}"
    )
    assert status == 0
    assert "audio tower, ResNet-10, width 2, 527 outputs" in printed
    arrays, metadata = read_weights(tower)
    assert (metadata.tower, metadata.outputs) == ("audio", 527)
    np.testing.assert_array_equal(
        arrays["head/kernel"], model.fc.weight.detach().numpy().T
    )
    # The event knowledge is computed from the weights without further flags.
    status, _, error = run_command(
        *("fit", f"--data_dir={fabricated_advance}", f"--workdir={tmp_path / 'run'}"),
        *("--image_depth=10", "--audio_depth=10", "--image_width=2"),
        *("--audio_width=2", "--image_size=32", "--epochs=1", "--batch_size=16"),
        *("--transfer=event", f"--audio_weights={tower}"),
    )
    assert status == 0, error
    assert (tmp_path / "run" / "event_knowledge" / "posteriors.npz").is_file()
    assert (tmp_path / "run" / "best.weights.h5").is_file()


def test_a_tower_without_head_is_not_a_teacher(
    checkpoint, tmp_path, fabricated_advance
):
    path, _ = checkpoint
    tower = tmp_path / "audio.npz"
    flags = f"--checkpoint={path}", f"--output={tower}", "--nohead"
    assert run_command("convert", *flags)[0] == 0
    arrays, metadata = read_weights(tower)
    assert metadata.outputs == 0
    assert not [name for name in arrays if name.startswith("head/")]
    status, _, error = run_command(
        *("fit", f"--data_dir={fabricated_advance}", f"--workdir={tmp_path / 'run'}"),
        *("--audio_depth=10", "--audio_width=2", f"--audio_weights={tower}"),
    )
    assert status == 1
    assert "event knowledge" in error


def test_a_recognizer_is_written_as_a_run(tmp_path, fabricated_advance):
    model = Fusion("joint").eval()
    path, workdir = tmp_path / "fusion.pt", tmp_path / "run"
    torch.save(model.state_dict(), path)
    status, printed, error = run_command(
        *("convert", f"--checkpoint={path}", f"--workdir={workdir}"),
        f"--data_dir={fabricated_advance}",
    )
    assert status == 0, error
    assert str(workdir) in printed
    run = load_run(workdir)
    assert run.config.transfer.transfer == "kl_audiovisual"
    assert len(run.pairs_of("all")) == 130
    source = WeightsSource(
        "resnet", str(path), "converted PyTorch checkpoint", file_sha256(path)
    )
    assert run.initial_weights == {"image": source, "audio": source}
    assert "random" not in str(provenance_of(run).data)
    kernel = to_arrays(model)["KD_fc.weight"].T
    found = run.recognizer.get_layer("audiovisual_event_head").kernel
    np.testing.assert_array_equal(found, kernel)
    assert (
        run_command("convert", f"--checkpoint={path}", f"--workdir={workdir}")[0] == 1
    )
    for name, value in (
        ("head", "false"),
        ("inputs", "levels"),
        ("single_input", "image"),
    ):
        status, _, error = run_command(
            *("convert", f"--checkpoint={path}", f"--workdir={tmp_path / 'other'}"),
            f"--{name}={value}",
        )
        assert status == 1
        assert f"--{name} is for a " in error
    assert not (tmp_path / "other").exists()
    # It has no epoch to resume after: training would replace the weights.
    status, _, error = run_command("fit", f"--workdir={workdir}", "--epochs=1")
    assert status == 1
    assert f"--workdir must not be a converted run to train; {workdir} holds" in error
    assert "--image_weights and --audio_weights" in error
    assert load_run(workdir).weights_sha256 == run.weights_sha256


def test_a_recognizer_without_data_predicts_but_is_not_evaluated(
    tmp_path, fabricated_advance
):
    model = Fusion("joint").eval()
    path, workdir = tmp_path / "fusion.pt", tmp_path / "run"
    torch.save(model.state_dict(), path)
    run_command("convert", f"--checkpoint={path}", f"--workdir={workdir}")
    image = next(fabricated_advance.glob("vision/*/*.jpg"))
    status, printed, error = run_command(
        *("predict", f"--workdir={workdir}", f"--image={image}", "--json"),
        "--top=13",
    )
    assert status == 0, error
    answer = json.loads(printed)
    assert len(answer["events"]) == 13
    found = {scene["name"]: scene["probability"] for scene in answer["scenes"]}
    pixels = decode_image(image.read_bytes(), 256).numpy().astype(np.float32)
    with torch.no_grad():
        # A sound that is not given is zeros.
        logits, _ = model(to_nchw(pixels[None]), torch.zeros(1, 1, 400, 64))
    # The outputs of the authors' model are in their order of the scenes.
    probs = torch.softmax(logits[0], 0).tolist()
    expected = dict(zip(labels.scenes_as_published(), probs, strict=True))
    assert max(probs) - min(probs) > 0.02
    assert found == pytest.approx(expected, abs=1e-4)
    status, _, error = run_command("evaluate", f"--workdir={workdir}")
    assert status == 1
    assert "converted without data" in error


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        ([], "--checkpoint must name a file"),
        (["--checkpoint=missing.pt", "--output=a.npz"], "missing.pt must exist"),
        (["--checkpoint={path}"], "give --output"),
        (["--checkpoint={path}", "--output=a.h5"], "must be written to .npz"),
        (
            ["--checkpoint={path}", "--output=a.npz", "--inputs=imagenet"],
            "three channels",
        ),
        *(
            (
                ["--checkpoint={path}", "--output=a.npz", f"--{name}={value}"],
                f"--{name} is for a recognizer; ",
            )
            for name, value in (
                *(("scene_order", "name"), ("single_input", "image")),
                ("data_dir", "ADVANCE"),
            )
        ),
    ],
)
def test_errors_are_one_line(checkpoint, tmp_path, flags, message):
    given = [flag.format(path=checkpoint[0]) for flag in flags]
    status, _, error = run_command("convert", *given)
    assert status == 1
    assert message in error
