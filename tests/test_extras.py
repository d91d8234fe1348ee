"""Missing optional dependencies: the error names the extra to install."""

import importlib

import pytest

from advance_tf.extras import check_extra, requires_extra


def test_missing_package_names_its_extra():
    message = (
        r"missing_package is not installed\. Install it with "
        r"`pip install 'advance_tf\[onnx\]'`\."
    )
    with pytest.raises(ImportError, match=message):
        with requires_extra("onnx"):
            importlib.import_module("missing_package.part")
    with pytest.raises(ImportError, match=message):
        check_extra("onnx", "json", "missing_package")
    check_extra("onnx", "json")
