"""Milliseconds per pair of a training step on the CPU, against PyTorch.

    python -m benchmarks.train_step --sizes=full,small --batch_sizes=4,16 --threads=1,2

Forward, backward and Adam with L2 of two towers and a scene head in float32: "full" is
the model of the paper (ResNet-101 on [256, 256, 3], ResNet-50 on [400, 64]), "small"
that of assets/recipes/small.flags. The baseline is the same model in PyTorch's eager
mode (torch is an optional dependency). Each configuration runs in a process of its
own. The processes take turns, `--repeats` times `--steps` steps, and the fastest steps
are compared: other load on the machine can only slow a step down. The CPU time of a
step, summed over the threads, is shown beside; on a busy machine, compare that of one
thread.
"""

import argparse
import contextlib
import json
import os
import pathlib
import platform
import subprocess
import sys
import time

BASELINE = "PyTorch"
PLAIN_MALLOC = {"ADVANCE_TF_KEEP_MEMORY": "0"}
# Name → environment variables; "PyTorch" in the name selects the library.
CONFIGURATIONS = {
    BASELINE: {},
    "PyTorch, channels last": {},
    "Keras graph": {},
    "Keras graph, glibc's default memory policy": PLAIN_MALLOC,
    "Keras graph, one inter-op thread": {"TF_NUM_INTEROP_THREADS": "1"},
    "Keras graph, oneDNN off": {"TF_ENABLE_ONEDNN_OPTS": "0"},
    "Keras XLA": {},
}
DEFAULTS = (BASELINE, "PyTorch, channels last", "Keras graph")
SMALL = pathlib.Path(__file__).parents[1] / "assets/recipes/small.flags"


def read_config(size):
    """Returns the configuration of a size, "full" or "small"."""
    from advance_tf.config import Config
    from advance_tf.config_io import replace_fields
    from advance_tf.experiments.recipes import read_recipe

    return replace_fields(Config(), read_recipe(SMALL) if size == "small" else {})


def random_batch(features, batch):
    """Returns an image batch, a log-mel batch and scenes, equal in every process."""
    import numpy as np

    rng = np.random.default_rng(batch)
    side = features.image_size
    image = rng.uniform(0, 255, (batch, side, side, 3)).astype(np.float32)
    log_mel = rng.normal(size=(batch, features.frames, features.mel_bins))
    scene = rng.integers(0, 13, batch).astype(np.int32)
    return image, log_mel.astype(np.float32), scene


def torch_step(size, batch, threads, channels_last):
    """Returns a function that runs a step in PyTorch."""
    import torch

    from benchmarks.torch_recognizer import Pair

    torch.set_num_threads(threads)
    config = read_config(size)
    depths = config.model.image_depth, config.model.audio_depth
    layout = torch.channels_last if channels_last else torch.contiguous_format
    pair = Pair(*depths, config.model.image_width).to(memory_format=layout)
    decay = config.training.weight_decay
    optimizer = torch.optim.Adam(pair.parameters(), 1e-5, weight_decay=decay)
    image, log_mel, scene = random_batch(config.features, batch)
    image = torch.from_numpy(image.transpose(0, 3, 1, 2))
    image = image.contiguous(memory_format=layout)
    log_mel = torch.from_numpy(log_mel[:, None])
    scene = torch.from_numpy(scene).long()

    def step():
        optimizer.zero_grad()
        loss = torch.nn.functional.cross_entropy(pair(image, log_mel), scene)
        loss.backward()
        optimizer.step()
        return float(loss.detach())

    return step


def keras_step(size, batch, threads, jit_compile):
    """Returns a function that runs a step of `Trainer`."""
    from advance_tf.memory import keep_freed_memory

    # As the commands do.
    keep_freed_memory()

    import tensorflow as tf

    from advance_tf.config import TransferConfig
    from advance_tf.losses.objective import build_objective
    from advance_tf.models.recognizer import build_recognizer
    from advance_tf.training.optimizer import build_optimizer
    from advance_tf.training.trainer import Trainer

    tf.config.threading.set_intra_op_parallelism_threads(threads)
    if "TF_NUM_INTEROP_THREADS" not in os.environ:
        tf.config.threading.set_inter_op_parallelism_threads(threads)
    config = read_config(size)
    model = build_recognizer(config.model, config.features, "none")
    trainer = Trainer(model, build_objective(TransferConfig(transfer="none")))
    trainer.compile(optimizer=build_optimizer(config.training), jit_compile=jit_compile)
    image, log_mel, scene = random_batch(config.features, batch)
    inputs, targets = {"image": image, "log_mel": log_mel}, {"scene": scene}
    # One batch, repeated, as `fit` reads it.
    batches = iter(tf.data.Dataset.from_tensors((inputs, targets)).cache().repeat())
    trainer.make_train_function()
    return lambda: float(trainer.train_function(batches)["loss"])


