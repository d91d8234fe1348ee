"""Recognizes scenes and events with an exported model, without TensorFlow.

    python recognize.py MODEL.tflite --image a.jpg --sound a.wav
    python recognize.py MODEL.tflite --image photos --sound recordings --json
    python recognize.py MODEL.tflite --image a.jpg --sound a.wav --benchmark 50
    arecord -t raw -f S16_LE -r 48000 | python recognize.py MODEL.tflite --pcm 48000

Several images and sounds, or folders of them, are paired by stem; a file without a
partner is recognized alone. `--pcm` reads an endless stream from standard input.
Predictions go to standard output; an error is one line on standard error, and the
exit status is then 1. Resampling, clip and image size are computed as in training.
"""

import argparse
import json
import os
import pathlib
import sys
import time

import numpy as np
from edge_files import Example, pair
from edge_inputs import check_stream, fit_clip, resample, to_mono, windows
from edge_model import Model, one_line


class Report:
    """Prints predictions as text or as JSON objects."""

    def __init__(self, model: Model, top: int, as_json: bool):
        """Prints the label of the training data, if there is one.

        Args:
            model: whose predictions are printed.
            top: number of scenes and events.
            as_json: whether to print JSON.
        """
        self._metadata, self._top, self._json = model.metadata, top, as_json
        if self._metadata["label"] and not as_json:
            print(f"*** {self._metadata['label']} ***", flush=True)

    def _rank(self, probs, names) -> list[list]:
        if probs is None:
            return []
        order = np.argsort(-probs, kind="stable")[: self._top]
        return [[names[index], float(probs[index])] for index in order]

    def _answer(self, scenes, probs) -> dict:
        """Scene or "unknown", confidence and reason; {} for files without them."""
        if "reason_flags" not in probs:
            return {}
        names = zip(self._metadata["reasons"], probs["reason_flags"], strict=True)
        reason = "; ".join(name for name, flag in names if flag > 0)
        return {
            "scene": "unknown" if reason else scenes[0][0],
            "confidence": scenes[0][1],
            "reason": reason,
        }

    def show(self, name: str, inputs, probs, seconds: float, one_line=False) -> None:
        """Prints a prediction.

        Args:
            name: of the example, or the time in a stream.
            inputs: names of the inputs that were used.
            probs: of `Model.probs`.
            seconds: time of reading and predicting.
            one_line: whether to print text on one line.
        """
        values = {"name": name, "inputs": sorted(inputs), "seconds": round(seconds, 4)}
        for kind in ("scenes", "events"):
            kind_probs = probs.get(f"{kind[:-1]}_probs")
            values[kind] = self._rank(kind_probs, self._metadata[kind])
        values |= self._answer(values["scenes"], probs)
        if self._metadata["label"]:
            values["label"] = self._metadata["label"]
        print(json.dumps(values) if self._json else _text(values, one_line), flush=True)


def _text(values: dict, one_line: bool) -> str:
    lines = [f"{values['name']} ({' + '.join(values['inputs'])})"]
    if values.get("reason"):
        lines.append(f"unknown: {values['reason']}")
    for kind in ("scenes", "events"):
        if values[kind]:
            lines.append(kind)
            lines += [f"{100 * prob:6.2f} % {name}" for name, prob in values[kind]]
    lines.append(f"{values['seconds']:.3f} s")
    if one_line:
        return " | ".join(line.strip() for line in lines)
    return "\n  ".join(lines)


def recognize_files(model: Model, report: Report, examples, problems) -> int:
    """Prints a prediction for each example; returns 1 if one failed, otherwise 0."""
    for example in examples:
        start = time.perf_counter()
        try:
            inputs = model.read(example)
            probs = model.probs(inputs)
        except (ValueError, RuntimeError) as error:
            problems.append(f"{example.name}: {one_line(error)}.")
        else:
            report.show(example.name, inputs, probs, time.perf_counter() - start)
    for problem in problems:
        print(f"error: {problem}", file=sys.stderr)
    return 1 if problems else 0


