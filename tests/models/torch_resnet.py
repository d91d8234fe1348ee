"""A PyTorch ResNet v1 with the key names of the released checkpoints."""

import numpy as np
import torch
from torch import nn

from advance_tf.models import conversion
from advance_tf.models.resnet import BLOCKS, build_resnet
from advance_tf.models.weights import assign_arrays, layer_arrays, without_head

IMAGE = {"channels": 3, "first_stride": 2, "shape": (256, 256, 3)}
AUDIO = {"channels": 1, "first_stride": 1, "shape": (400, 64, 1)}


def conv(inputs, outputs, kernel, stride=1):
    return nn.Conv2d(inputs, outputs, kernel, stride, kernel // 2, bias=False)


class Block(nn.Module):
    """A basic or a bottleneck block, the stride in a 3×3 convolution."""

    def __init__(self, inputs, width, stride, bottleneck):
        super().__init__()
        outputs = 4 * width if bottleneck else width
        steps = [(inputs, width, 3, stride), (width, width, 3, 1)]
        if bottleneck:
            steps = [
                (inputs, width, 1, 1),
                (width, width, 3, stride),
                (width, outputs, 1, 1),
            ]
        self.steps = len(steps)
        for number, step in enumerate(steps, start=1):
            self.add_module(f"conv{number}", conv(step[0], step[1], step[2], step[3]))
            self.add_module(f"bn{number}", nn.BatchNorm2d(step[1]))
        self.downsample = None
        if stride > 1 or inputs != outputs:
            self.downsample = nn.Sequential(
                conv(inputs, outputs, 1, stride), nn.BatchNorm2d(outputs)
            )

    def forward(self, x):
        """Residual plus shortcut."""
        residual = x
        for number in range(1, self.steps + 1):
            step = getattr(self, f"conv{number}")(residual)
            residual = getattr(self, f"bn{number}")(step)
            if number < self.steps:
                residual = torch.relu(residual)
        shortcut = x if self.downsample is None else self.downsample(x)
        return torch.relu(residual + shortcut)


class ResNet(nn.Module):
    """From a map [N, C, H, W] to an embedding and logits."""

    def __init__(self, depth, width, channels, outputs, first_stride):
        super().__init__()
        bottleneck = depth >= 50
        self.conv1 = nn.Conv2d(channels, width, 7, first_stride, 3, bias=False)
        self.bn1 = nn.BatchNorm2d(width)
        size = width
        for stage, count in enumerate(BLOCKS[depth]):
            blocks = []
            for number in range(count):
                stride = 2 if stage and not number else 1
                blocks.append(Block(size, width * 2**stage, stride, bottleneck))
                size = width * 2**stage * (4 if bottleneck else 1)
            self.add_module(f"layer{stage + 1}", nn.Sequential(*blocks))
        self.fc = nn.Linear(size, outputs)

    def embed(self, x):
        """The pooled features [N, D]."""
        x = torch.relu(self.bn1(self.conv1(x)))
        x = nn.functional.max_pool2d(x, 3, 2, 1)
        for stage in (self.layer1, self.layer2, self.layer3, self.layer4):
            x = stage(x)
        return x.mean((2, 3))

    def forward(self, x):
        """Logits [N, outputs]."""
        return self.fc(self.embed(x))


def create_resnet(depth, width, channels, outputs, first_stride, sample):
    """A ResNet in inference mode with batch-normalization statistics unlike 0 and 1.

    Scales and shifts are random. The statistics are those of `sample` with random
    factors, so that the activations have a moderate size.
    """
    torch.manual_seed(0)
    model = ResNet(depth, width, channels, outputs, first_stride)
    norms = [m for m in model.modules() if isinstance(m, nn.BatchNorm2d)]
    with torch.no_grad():
        for norm in norms:
            norm.weight.uniform_(0.5, 1.5)
            norm.bias.uniform_(-0.5, 0.5)
            norm.momentum = 1.0
        model.train()(sample)
        for norm in norms:
            norm.running_mean.mul_(
                torch.empty_like(norm.running_mean).uniform_(0.9, 1.1)
            )
            norm.running_var.mul_(torch.empty_like(norm.running_var).uniform_(0.8, 1.2))
            norm.momentum = 0.1
    return model.eval()


def random_inputs(kind, batch=2):
    rng = np.random.default_rng(0)
    if kind is IMAGE:
        levels = rng.integers(0, 256, (batch, 16, 16, 3))
        # Blocks of equal pixels: neighbouring pixels of an image are similar.
        return levels.repeat(16, 1).repeat(16, 2).astype(np.float32)
    return rng.normal(size=(batch, *kind["shape"])).astype(np.float32)


def to_nchw(array):
    return torch.from_numpy(np.ascontiguousarray(array.transpose(0, 3, 1, 2)))


class Fusion(nn.Module):
    """Two towers, a scene head, and an event head on the audio or joint embedding."""

    def __init__(self, events_on):
        super().__init__()
        self.image_net = create_resnet(18, 8, 3, 30, 2, to_nchw(random_inputs(IMAGE)))
        self.audio_net = create_resnet(18, 4, 1, 527, 1, to_nchw(random_inputs(AUDIO)))
        self.fusion_fc = nn.Linear(96, 13)
        self.events_on = events_on
        if events_on:
            size = 96 if events_on == "joint" else 32
            self.KD_fc = nn.Linear(size, 527)

    def forward(self, image, log_mel):
        audio = self.audio_net.embed(log_mel)
        joint = torch.cat([self.image_net.embed(image), audio], 1)
        if not self.events_on:
            return self.fusion_fc(joint), None
        events = self.KD_fc(joint if self.events_on == "joint" else audio)
        return self.fusion_fc(joint), events


def to_arrays(model):
    """PyTorch's key → array, without the counters of batches."""
    found = {k: v.numpy() for k, v in model.state_dict().items()}
    return {k: a for k, a in found.items() if "num_batches" not in k}


def convert_pair(kind, depth, width, outputs=7):
    """A PyTorch ResNet, its converted arrays and metadata, the tower, and inputs."""
    x = random_inputs(kind)
    model = create_resnet(
        depth, width, kind["channels"], outputs, kind["first_stride"], to_nchw(x)
    )
    converted, metadata = conversion.convert_tower(to_arrays(model), "model.pt")
    tower = build_resnet(depth, width, kind["shape"], kind["first_stride"])
    body, _ = without_head(converted, metadata)
    assign_arrays("model.pt", layer_arrays(tower), body)
    return model, converted, metadata, tower, x
