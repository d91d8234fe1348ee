"""Start-up of the commands, and the memory of a long `advance predict --data_dir`.

    python -m benchmarks.startup --repeats=5 --pairs=2000

The run is untrained and has the full towers, ResNet-101 and ResNet-50. Each command is
a process of its own; the fastest of `--repeats` is shown, with the CPU time of all its
threads, which depends less on other load. The parts of a prediction are measured in one
more process; "Keras model" is what `load_model` did before it read the weights itself.
"""

import argparse
import json
import os
import pathlib
import subprocess
import sys
import tempfile
import time

_PARTS = """
import json, sys, time
started = [time.perf_counter(), time.process_time()]
parts = {}
def part(name):
    now = [time.perf_counter(), time.process_time()]
    parts[name] = [now[0] - started[0], now[1] - started[1]]
    started[:] = now
import numpy
from advance_tf.cli import startup
from advance_tf.memory import keep_freed_memory
keep_freed_memory()
part("NumPy and command line")
startup.load_tensorflow()
part("TensorFlow and Keras")
from advance_tf.inference.examples import Example
from advance_tf.inference.loading import load_model
part("modules of advance_tf")
run, keras_model, *files = sys.argv[1:]
if keras_model == "keras":
    from advance_tf.runs.workdir import load_run
    run = load_run(run)
model = load_model(run)
part("weights")
model.predict(*files)
part("first prediction")
model.predict(*files)
part("second prediction")
model.predict(*files)
part("third prediction")
print(json.dumps(parts))
"""


def write_run(folder, width=64):
    """Writes an untrained run; returns its folder."""
    from advance_tf.config import Config, ModelConfig, TransferConfig
    from advance_tf.models.recognizer import build_recognizer
    from advance_tf.runs.workdir import write_config
    from advance_tf.training.callbacks import BEST_WEIGHTS

    folder.mkdir()
    config = Config(
        model=ModelConfig(image_width=width, audio_width=width),
        transfer=TransferConfig(transfer="kl_audiovisual"),
    )
    recognizer = build_recognizer(config.model, config.features, "kl_audiovisual")
    recognizer.save_weights(folder / BEST_WEIGHTS)
    write_config(folder, config, None)
    return folder


def fastest(repeats, *command):
    """Runs a command several times; returns the least wall and CPU time in seconds."""
    times = []
    for _ in range(repeats):
        started = time.perf_counter(), os.times()
        subprocess.run(command, check=True, capture_output=True)
        used = os.times()
        cpu = sum(used[2:4]) - sum(started[1][2:4])
        times.append((time.perf_counter() - started[0], cpu))
    return tuple(map(min, zip(*times, strict=True)))


def parts_of(repeats, *arguments):
    """The fastest wall and CPU time of each part of a prediction."""
    found = []
    for _ in range(repeats):
        command = (sys.executable, "-c", _PARTS, *arguments)
        output = subprocess.run(command, check=True, capture_output=True).stdout
        found.append(json.loads(output.splitlines()[-1]))
    return {
        name: [min(one[name][k] for one in found) for k in (0, 1)] for name in found[0]
    }


def resident_mib(process):
    """The resident memory of a process."""
    status = pathlib.Path(f"/proc/{process.pid}/status").read_text()
    return int(status.split("VmRSS:")[1].split()[0]) / 1024


def stream(run, pair, pairs, folder):
    """Prints seconds and resident memory of a long prediction by number of rows."""
    for kind, source in zip(("vision", "sound"), pair, strict=True):
        (folder / kind / "lake").mkdir(parents=True)
        for number in range(pairs):
            target = folder / kind / "lake" / f"{number:06d}{source.suffix}"
            target.symlink_to(source)
    command = [sys.executable, "-m", "advance_tf", "predict", "--json"]
    command += [f"--workdir={run}", f"--data_dir={folder}"]
    started = time.perf_counter()
    shown = {1, 16, *(pairs * k // 5 for k in range(1, 6))}
    print("\n| row | seconds | resident MiB |\n| --: | --: | --: |")
    with subprocess.Popen(command, stdout=subprocess.PIPE) as process:
        for row, _ in enumerate(process.stdout, 1):
            if row in shown:
                seconds = time.perf_counter() - started
                print(f"| {row} | {seconds:.1f} | {resident_mib(process):.0f} |")


def main():
    """Prints the tables."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--pairs", type=int, default=0, help="Rows; 0: no such table.")
    arguments = parser.parse_args()
    from advance_tf.data.synthetic.pairs import write_pairs

    with tempfile.TemporaryDirectory() as temporary:
        folder = pathlib.Path(temporary)
        write_pairs(folder / "pairs", sites_per_scene=1, progress=False)
        image = min((folder / "pairs" / "vision").rglob("*.jpg"))
        sound = next((folder / "pairs" / "sound").rglob(f"{image.stem}.wav"))
        run = write_run(folder / "run")
        files = (str(image), str(sound))
        advance = (sys.executable, "-m", "advance_tf")
        commands = {
            "advance --help": (*advance, "--help"),
            "advance fit --help": (*advance, "fit", "--help"),
            "python -c 'import tensorflow'": (
                *(sys.executable, "-c", "import tensorflow; tensorflow.keras.Model"),
            ),
            "advance predict, one pair": (
                *(*advance, "predict", f"--workdir={run}"),
                *(f"--image={image}", f"--sound={sound}"),
            ),
        }
        print("| command | s | CPU s |\n| :-- | --: | --: |")
        for name, command in commands.items():
            wall, cpu = fastest(arguments.repeats, *command)
            print(f"| {name} | {wall:.2f} | {cpu:.2f} |", flush=True)
        own = parts_of(arguments.repeats, str(run), "arrays", *files)
        keras = parts_of(arguments.repeats, str(run), "keras", *files)
        print("\n| part | s | CPU s | Keras model: s | CPU s |")
        print("| :-- | --: | --: | --: | --: |")
        for name in own:
            row = [f"{seconds:.2f}" for seconds in (*own[name], *keras[name])]
            print(f"| {name} | {' | '.join(row)} |")
        if arguments.pairs:
            small = write_run(folder / "small", width=4)
            stream(small, (image, sound), arguments.pairs, folder / "links")


if __name__ == "__main__":
    main()
