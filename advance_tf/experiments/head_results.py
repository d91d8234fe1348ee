"""Results of heads that are trained in memory: written, read, and compared."""

import dataclasses
import json
from typing import Any

from advance_tf.checksums import replacing_checked, verify
from advance_tf.config import Config
from advance_tf.config_io import to_dict
from advance_tf.data.manifest import Manifest
from advance_tf.experiments.scheduler import RESULT, Job, initial_hashes
from advance_tf.files import reading
from advance_tf.teacher.storage import POSTERIORS, read_posteriors
from advance_tf.training.checkpoint import Progress

_KEYS = ("config", "manifest_sha256", "best_score")


def read_result(job: Job) -> dict[str, Any]:
    """Reads what `write_result` wrote for a job.

    Args:
        job: a job with frozen towers.

    Returns:
        The contents of its heads.json; empty if there is none.

    Raises:
        ValueError: the file is damaged.
    """
    path = job.workdir / RESULT
    if not path.exists():
        return {}
    verify(path)
    way_out = "Remove it to train these heads again."
    with reading(path, "hold the result of trained heads", way_out):
        found = dict(json.loads(path.read_text(encoding="utf-8")))
        missing = [name for name in _KEYS if name not in found]
        if missing:
            raise KeyError(missing[0])
    return found


def write_result(job: Job, manifest: Manifest, progress: Progress) -> None:
    """Writes heads.json: the settings, the sources and the scores of a job.

    Args:
        job: a job whose heads are trained.
        manifest: the split that they were trained on.
        progress: number of epochs, and the best epoch with its validation F.
    """
    contents = {
        "config": _comparable(job.config),
        "manifest_sha256": manifest.sha256,
        **_sources(job),
        **dataclasses.asdict(progress),
    }
    with replacing_checked(job.workdir / RESULT) as temporary:
        temporary.write_text(json.dumps(contents, indent=2) + "\n", encoding="utf-8")


def is_trained(job: Job, manifest: Manifest) -> bool:
    """Whether a job has a result of its configuration, weights, teacher and split.

    Args:
        job: a job with frozen towers.
        manifest: its split.

    Returns:
        False without a result, or where one of these differs. Results of earlier
        versions do not state weights and teacher, which are then not compared.

    Raises:
        ValueError: the result or the event knowledge is damaged.
    """
    found = read_result(job)
    if not found:
        return False
    wanted = {
        "config": _comparable(job.config),
        "manifest_sha256": manifest.sha256,
        **{name: value for name, value in _sources(job).items() if name in found},
    }
    return all(found[name] == value for name, value in wanted.items())


def _sources(job: Job) -> dict[str, Any]:
    """The hashes of the towers' weights files and of the teacher."""
    teacher = ""
    if job.knowledge_dir is not None and (job.knowledge_dir / POSTERIORS).exists():
        teacher = str(read_posteriors(job.knowledge_dir / POSTERIORS)["teacher_sha256"])
    return {
        "initial_weights": initial_hashes(job.config.model),
        "teacher_sha256": teacher,
    }


def _comparable(config: Config) -> dict[str, Any]:
    """The configuration as JSON, without the folders of the data."""
    # JSON has lists instead of tuples.
    values: dict[str, Any] = json.loads(json.dumps(to_dict(config)))
    for name in ("data_dir", "cache_dir"):
        del values["data"][name]
    return values
