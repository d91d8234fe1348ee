"""A LiteRT model without its file: one run at a time, and files of earlier versions."""

import concurrent.futures
import pathlib
import time

import numpy as np
import pytest

from advance_tf.config import FeatureConfig
from advance_tf.inference import litert_backend
from tests.export.edge_programs import metadata


class OneAtATime:
    """An interpreter that counts how many of its runs overlap."""

    def __init__(self):
        self.active = self.largest = 0

    def get_signature_list(self):
        return {"image_only": {}, "embed": {}}

    def get_signature_runner(self, name):
        def run(image, **others):
            self.active += 1
            self.largest = max(self.largest, self.active)
            time.sleep(0.002)
            self.active -= 1
            level = image.reshape(-1)[:1].astype(np.float32)
            scenes = np.eye(13, dtype=np.float32)[image.reshape(-1)[:1]]
            return {"scene_probs": scenes, "image_embedding": level[None]}

        run.get_input_details = lambda: {}
        return run


@pytest.fixture
def model(monkeypatch):
    monkeypatch.setattr(litert_backend, "Interpreter", lambda model_path: OneAtATime())
    found = metadata(modality="image", events=[])
    monkeypatch.setattr(litert_backend, "_lite_metadata", lambda path: found)
    return litert_backend.LiteRTModel(pathlib.Path("a.tflite"))


@pytest.mark.parametrize("method", ["predict", "embed"])
def test_threads_run_an_interpreter_in_turn(model, method):
    images = [np.full((32, 32, 3), number, np.uint8) for number in range(13)]
    with concurrent.futures.ThreadPoolExecutor(8) as executor:
        found = list(executor.map(getattr(model, method), images * 4))
    assert model._interpreter.largest == 1
    if method == "embed":
        assert [int(one.image[0]) for one in found] == [*range(13)] * 4
    else:
        probs = [one.confidence for one in found]
        assert probs == [1.0] * len(found)
        names = [one.scene for one in found[:13]]
        assert names == model.metadata["scenes"]


def test_a_file_of_an_earlier_version_decodes_images_as_before(model):
    features, default = model._frontend.features, FeatureConfig()
    assert not features.jpeg_scaling
    assert features.max_image_pixels == default.max_image_pixels
