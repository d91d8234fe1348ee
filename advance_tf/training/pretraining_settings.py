"""Settings of a pretraining: stored in its folder and combined with given ones."""

import dataclasses
import json
import pathlib
from collections.abc import Mapping
from typing import Any

from advance_tf.config import Config, fields
from advance_tf.config_io import check_resume, from_dict, replace_fields, to_dict
from advance_tf.files import reading, replacing
from advance_tf.training.runtime import versions
from advance_tf.training.session import has_trained

SETTINGS = "pretrain.json"

_RULE = "hold the settings of a pretraining"
# Settings of two towers, of pairs and of their split.
_UNUSED = (
    *("split_protocol", "split_seed", "train_fraction", "validation_fraction"),
    *("block_kilometres", "cache_dir", "tf_data_service"),
    *("modality", "image_frozen_stages", "audio_frozen_stages", "freeze_batch_norm"),
    *("head_units", "normalize_embeddings", "modality_dropout"),
    *("tower_learning_rate", "label_smoothing", "class_weights", "cached_views"),
    "test_epochs",
)
# Those that `plateau_patience` replaces.
_SCHEDULE = ("learning_rate_schedule", "drop_epochs", "warmup_epochs")


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


def combine_settings(
    workdir: pathlib.Path,
    changes: Mapping[str, Any],
    base: Config,
    given: Mapping[str, Any],
) -> tuple[Config, PretrainingSettings]:
    """Combines the given settings with those of a run to resume; writes nothing.

    Args:
        workdir: folder of the run.
        changes: configuration field → value; they replace fields of the stored
            configuration, or of `base` in a new run.
        base: the configuration of a new run.
        given: fields of `PretrainingSettings` that the caller sets.

    Returns:
        The configuration and the settings.

    Raises:
        ValueError: tower or data_dir is missing, a setting differs from that of a run
            that has trained an epoch, or one of a new run has no effect.
    """
    path = workdir / SETTINGS
    stored: dict[str, Any] = {}
    is_final = False
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
    own = {**stored, **given}
    if not own.get("tower") or not config.data.data_dir:
        raise ValueError(
            "tower and `data_dir` must be set; received "
            f"{own.get('tower', '')!r} and {config.data.data_dir!r}."
        )
    settings = PretrainingSettings(**own)
    if not is_final:
        _check_used(config, settings)
    return config, settings


def _check_used(config: Config, settings: PretrainingSettings) -> None:
    """Raises ValueError for fields without effect that differ from their default."""
    other = "audio" if settings.tower == "image" else "image"
    unused = [*_UNUSED, f"{other}_weights"]
    if settings.plateau_patience:
        unused += _SCHEDULE
    default, groups = Config(), fields()
    differing = []
    for name in unused:
        group, field, _ = groups[name]
        usual = getattr(getattr(default, group), name), field.metadata["before"]
        if getattr(getattr(config, group), name) not in usual:
            differing.append(name)
    if differing:
        names = ", ".join(f"`{name}`" for name in differing)
        way_out = "Leave them out."
        if set(differing) & set(_SCHEDULE):
            way_out = "Leave them out, or use the schedule with `plateau_patience=0`."
        raise ValueError(
            f"A pretraining of the {settings.tower} tower must not have settings that "
            f"it does not use; received {names}. {way_out}"
        )


def write_settings(
    workdir: pathlib.Path, config: Config, settings: PretrainingSettings
) -> None:
    """Stores the settings of a pretraining.

    Args:
        workdir: folder of the run.
        config: of `combine_settings`.
        settings: of `combine_settings`.
    """
    path = workdir / SETTINGS
    contents = {
        "config": to_dict(config),
        "run": dataclasses.asdict(settings),
        "versions": versions(),
    }
    with replacing(path) as temporary:
        temporary.write_text(json.dumps(contents, indent=2) + "\n", encoding="utf-8")
