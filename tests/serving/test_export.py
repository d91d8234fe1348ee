"""Exports name the extra that they need and import no other."""

import subprocess
import sys

import pytest

from advance_tf.serving import export
from tests.imports import ROOT

OPTIONAL = (
    *("tensorflow_serving", "ai_edge_quantizer", "onnx", "onnxruntime", "tf2onnx"),
    "model_signing",
    *("matplotlib", "jinja2", "sklearn", "tensorboard", "torch", "safetensors"),
)


def test_load_model_and_export_need_the_core_only():
    script = (
        f"import sys; sys.modules.update(dict.fromkeys({OPTIONAL}))\n"
        "import advance_tf; advance_tf.load_model; advance_tf.serving.export_litert"
    )
    done = subprocess.run(
        [sys.executable, "-c", script],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize(
    ("write", "options", "package", "extra"),
    [
        (export.export_saved_model, {}, "tensorflow_serving.apis", "serving"),
        (
            export.export_litert,
            {"quantization": "int8"},
            "ai_edge_quantizer",
            "export",
        ),
        (export.export_onnx, {}, "tf2onnx", "onnx"),
        (export.export_onnx, {}, "onnxruntime", "onnx"),
        (export.export_onnx, {"signing_key": "a.pem"}, "model_signing", "signing"),
    ],
)
def test_a_missing_extra_is_named(
    monkeypatch, tmp_path, write, options, package, extra
):
    monkeypatch.setitem(sys.modules, package, None)
    with pytest.raises(ImportError, match=rf"pip install 'advance_tf\[{extra}\]'"):
        write(tmp_path / "run", tmp_path / "models", **options)
    assert not list(tmp_path.iterdir())


def test_an_unknown_quantization_is_refused(tmp_path):
    with pytest.raises(ValueError, match="quantization must be one of none, .* 'int4'"):
        export.export_litert(tmp_path, tmp_path / "edge", quantization="int4")


@pytest.mark.parametrize(
    ("write", "option"),
    [
        (export.export_saved_model, "quantization"),
        (export.export_litert, "top"),
        (export.export_onnx, "bad_rows"),
    ],
)
def test_an_option_of_another_format_is_refused(tmp_path, write, option):
    with pytest.raises(TypeError, match=f"unexpected keyword argument '{option}'"):
        write(tmp_path, tmp_path / "models", **{option: "status"})


def test_the_summary_has_size_and_agreement():
    values = {"weighted_f_change": -0.0125, "agreement": 0.98}
    figures = {"bytes": 2_500_000, "signatures": {"recognize": values}}
    lines = export.Export("a.tflite", {}, figures).summary().splitlines()
    assert lines == [
        "a.tflite: 2.5 MB",
        "  recognize: agreement with float32 0.9800, weighted F -1.25",
    ]
    assert export.Export("a", {"bytes": 2e-6, "tensors": 1e-6}).summary() == (
        "a\nLargest difference from the model: 2.0e-06"
    )