def serve(name, size, batch, threads):
    """Answers requests: a number of steps on stdin, their seconds on stdout."""
    # Libraries print to stdout too; their output goes to stderr instead.
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)
    build = torch_step if "PyTorch" in name else keras_step
    step = build(size, batch, threads, "channels last" in name or "XLA" in name)
    for _ in range(2):
        step()
    for line in sys.stdin:
        times = []
        for _ in range(int(line)):
            wall, cpu = time.perf_counter(), time.process_time()
            step()
            times.append((time.perf_counter() - wall, time.process_time() - cpu))
        print(json.dumps(times), file=answers, flush=True)


def start(name, size, batch, threads):
    """Starts the process of a configuration, which waits for requests."""
    arguments = {"serve": name, "sizes": size, "batch_sizes": batch, "threads": threads}
    environment = {"TF_CPP_MIN_LOG_LEVEL": "3", "OMP_NUM_THREADS": str(threads)}
    return subprocess.Popen(
        [sys.executable, "-m", "benchmarks.train_step"]
        + [f"--{flag}={value}" for flag, value in arguments.items()],
        env={**os.environ, **environment, **CONFIGURATIONS[name]},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
    )


def request(process, steps):
    """Returns (seconds, CPU seconds) of each of a number of steps of a process."""
    line = ""
    with contextlib.suppress(BrokenPipeError):
        process.stdin.write(f"{steps}\n")
        process.stdin.flush()
        line = process.stdout.readline()
    if not line:
        raise RuntimeError(
            f"Every process must answer; {process.args} ended with {process.wait()} "
            "(-9: out of memory; measure fewer `--configurations` at a time)."
        )
    return json.loads(line)


def measure(names, size, batch, threads, repeats, steps):
    """Returns the fastest (seconds, CPU seconds) of a step, of each configuration."""
    processes = {name: start(name, size, batch, threads) for name in names}
    times = {name: [] for name in names}
    try:
        # The first request waits until the process has built its model.
        for process in processes.values():
            request(process, 0)
        for _ in range(repeats):
            for name, process in processes.items():
                times[name] += request(process, steps)
    finally:
        for process in processes.values():
            process.kill()
            process.wait()
    return {
        name: [min(t) for t in zip(*found, strict=True)]
        for name, found in times.items()
    }


def parse_arguments():
    """Returns the arguments of the command line."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--sizes", default="full,small")
    parser.add_argument("--batch_sizes", default="4,16")
    parser.add_argument("--threads", default="1,2")
    parser.add_argument("--steps", type=int, default=2, help="Steps of a turn.")
    parser.add_argument("--repeats", type=int, default=3, help="Turns.")
    parser.add_argument(
        "--configurations",
        default=";".join(DEFAULTS),
        help="Separated by ';'; 'all': " + "; ".join(CONFIGURATIONS),
    )
    parser.add_argument("--serve", default="", help=argparse.SUPPRESS)
    return parser.parse_args()


def main():
    """Prints the table."""
    arguments = parse_arguments()
    sizes = arguments.sizes.split(",")
    batches, threads = (
        [int(number) for number in text.split(",")]
        for text in (arguments.batch_sizes, arguments.threads)
    )
    if arguments.serve:
        serve(arguments.serve, sizes[0], batches[0], threads[0])
        return
    chosen = arguments.configurations
    names = [*CONFIGURATIONS] if chosen == "all" else chosen.split(";")
    names = list(dict.fromkeys([BASELINE, *names]))
    print(f"{platform.processor() or platform.machine()}, {os.cpu_count()} cores\n")
    titles = ["towers", "batch", "threads", "configuration"]
    titles += ["ms/pair", "ratio", "CPU ms/pair", "ratio"]
    print(f"| {' | '.join(titles)} |")
    print("| :-- | --: | --: | :-- | --: | --: | --: | --: |")
    # Short steps need more of them for a stable minimum.
    for size in sizes:
        steps = arguments.steps * (5 if size == "small" else 1)
        for batch in batches:
            for count in threads:
                case = size, batch, count
                found = measure(names, *case, arguments.repeats, steps)
                for name, values in found.items():
                    cells = [
                        f"{1e3 * value / batch:.1f} | {value / baseline:.2f}×"
                        for value, baseline in zip(values, found[BASELINE], strict=True)
                    ]
                    row = [*map(str, case), name, *cells]
                    print(f"| {' | '.join(row)} |", flush=True)


if __name__ == "__main__":
    main()
