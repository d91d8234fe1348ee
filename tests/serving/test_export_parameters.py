"""Parameters of the exporters are checked before a run is loaded."""

import absl.flags
import pytest

from advance_tf.cli import export as command
from advance_tf.serving import export

WRITE = (export.export_saved_model, export.export_litert, export.export_onnx)


@pytest.mark.parametrize("write", WRITE)
@pytest.mark.parametrize("version", [0, -3])
def test_a_version_is_at_least_1(tmp_path, write, version):
    with pytest.raises(
        ValueError, match=f"version must be at least 1; rec.* {version}"
    ):
        write(tmp_path / "run", tmp_path / "models", version=version)
    assert not list(tmp_path.iterdir())


def test_calibration_pairs_are_at_least_1(tmp_path):
    with pytest.raises(ValueError, match="calibration_pairs must be at least 1"):
        export.export_litert(tmp_path, tmp_path / "edge", calibration_pairs=0)


@pytest.mark.parametrize("share", [-0.1, 1.01, 99, float("nan")])
def test_the_agreement_is_a_share(tmp_path, share):
    with pytest.raises(ValueError, match=f"min_agreement must be 0 to 1.* {share}"):
        export.export_litert(tmp_path, tmp_path / "edge", min_agreement=share)


@pytest.mark.parametrize("share", ["-0.1", "1.01"])
def test_the_flag_of_the_agreement_is_a_share(share):
    values = absl.flags.FlagValues()
    command.define(values)
    with pytest.raises(absl.flags.IllegalFlagValueError, match="min_agreement"):
        values(["advance", f"--min_agreement={share}"])
    values(["advance", "--min_agreement=0.5"])
    assert values.min_agreement == 0.5
