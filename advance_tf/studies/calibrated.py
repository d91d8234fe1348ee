"""The calibration of an evaluated run, with what must be said of it."""

import dataclasses

from advance_tf.metrics.calibration import Calibration, calibrate
from advance_tf.metrics.evaluation import Evaluation
from advance_tf.studies.evaluated import evaluate_run
from advance_tf.studies.taught import TaughtRun

VALIDATION = "validation"
_SEEN = "temperature fitted on pairs that are shown"
_NO_PAIR = (
    "the temperature is fitted on validation, which has no pair. Split with a larger "
    "`validation_fraction`."
)


@dataclasses.dataclass(frozen=True, eq=False)
class Calibrated:
    """A calibration, or why there is none.

    Attributes:
        calibration: of the evaluation, None where there is none.
        pairs: how many the temperature is fitted on.
        remark: what a label must say of the temperature, such as why it was not
            fitted; "" for nothing.
        reason: why there is no calibration and the way out, "" where there is.
    """

    calibration: Calibration | None
    pairs: int = 0
    remark: str = ""
    reason: str = ""


def calibrate_run(
    taught: TaughtRun, evaluation: Evaluation, *, batch_size: int | None = None
) -> Calibrated:
    """Fits a run's temperature on its validation pairs and measures it.

    Args:
        taught: a run with a manifest.
        evaluation: of it, on any split.
        batch_size: pairs in a batch; by default as the run was trained.

    Returns:
        The calibration of the evaluation. On pairs that the temperature is fitted
        on it is made all the same, and the remark says so. Where the fit is refused
        the temperature is 1, and the remark is the reason.

    Raises:
        ValueError: a file cannot be read.
    """
    manifest = taught.run.manifest
    if manifest is None or VALIDATION not in manifest.splits:
        return Calibrated(None, reason=_NO_PAIR)
    validation = evaluation
    if evaluation.split != VALIDATION:
        validation = evaluate_run(taught, VALIDATION, batch_size=batch_size)
    calibration = calibrate(
        validation.scene_probs,
        validation.true,
        evaluation.scene_probs,
        evaluation.true,
    )
    seen = _SEEN if evaluation.split in (VALIDATION, "all") else ""
    remark = calibration.refusal or seen
    return Calibrated(calibration, len(validation.stems), remark)