def recognize_stream(model: Model, report: Report, arguments) -> int:
    """Predicts from the last clip of standard input until it ends."""
    rate_hz, samples = arguments.pcm, model.metadata["clip_samples"]
    model_rate_hz = model.metadata["sample_rate_hz"]
    if not model.reads_sound:
        raise ValueError("--pcm needs a model that uses sound; this one uses images.")
    image = arguments.image[0] if arguments.image else None
    inputs = model.read(Example("", image))
    kept = -(-samples * rate_hz // model_rate_hz)
    every = max(1, round(arguments.every * rate_hz))
    received = 0
    stream = windows(sys.stdin.buffer, rate_hz, arguments.channels, every, kept)
    try:
        for received, frames in stream:
            start = time.perf_counter()
            resampled = resample(to_mono(frames), rate_hz, model_rate_hz)
            waveform = fit_clip(resampled, samples)
            given = inputs | {"waveform": waveform[None]}
            probs = model.probs(given)
            seconds = time.perf_counter() - start
            report.show(f"{received / rate_hz:.1f} s", given, probs, seconds, True)
    except KeyboardInterrupt:
        # An endless stream is usually ended by Ctrl-C.
        return 0
    if not received:
        raise ValueError("--pcm needs samples on standard input; received none.")
    return 0


def benchmark(model: Model, example: Example, runs: int) -> dict:
    """Measures latencies and memory.

    Args:
        model: to measure.
        example: is predicted once before the measurement, then `runs` times.
        runs: at least 1.

    Returns:
        Median and 95th percentile in ms of the model alone and with reading; the
        peak memory of the process in MiB.
    """

    inputs = model.read(example)
    model.probs(inputs)
    measured = {"model_ms": [], "reading_and_model_ms": []}
    for _ in range(runs):
        start = time.perf_counter()
        model.probs(inputs)
        between = time.perf_counter()
        model.probs(model.read(example))
        measured["model_ms"].append(1000 * (between - start))
        measured["reading_and_model_ms"].append(1000 * (time.perf_counter() - between))
    result: dict = {"name": example.name, "runs": runs}
    for kind, times in measured.items():
        median, late = np.percentile(times, [50, 95])
        result[kind] = {"median": round(median, 3), "p95": round(late, 3)}
    return result | {"peak_memory_mib": round(_peak_bytes() / 2**20, 1)}


def _peak_bytes() -> int:
    """The largest resident memory of this process so far."""
    status = pathlib.Path("/proc/self/status")
    if status.exists():
        # getrusage would count the process that started this one.
        fields = dict(line.split(":", 1) for line in status.read_text().splitlines())
        return 1024 * int(fields["VmHWM"].split()[0])
    import resource

    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    # Bytes on macOS, KiB elsewhere.
    return peak if sys.platform == "darwin" else peak * 1024


class _Parser(argparse.ArgumentParser):
    """Raises errors, which `main` prints on one line."""

    def error(self, message):
        raise ValueError(f"{message}; --help lists the options")


def _at_least(least: float, kind: type):
    def parse(text: str):
        rule = {int: "an integer", float: "a number"}[kind]
        try:
            value = kind(text)
        except ValueError:
            value = float("nan")
        if not least <= value < float("inf"):
            raise argparse.ArgumentTypeError(
                f"must be {rule} of at least {least}; received {text}"
            )
        return value

    return parse


def parse(arguments: list[str] | None) -> argparse.Namespace:
    """The options of the command line, checked.

    Args:
        arguments: without the program; None for those of the process.

    Raises:
        ValueError: an option is not valid, or options exclude each other.
    """
    whole, seconds = _at_least(1, int), _at_least(0.1, float)
    parser = _Parser(description="Recognizes scenes and events of images and sounds.")
    add = parser.add_argument
    add("model", help=".tflite file of the export")
    for kind in ("image", "sound"):
        text = f"{kind} files, or folders of them"
        add(f"--{kind}", nargs="+", action="extend", type=pathlib.Path, help=text)
    add("--pcm", type=whole, metavar="RATE", help="read 16-bit PCM from standard input")
    add("--channels", type=whole, default=1, help="channels of --pcm")
    add("--every", type=seconds, default=10.0, help="seconds between predictions")
    add("--json", action="store_true", help="one JSON object a line")
    add("--top", type=whole, default=5, help="number of scenes and events")
    add("--threads", type=whole, default=os.cpu_count(), help="threads of LiteRT")
    add("--benchmark", type=whole, metavar="N", help="measure N runs of the first pair")
    options = parser.parse_args(arguments)
    images, sounds = options.image or [], options.sound or []
    if options.pcm is None:
        if not images and not sounds:
            raise ValueError("Give --image, --sound or --pcm; received none.")
        return options
    if sounds or options.benchmark or len(images) > 1:
        raise ValueError(
            "--pcm may be given with one --image, without --sound and --benchmark; "
            f"received {len(images)} images and {len(sounds)} sounds."
        )
    try:
        check_stream(options.pcm, options.channels)
    except ValueError as error:
        raise ValueError(f"The stream of --pcm cannot be read: {error}.") from error
    return options


def run(options: argparse.Namespace) -> int:
    """Predicts or measures; returns the exit status.

    Args:
        options: of `parse`.

    Raises:
        ValueError: the model cannot be read, or there is no file to predict.
    """
    model = Model(options.model, options.threads)
    if options.pcm is not None:
        return recognize_stream(
            model, Report(model, options.top, options.json), options
        )
    examples, problems = pair(options.image or [], options.sound or [])
    if not examples and not problems:
        raise ValueError("The folders must hold images or sounds; received neither.")
    if not options.benchmark:
        report = Report(model, options.top, options.json)
        return recognize_files(model, report, examples, problems)
    if not examples:
        raise ValueError(problems[0])
    measured = benchmark(model, examples[0], options.benchmark)
    print(json.dumps(measured) if options.json else _benchmark_text(measured))
    return 0


def _benchmark_text(measured: dict) -> str:
    lines = [f"{measured['name']}, {measured['runs']} runs"]
    for kind, title in (("model", "model"), ("reading_and_model", "reading and model")):
        times = measured[f"{kind}_ms"]
        lines.append(f"  {title}: median {times['median']} ms, p95 {times['p95']} ms")
    return "\n".join([*lines, f"  peak memory: {measured['peak_memory_mib']} MiB"])


def main(arguments: list[str] | None = None) -> int:
    """Runs the program; returns the exit status.

    Args:
        arguments: without the program; None for those of the process.
    """
    try:
        return run(parse(arguments))
    except BrokenPipeError:
        # The reader of the output has ended; flushing at exit must not fail again.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    except KeyboardInterrupt:
        return 130
    except (ValueError, OSError, RuntimeError) as error:
        print(f"error: {one_line(error)}.", file=sys.stderr)
        return 1


if __name__ == "__main__":
    sys.exit(main())
