"""Whole checkpoints of the authors become whole recognizers."""

import numpy as np
import pytest
import torch

from advance_tf import labels
from advance_tf.config import Config, FeatureConfig, TransferConfig
from advance_tf.models.fusion import convert_fusion, is_fusion
from advance_tf.training.converted import build_converted
from tests.models.test_conversion import AUDIO, IMAGE, nchw, sample_of
from tests.models.torch_resnet import made_resnet


class Fusion(torch.nn.Module):
    """Two towers, a scene head, and an event head on the sound or on both."""

    def __init__(self, events_on):
        super().__init__()
        self.image_net = made_resnet(18, 8, 3, 30, 2, nchw(sample_of(IMAGE)))
        self.audio_net = made_resnet(18, 4, 1, 527, 1, nchw(sample_of(AUDIO)))
        self.fusion_fc = torch.nn.Linear(96, 13)
        self.events_on = events_on
        if events_on:
            size = 96 if events_on == "joined" else 32
            self.KD_fc = torch.nn.Linear(size, 527)

    def forward(self, image, log_mel):
        heard = self.audio_net.embed(log_mel)
        joined = torch.cat([self.image_net.embed(image), heard], 1)
        if not self.events_on:
            return self.fusion_fc(joined), None
        events = self.KD_fc(joined if self.events_on == "joined" else heard)
        return self.fusion_fc(joined), events


def arrays_of(model):
    found = {k: v.numpy() for k, v in model.state_dict().items()}
    return {k: a for k, a in found.items() if "num_batches" not in k}


@pytest.mark.parametrize(
    ("events_on", "transfer", "output"),
    [
        ("joined", "kl_audiovisual", "audiovisual_event_logits"),
        ("sound", "kl_audio", "audio_event_logits"),
        ("", "none", None),
    ],
)
def test_logits_equal_those_of_pytorch(events_on, transfer, output):
    model = Fusion(events_on).eval()
    arrays = arrays_of(model)
    assert is_fusion(arrays)
    converted = convert_fusion(arrays, "fusion.pt")
    assert converted.transfer == transfer
    config = Config(
        model=converted.model,
        features=FeatureConfig(),
        transfer=TransferConfig(transfer=transfer),
    )
    recognizer = build_converted(converted, config)
    image, log_mel = sample_of(IMAGE), sample_of(AUDIO)
    with torch.no_grad():
        scenes, events = model(nchw(image), nchw(log_mel))
    found = recognizer({"image": image, "log_mel": log_mel[..., 0]})
    # Their outputs follow their own order of the scenes, ours the alphabet.
    theirs = dict(zip(labels.scenes_as_published(), scenes.numpy().T, strict=True))
    expected = np.stack([theirs[name] for name in labels.scenes()], axis=1)
    np.testing.assert_allclose(found["scene_logits"], expected, atol=1e-4)
    assert set(found) == {"scene_logits"} | ({output} if output else set())
    if output:
        np.testing.assert_allclose(found[output], events.numpy(), atol=1e-4)


def test_scenes_in_our_order_stay():
    arrays = arrays_of(Fusion(""))
    converted = convert_fusion(arrays, "fusion.pt", scene_order="name")
    kernel, bias = converted.heads["scene_head"]
    np.testing.assert_array_equal(kernel, arrays["fusion_fc.weight"].T)
    np.testing.assert_array_equal(bias, arrays["fusion_fc.bias"])


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda a: a.pop("fusion_fc.bias"), "missing: fusion_fc.bias"),
        (lambda a: a.update({"neck.weight": np.ones(2)}), "too many: neck.weight"),
        (
            lambda a: a.update({"fusion_fc.weight": np.ones((13, 95), "f")}),
            r"fusion_fc.weight is \(13, 95\), wanted \(13, 96\)",
        ),
        (
            lambda a: a.pop("audio_net.layer1.0.bn1.bias"),
            r"\(audio_net\.\*\) must .* missing: layer1.0.bn1.bias",
        ),
        (
            lambda a: a.update({"image_net.conv1.weight": np.ones((8, 1, 7, 7), "f")}),
            "must be an image tower",
        ),
        (
            lambda a: a.update({"KD_fc.bias": np.ones(527, "f")}),
            "missing: KD_fc.weight",
        ),
    ],
)
def test_a_key_that_does_not_fit_is_named(change, message):
    arrays = arrays_of(Fusion(""))
    change(arrays)
    with pytest.raises(ValueError, match=message):
        convert_fusion(arrays, "fusion.pt")


def test_a_checkpoint_without_a_tower_is_refused():
    arrays = arrays_of(Fusion(""))
    arrays = {k: a for k, a in arrays.items() if not k.startswith("audio_net.")}
    with pytest.raises(ValueError, match=r"\(audio_net\.\*\) must hold conv1.weight"):
        convert_fusion(arrays, "fusion.pt")
