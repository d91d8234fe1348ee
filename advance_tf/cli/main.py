"""The entry point `advance`: parses the flags of a command and runs it."""

import importlib
import logging
import os
import signal
import sys
from collections.abc import Sequence
from types import ModuleType

from absl.flags import FlagValues

import advance_tf
from advance_tf.cli.flags import nearest, parse
from advance_tf.cli.help import command_help
from advance_tf.cli.messages import translate
from advance_tf.memory import keep_freed_memory

# In the order of a typical workflow.
COMMANDS = (
    *("download", "build-dataset", "prepare", "prepare-clips", "split", "stats"),
    *("convert", "pretrain", "teach", "fit", "distill", "evaluate", "compare"),
    *("report", "explain", "figures", "predict", "map", "app", "export"),
    *("reproduce", "demo"),
)
_HELP = {"-h", "--help"}
# Of NumPy and of TensorFlow.
_MEMORY_ERRORS = ("MemoryError", "_ArrayMemoryError", "ResourceExhaustedError")
_SHOWN_CHARACTERS = 200


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs one command.

    Args:
        arguments: the command and its flags; those of the process when None.

    Returns:
        The exit status: 0; 1 after an error of the input, with its message on
        standard error; 130 after Ctrl-C.
    """
    given = list(sys.argv[1:] if arguments is None else arguments)
    try:
        status = _dispatch(given)
        sys.stdout.flush()
    except BrokenPipeError:
        # The reader of the output, such as `head`, has ended.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1
    return status


def _dispatch(given: Sequence[str]) -> int:
    if not given or given[0] in _HELP:
        print(_overview())
        return 0
    if given[0] == "--version":
        print(f"advance {advance_tf.__version__}")
        return 0
    command, rest = given[0].replace("_", "-"), given[1:]
    if command not in COMMANDS:
        near = nearest(command, COMMANDS)
        return _fail(
            f"advance has no command {given[0]!r}{near}. `advance --help` lists the "
            "commands."
        )
    return _run(command, rest)


def _run(command: str, arguments: Sequence[str]) -> int:
    module = _module(command)
    values = FlagValues()
    module.define(values)
    if _HELP & set(arguments):
        print(command_help(command, module, values))
        return 0
    _log_warnings(values)
    try:
        parse(command, values, _named(arguments, getattr(module, "POSITIONAL", "")))
        # Before TensorFlow starts its threads.
        keep_freed_memory()
        module.run(values)
    except BrokenPipeError:
        raise
    except (ValueError, OSError) as error:
        return _fail(translate(_message(error), values))
    except ImportError as error:
        # Other import errors are defects and keep their traceback.
        if "advance_tf[" not in str(error):
            raise
        return _fail(str(error))
    except KeyboardInterrupt:
        print("\nStopped.", file=sys.stderr)
        return 128 + signal.SIGINT
    except Exception as error:
        # By name: TensorFlow need not be loaded.
        if type(error).__name__ not in _MEMORY_ERRORS:
            raise
        reason = (str(error).splitlines() or [""])[0][:_SHOWN_CHARACTERS]
        text = f"The memory must suffice; it is used up. {reason} Lower `batch_size`."
        return _fail(translate(text, values))
    return 0


def _named(arguments: Sequence[str], flag: str) -> list[str]:
    """The arguments, the first one as the value of `flag` if it is not a flag.

    >>> _named(["yamnet", "--folder=weights"], "what")
    ['--what=yamnet', '--folder=weights']
    """
    given = list(arguments)
    if flag and given and not given[0].startswith("-"):
        given[0] = f"--{flag}={given[0]}"
    return given


def _module(command: str) -> ModuleType:
    return importlib.import_module(f"advance_tf.cli.{command.replace('-', '_')}")


def _overview() -> str:
    """The text of `advance --help`: one line for each command."""
    lines = []
    for command in COMMANDS:
        summary = (_module(command).__doc__ or "").partition("\n")[0]
        lines.append(f"  {command:14} {summary}")
    return "\n".join(
        [
            "Audiovisual recognition of aerial scenes (ADVANCE, ECCV 2020).",
            "",
            "Usage: advance COMMAND [--flag=value …]",
            "",
            *lines,
            "",
            "`advance COMMAND --help` lists the flags of a command;",
            "`advance demo` runs the main commands on synthetic data.",
        ]
    )


class _Formatter(logging.Formatter):
    """Formats a record as `warning: message`, with flags for parameters."""

    def __init__(self, values: FlagValues) -> None:
        super().__init__()
        self._values = values

    def format(self, record: logging.LogRecord) -> str:
        message = translate(super().format(record), self._values)
        return f"{record.levelname.lower()}: {message}"


def _log_warnings(values: FlagValues) -> None:
    """Writes warnings of the library to standard error."""
    handler = logging.StreamHandler()
    handler.setFormatter(_Formatter(values))
    logging.basicConfig(level=logging.WARNING, handlers=[handler], force=True)


def _message(error: Exception) -> str:
    """The text of an error; an error of the system begins with the file."""
    if isinstance(error, OSError) and error.filename and error.strerror:
        return f"{error.filename}: {error.strerror}"
    return str(error)


def _fail(message: str) -> int:
    print(f"error: {message}", file=sys.stderr)
    return 1
