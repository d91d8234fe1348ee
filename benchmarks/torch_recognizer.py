"""The recognizer in PyTorch, built like torchvision's ResNet, for comparison."""

import torch
from torch import nn

# Depth → number of blocks of each stage, and whether they are bottleneck blocks.
DEPTHS = {
    18: ((2, 2, 2, 2), False),
    50: ((3, 4, 6, 3), True),
    101: ((3, 4, 23, 3), True),
}


class Block(nn.Module):
    """A residual block: two or three convolutions and a shortcut.

    Args:
        inputs: number of input channels.
        width: channels of the 3×3 convolutions.
        stride: of the first 3×3 convolution.
        bottleneck: whether 1×1 convolutions surround a single 3×3 convolution; the
            output then has 4 · width channels.
    """

    def __init__(self, inputs, width, stride, bottleneck=True):
        super().__init__()
        channels = 4 * width if bottleneck else width
        if bottleneck:
            steps = [(width, 1, 1), (width, 3, stride), (channels, 1, 1)]
        else:
            steps = [(width, 3, stride), (width, 3, 1)]
        layers, source = [], inputs
        for target, kernel, step in steps:
            layers += [
                nn.Conv2d(source, target, kernel, step, kernel // 2, bias=False),
                nn.BatchNorm2d(target),
                nn.ReLU(inplace=True),
            ]
            source = target
        # The last ReLU follows the sum.
        self.residual = nn.Sequential(*layers[:-1])
        self.shortcut = nn.Identity()
        if stride > 1 or inputs != channels:
            self.shortcut = nn.Sequential(
                nn.Conv2d(inputs, channels, 1, stride, bias=False),
                nn.BatchNorm2d(channels),
            )

    def forward(self, x):
        """Returns residual plus shortcut."""
        return torch.relu(self.residual(x) + self.shortcut(x))


def torch_tower(depth, channels, first_stride, width=64):
    """Builds a ResNet v1.

    Args:
        depth: a key of `DEPTHS`.
        channels: number of input channels.
        first_stride: of the first convolution.
        width: number of channels of the first stage.

    Returns:
        A module [B, channels, H, W] → [B, embedding].
    """
    blocks, bottleneck = DEPTHS[depth]
    layers = [
        nn.Conv2d(channels, width, 7, first_stride, 3, bias=False),
        nn.BatchNorm2d(width),
        nn.ReLU(inplace=True),
        nn.MaxPool2d(3, 2, 1),
    ]
    inputs = width
    for stage, count in enumerate(blocks):
        for number in range(count):
            stride = 2 if stage and not number else 1
            layers.append(Block(inputs, width * 2**stage, stride, bottleneck))
            inputs = (4 if bottleneck else 1) * width * 2**stage
    return nn.Sequential(*layers, nn.AdaptiveAvgPool2d(1), nn.Flatten())


class Pair(nn.Module):
    """A tower on an image [B, 3, H, W], one on a log-mel [B, 1, T, F], a scene head.

    Args:
        image_depth: depth of the image tower.
        audio_depth: depth of the audio tower.
        width: number of channels of the first stage of both.
    """

    def __init__(self, image_depth=101, audio_depth=50, width=64):
        super().__init__()
        self.image_tower = torch_tower(image_depth, 3, 2, width)
        self.audio_tower = torch_tower(audio_depth, 1, 1, width)
        size = sum(
            8 * width * (4 if DEPTHS[depth][1] else 1)
            for depth in (image_depth, audio_depth)
        )
        self.scene_head = nn.Linear(size, 13)

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
