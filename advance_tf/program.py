"""What every program shares: absl start-up and errors without a traceback."""

import os
import signal
import sys
from collections.abc import Callable, Sequence

from absl import app, flags, logging

# The programs print results; TensorFlow's start-up notes would bury them.
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")


def run(main: Callable[[Sequence[str]], None]) -> None:
    """Runs `main` under absl; bad input ends with its message and status 1, and
    Ctrl-C with status 130.

    Args:
        main: takes the arguments that are left after the flags.
    """

    def guarded(arguments: Sequence[str]) -> None:
        if len(arguments) > 1 and not getattr(main, "takes_arguments", False):
            _stop(
                f"only --flags are understood; received {' '.join(arguments[1:])!r}. "
                "Quote values that hold spaces."
            )
        if not flags.FLAGS["verbosity"].present:
            logging.set_verbosity(logging.WARNING)
        try:
            main(arguments)
        except (ValueError, OSError) as error:
            _stop(str(error))
        except KeyboardInterrupt:
            print("\nStopped.", file=sys.stderr)
            sys.exit(128 + signal.SIGINT)

    app.run(guarded)


def _stop(message: str) -> None:
    print(f"error: {message}", file=sys.stderr)
    sys.exit(1)
