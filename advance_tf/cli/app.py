"""Opens a page on this computer that answers for an image and a sound.

    advance app --workdir=runs/a
    advance app --workdir=exported/model.tflite --port=8000

Drop an image, drop or record a sound: the page shows the scenes with their confidence,
the events, the activation maps of both inputs, and p(e|s) of the answered scene beside
p(e|x). The answers are those of `advance predict`. --workdir may also be an export; the
page states what an export lacks. The page loads nothing from other hosts and sends
nothing to them; the files that it receives are deleted when the command ends (Ctrl-C).
"""

from absl import flags
from absl.flags import FlagValues

from advance_tf.cli import startup
from advance_tf.cli.flags import define_min_confidence, define_workdir, model_kind
from advance_tf.extras import check_extra
from advance_tf.inference.formats import LITERT


def define(values: FlagValues) -> None:
    """Defines the flags of the command."""
    define_workdir(values, "Folder of the run, or an exported model.")
    flags.DEFINE_integer(
        *("port", 7860, "Port of the page; 0 for any that is free.", 0, 65_535),
        flag_values=values,
    )
    flags.DEFINE_string(
        "host",
        "127.0.0.1",
        "Address to listen on; with another one, other machines can connect.",
        flag_values=values,
    )
    flags.DEFINE_float(
        *("max_megabytes", 200, "Largest file that is read, in MB."),
        lower_bound=0.001,
        flag_values=values,
    )
    define_min_confidence(values)


def run(values: FlagValues) -> None:
    """Serves the page until Ctrl-C."""
    kind = model_kind(values)
    check_extra("app", "gradio")
    startup.load_tensorflow(litert=kind == LITERT)

    from advance_tf.reporting.answers import AnswerExplainer
    from advance_tf.reporting.app import AppServer

    explainer = AnswerExplainer(
        values.workdir,
        min_confidence=values.min_confidence,
        max_megabytes=values.max_megabytes,
    )
    with AppServer(explainer, host=values.host, port=values.port) as server:
        print(f"The page is at {server.url}. Ctrl-C ends it.", flush=True)
        server.wait()
