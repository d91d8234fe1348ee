"""Attribution and data card of a data set that was built from places."""

import collections
import dataclasses
from collections.abc import Iterable, Mapping, Sequence

import numpy as np

from advance_tf.geo.plan import BuildSettings, Plan
from advance_tf.geo.projection import longitude_range

_OSM = (
    "Scenes: © OpenStreetMap contributors, available under the Open Database License "
    "(ODbL) 1.0, https://www.openstreetmap.org/copyright. The labels, sites.csv and "
    "provenance.csv are derived from it and are offered under the ODbL."
)
_UNKNOWN = "not stated"


def attribution(plan: Plan, credits: Sequence[str] = ()) -> str:
    """The text of ATTRIBUTION.txt.

    Args:
        plan: the pairs.
        credits: further lines, such as the credit that the imagery asks for.

    Returns:
        The credit of OpenStreetMap, of the imagery and of each recording.
    """
    recordings = {one.recording.name: one.recording for one in plan.pairs}
    sources = sorted({one.imagery.source for one in plan.pairs} - {""})
    lines = [_OSM, "", "Imagery:", *(f"- {source}" for source in sources)]
    lines += [*credits, "", "Recordings:"]
    for name, recording in sorted(recordings.items()):
        parts = (
            recording.author or "author not stated",
            f"licence: {recording.license or _UNKNOWN}",
            recording.source,
        )
        lines.append(f"- {name}: {', '.join(part for part in parts if part)}")
    return "\n".join(lines) + "\n"


def data_card(
    plan: Plan, rules: BuildSettings, inputs: Mapping[str, object] | None = None
) -> str:
    """The text of DATA_CARD.md.

    Args:
        plan: pairs and rejections.
        rules: settings of the plan.
        inputs: names of the inputs.

    Returns:
        Counts of each scene, lengths, licences, imagery, what was left out, and the
        settings, as Markdown.
    """
    sites: dict[str, set[str]] = collections.defaultdict(set)
    shifted: collections.Counter[str] = collections.Counter()
    for one in plan.pairs:
        sites[one.pair.scene].add(one.pair.site)
        shifted[one.pair.scene] += bool(one.shift)
    total_sites = len({one.pair.site for one in plan.pairs})
    lengths = {one.recording.name: one.seconds for one in plan.pairs}
    licenses = collections.Counter(
        one.license or _UNKNOWN
        for one in {o.recording.name: o.recording for o in plan.pairs}.values()
    )
    images = collections.Counter(
        (
            one.imagery.source,
            one.imagery.date or "unknown",
            f"{one.imagery.resolution_metres:.2f}",
        )
        for one in plan.pairs
    )
    rules_used = collections.Counter(one.label.rule for one in plan.pairs)
    reasons = collections.Counter(
        (one.step, one.reason.partition(":")[0].partition(";")[0])
        for one in plan.rejections
    )
    lines = [
        "# Data card",
        "",
        f"{len(plan.pairs):,} pairs of image and sound at {total_sites:,} sites, from "
        f"{len(lengths):,} of {plan.received:,} recordings. Built with `advance "
        "build-dataset`; labels are those of OpenStreetMap, see provenance.csv for "
        "the evidence of each, and ATTRIBUTION.txt for the credits.",
        "",
        "## Scenes",
        "",
        *_table(
            ("scene", "pairs", "of these shifted", "sites"),
            (
                (scene, count, shifted[scene], len(sites[scene]))
                for scene, count in plan.counts.items()
            ),
        ),
        "",
        "Rule of the label: "
        + (", ".join(f"{name} {n}" for name, n in rules_used.most_common()) or "none")
        + ".",
        "",
        "## Places",
        "",
        _extent(plan),
        "",
        "## Recordings",
        "",
        _lengths(list(lengths.values()), rules.clip_seconds),
        "",
        *_table(("licence", "recordings"), licenses.most_common()),
        "",
        "## Imagery",
        "",
        *_table(
            ("raster", "date", "metres in a pixel", "pairs"),
            ((*key, count) for key, count in images.most_common()),
        ),
        "",
        "## Left out",
        "",
        f"{len(plan.rejections):,} rows of rejected.csv.",
        "",
        *_table(
            ("step", "reason", "number"),
            ((*key, count) for key, count in reasons.most_common(20)),
        ),
        "",
        "## Settings",
        "",
        *_table(("setting", "value"), dataclasses.asdict(rules).items()),
        "",
        *_table(("input", "value"), (inputs or {}).items()),
    ]
    return "\n".join(lines).rstrip() + "\n"


def _table(columns: Sequence[str], rows: Iterable[Sequence[object]]) -> list[str]:
    """A Markdown table; nothing without rows."""
    cells = [[str(cell).replace("|", "\\|") for cell in row] for row in rows]
    if not cells:
        return []
    lines = [columns, ["---"] * len(columns), *cells]
    return [f"| {' | '.join(line)} |" for line in lines]


def _extent(plan: Plan) -> str:
    if not plan.pairs:
        return "None."
    latitudes = [one.latitude for one in plan.pairs]
    west, east = longitude_range([one.longitude for one in plan.pairs])
    return (
        f"Latitude {min(latitudes):.4f} to {max(latitudes):.4f}, longitude "
        f"{west:.4f} to {east - 360 * (east > 180):.4f} degrees; map.html is a map."
    )


def _lengths(seconds: Sequence[float], clip_seconds: float) -> str:
    if not seconds:
        return "None."
    low, middle, high = np.percentile(seconds, (0, 50, 100))
    repeated = sum(value <= clip_seconds for value in seconds)
    return (
        f"They last {low:.1f} s to {high:.1f} s, half of them less than {middle:.1f} s;"
        f" {repeated} of at most {clip_seconds:g} s are repeated."
    )
