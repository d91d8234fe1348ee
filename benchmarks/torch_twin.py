"""The recognizer in PyTorch, built like torchvision's ResNet, for comparison."""

import torch
from torch import nn


class Block(nn.Module):
    """A bottleneck block: three convolutions and a shortcut.

    Args:
        inputs: number of input channels.
        width: channels of the 3×3 convolution; a quarter of the output channels.
        stride: of the 3×3 convolution.
    """

    def __init__(self, inputs, width, stride):
        super().__init__()
        layers = []
        for source, target, kernel, step in (
            (inputs, width, 1, 1),
            (width, width, 3, stride),
        ):
            layers += [
                nn.Conv2d(source, target, kernel, step, kernel // 2, bias=False),
                nn.BatchNorm2d(target),
                nn.ReLU(inplace=True),
            ]
        layers += [
            nn.Conv2d(width, 4 * width, 1, bias=False),
            nn.BatchNorm2d(4 * width),
        ]
        self.residual = nn.Sequential(*layers)
        self.shortcut = nn.Identity()
        if stride > 1 or inputs != 4 * width:
            self.shortcut = nn.Sequential(
                nn.Conv2d(inputs, 4 * width, 1, stride, bias=False),
                nn.BatchNorm2d(4 * width),
            )

    def forward(self, x):
        """Returns residual plus shortcut."""
        return torch.relu(self.residual(x) + self.shortcut(x))


def torch_tower(blocks, channels, first_stride):
    """Builds a bottleneck ResNet v1 of width 64.

    Args:
        blocks: number of blocks of each stage.
        channels: number of input channels.
        first_stride: of the first convolution.

    Returns:
        A module [B, channels, H, W] → [B, 2048].
    """
    layers = [
        nn.Conv2d(channels, 64, 7, first_stride, 3, bias=False),
        nn.BatchNorm2d(64),
        nn.ReLU(inplace=True),
        nn.MaxPool2d(3, 2, 1),
    ]
    inputs = 64
    for stage, count in enumerate(blocks):
        for number in range(count):
            stride = 2 if stage and not number else 1
            layers.append(Block(inputs, 64 * 2**stage, stride))
            inputs = 256 * 2**stage
    return nn.Sequential(*layers, nn.AdaptiveAvgPool2d(1), nn.Flatten())


class Pair(nn.Module):
    """ResNet-101 on an image [B, 3, H, W], ResNet-50 on a log-mel [B, 1, T, F]."""

    def __init__(self):
        super().__init__()
        self.image_tower = torch_tower((3, 4, 23, 3), 3, 2)
        self.audio_tower = torch_tower((3, 4, 6, 3), 1, 1)
        self.scene_head = nn.Linear(4096, 13)

    def forward(self, image, log_mel):
        """Returns scene logits [B, 13]."""
        embeddings = [self.image_tower(image), self.audio_tower(log_mel)]
        return self.scene_head(torch.cat(embeddings, 1))


def _named_modules(tower):
    """Yields the Keras names of a convolution and its batch norm, and both modules."""
    yield ("conv1", "bn1"), tower[:2]
    stage = number = 0
    for block in tower:
        if not isinstance(block, Block):
            continue
        # A shortcut with a convolution is in the first block of a stage.
        is_first = isinstance(block.shortcut, nn.Sequential)
        stage, number = (stage + 1, 0) if is_first else (stage, number + 1)
        prefix = f"layer{stage}_{number}"
        for step in range(3):
            names = (f"{prefix}_conv{step + 1}", f"{prefix}_bn{step + 1}")
            yield names, block.residual[3 * step : 3 * step + 2]
        if is_first:
            yield tuple(f"{prefix}_downsample_{i}" for i in (0, 1)), block.shortcut


def copy_weights(recognizer, pair):
    """Copies the weights of a Keras recognizer to the PyTorch model.

    Args:
        recognizer: of `build_recognizer` with default sizes.
        pair: the PyTorch model.
    """
    copies = [(recognizer.get_layer("scene_head").kernel, pair.scene_head.weight)]
    copies.append((recognizer.get_layer("scene_head").bias, pair.scene_head.bias))
    for tower in ("image_tower", "audio_tower"):
        layers = recognizer.get_layer(tower)
        for names, (convolution, norm) in _named_modules(getattr(pair, tower)):
            kernel, batch_norm = (layers.get_layer(name) for name in names)
            copies += [
                (kernel.kernel, convolution.weight),
                (batch_norm.gamma, norm.weight),
                (batch_norm.beta, norm.bias),
                (batch_norm.moving_mean, norm.running_mean),
                (batch_norm.moving_variance, norm.running_var),
            ]
    with torch.no_grad():
        for source, target in copies:
            array = torch.from_numpy(source.numpy())
            order = {4: (3, 2, 0, 1), 2: (1, 0), 1: (0,)}[array.dim()]
            target.copy_(array.permute(order))
