"""Seconds per pair of a training step of the full model, against PyTorch.

    python -m benchmarks.train_step --steps=3

Forward, backward and Adam of ResNet-101 on [256, 256, 3] and ResNet-50 on
[400, 64] with a joint scene head, batch 4, float32 on the CPU. The peer is the
same model in PyTorch's eager mode (torch is an optional dependency). Each way
runs in a process of its own. The processes take turns, and the best steps are
compared.
"""

import argparse
import json
import os
import subprocess
import sys
import time

BATCH = 4
WAYS = {
    "PyTorch": {},
    "Keras graph": {},
    "Keras graph, oneDNN off": {"TF_ENABLE_ONEDNN_OPTS": "0"},
    "Keras XLA": {},
}


def torch_steps(steps):
    """Yields the seconds of each step in PyTorch."""
    import torch

    from benchmarks.torch_twin import Pair

    pair = Pair()
    optimizer = torch.optim.Adam(pair.parameters(), 1e-5, weight_decay=1e-4)
    image = torch.rand(BATCH, 3, 256, 256) * 255
    log_mel = torch.randn(BATCH, 1, 400, 64)
    scene = torch.randint(0, 13, (BATCH,))
    for _ in range(steps + 1):
        started = time.perf_counter()
        optimizer.zero_grad()
        torch.nn.functional.cross_entropy(pair(image, log_mel), scene).backward()
        optimizer.step()
        yield time.perf_counter() - started


def keras_steps(steps, jit_compile):
    """Yields the seconds of each step of `Trainer`."""
    import numpy as np

    from advance_tf.config import Config, FeatureConfig, ModelConfig, TransferConfig
    from advance_tf.losses.objective import build_objective
    from advance_tf.models.recognizer import build_recognizer
    from advance_tf.training.optimizer import build_optimizer
    from advance_tf.training.trainer import Trainer

    model = build_recognizer(ModelConfig(), FeatureConfig(), "none")
    trainer = Trainer(model, build_objective(TransferConfig(transfer="none")))
    optimizer = build_optimizer(Config().training)
    trainer.compile(optimizer=optimizer, jit_compile=jit_compile)
    rng = np.random.default_rng(0)
    inputs = {
        "image": rng.uniform(0, 255, (BATCH, 256, 256, 3)).astype(np.float32),
        "log_mel": rng.normal(size=(BATCH, 400, 64)).astype(np.float32),
    }
    targets = {"scene": rng.integers(0, 13, BATCH).astype(np.int32)}
    for _ in range(steps + 1):
        started = time.perf_counter()
        trainer.train_on_batch(inputs, targets, return_dict=True)
        yield time.perf_counter() - started


def child(way, steps):
    """Prints the best seconds per pair of one way; the first step is a warm-up."""
    if way == "PyTorch":
        every_step = torch_steps(steps)
    else:
        every_step = keras_steps(steps, "XLA" in way)
    seconds = list(every_step)[1:]
    print(json.dumps(min(seconds) / BATCH))


def main():
    """Prints the table."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--steps", type=int, default=3)
    parser.add_argument("--repeats", type=int, default=2)
    parser.add_argument("--ways", default=";".join(WAYS))
    parser.add_argument("--way", default="")
    arguments = parser.parse_args()
    if arguments.way:
        child(arguments.way, arguments.steps)
        return
    best: dict[str, float] = {}
    for _ in range(arguments.repeats):
        for way in arguments.ways.split(";"):
            command = [sys.executable, "-m", "benchmarks.train_step", f"--way={way}"]
            command.append(f"--steps={arguments.steps}")
            environment = dict(os.environ, TF_CPP_MIN_LOG_LEVEL="3", **WAYS[way])
            done = subprocess.run(
                command, env=environment, check=True, capture_output=True, text=True
            )
            seconds = json.loads(done.stdout.splitlines()[-1])
            best[way] = min(best.get(way, seconds), seconds)
    print("| way | s/pair | ratio |\n| :-- | --: | --: |")
    for way, seconds in best.items():
        print(f"| {way} | {seconds:.2f} | {seconds / best['PyTorch']:.2f}× |")


if __name__ == "__main__":
    main()
