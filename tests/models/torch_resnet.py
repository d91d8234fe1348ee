"""A PyTorch ResNet v1 of our own with the key names of the released checkpoints."""

import torch
from torch import nn

from advance_tf.models.resnet import BLOCKS


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


def made_resnet(depth, width, channels, outputs, first_stride, sample):
    """A ResNet in inference mode with statistics that are those of no layer's start.

    Scales and shifts are random, and the statistics come from `sample` and are
    then disturbed, so that neither is trivial and the activations stay tame.
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
