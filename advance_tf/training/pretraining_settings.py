"""Settings of a pretraining: stored in its folder and combined with given ones."""

import dataclasses
import json
import pathlib
from collections.abc import Mapping
from typing import Any

from advance_tf.config import Config
from advance_tf.config_io import check_resume, from_dict, replace_fields, to_dict
from advance_tf.files import reading, replacing
from advance_tf.training.runtime import versions
from advance_tf.training.session import has_trained

SETTINGS = "pretrain.json"

_RULE = "hold the settings of a pretraining"


@dataclasses.dataclass(frozen=True)
class PretrainingSettings:
    """Settings of a pretraining beside its configuration, stored in pretrain.json.

    Attributes:
        tower: "image" or "audio".
        tags: CSV of the events of each clip, "" for images.
        held_out: fraction of the data held out for validation.
        plateau_patience: epochs without a better score before the rate drops; 0 for
            the schedule of the configuration.
        mixup: parameter of mixup's beta distribution, for clips.
    """

    tower: str
    tags: str = ""
    held_out: float = 0.2
    plateau_patience: int = 5
    mixup: float = 1.0


def write_settings(
    workdir: pathlib.Path,
    changes: Mapping[str, Any],
    base: Config,
    given: Mapping[str, Any],
) -> tuple[Config, PretrainingSettings]:
    """Combines the given settings with those of a run to resume; stores the result.

    Args:
        workdir: folder of the run.
        changes: configuration field → value; they replace fields of the stored
            configuration, or of `base` in a new run.
        base: the configuration of a new run.
        given: fields of `PretrainingSettings` that the caller sets.

    Returns:
        The configuration and the settings, as written to pretrain.json.

    Raises:
        ValueError: tower or data_dir is missing, or a setting differs from that
            of a run that has trained an epoch.
    """
    path = workdir / SETTINGS
    stored: dict[str, Any] = {}
    if path.exists():
        with reading(path, _RULE, "Restore it, or use another `workdir`."):
            contents = json.loads(path.read_text(encoding="utf-8"))
            earlier = from_dict(contents["config"])
            stored = dataclasses.asdict(PretrainingSettings(**contents["run"]))
        config = replace_fields(earlier, changes)
        changed = [f"`{name}`" for name in given if given[name] != stored[name]]
        is_final = has_trained(workdir)
        if is_final:
            check_resume(earlier, config)
        if is_final and changed:
            raise ValueError(
                "A run resumes with the settings that it was started with; changed: "
                f"{', '.join(changed)}. Leave them out or use another `workdir`."
            )
    else:
        config = replace_fields(base, changes)
    fields = {**stored, **given}
    if not fields.get("tower") or not config.data.data_dir:
        raise ValueError(
            "tower and `data_dir` must be set; received "
            f"{fields.get('tower', '')!r} and {config.data.data_dir!r}."
        )
    settings = PretrainingSettings(**fields)
    contents = {
        "config": to_dict(config),
        "run": dataclasses.asdict(settings),
        "versions": versions(),
    }
    with replacing(path) as temporary:
        temporary.write_text(json.dumps(contents, indent=2) + "\n", encoding="utf-8")
    return config, settings
