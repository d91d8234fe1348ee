r"""Builds a data set from coordinates, imagery and OpenStreetMap.

    advance build-dataset --recordings=r.csv --raster=a.tif --labels=a.osm.pbf --dry_run
    advance build-dataset --recordings=r.csv --raster=a.tif --labels=a.osm.pbf \
        --data_dir=OUT
    advance build-dataset … --data_dir=OUT --corrections=corrections.csv

Recordings are a CSV file (file, latitude, longitude, license, author, source), a vector
file of points, a folder whose files hold coordinates (GUANO, ID3, Vorbis), or a search
of Freesound (--freesound; its API key is in FREESOUND_API_KEY). Each becomes a pair of
a random cut and the image around its place, with the scene of OpenStreetMap there, by
Section 3 of the paper. Writes ADVANCE's layout, sites.csv, provenance.csv,
rejected.csv, ATTRIBUTION.txt, DATA_CARD.md, map.html, and review.html to check the
labels, whose corrections.csv --corrections reads. A second run writes only what is
missing or changed.
"""

import dataclasses
import pathlib
from typing import TYPE_CHECKING, Any

from absl import flags
from absl.flags import FlagValues

from advance_tf.cli import startup
from advance_tf.cli.flags import numbers, require

if TYPE_CHECKING:
    from advance_tf.geo.plan import Plan

_KINDS: dict[type, Any] = {
    int: flags.DEFINE_integer,
    float: flags.DEFINE_float,
}


def define(values: FlagValues) -> None:
    """Defines the flags of the command."""
    from advance_tf.geo.plan import BuildSettings

    for name, help in (
        ("recordings", "CSV or vector file of recordings, or a folder of them."),
        ("freesound", "Words to search Freesound for; --recordings: its folder."),
        ("labels", "OpenStreetMap extract of the region (.osm.pbf)."),
        ("rules", "Table of tags and scenes; default: assets/osm_scenes.csv."),
        ("corrections", "Corrections of review.html to apply."),
        ("data_dir", "Folder to write; new, or of an earlier run."),
        ("imagery_credit", "Line that the imagery asks for in ATTRIBUTION.txt."),
    ):
        flags.DEFINE_string(name, None, help, flag_values=values)
    for name, help in (
        ("raster", "Rasters (GeoTIFF, COG, VRT); the first with data is used."),
        ("cloud_masks", "Cloud masks: rasters that are 0 where there is no cloud."),
        ("bands", "Bands of red, green and blue; default: by their colour."),
    ):
        flags.DEFINE_list(name, [], help, flag_values=values)
    flags.DEFINE_bool(
        "dry_run", False, "Print what would be written only.", flag_values=values
    )
    flags.DEFINE_bool("review", True, "Write review.html.", flag_values=values)
    for field in dataclasses.fields(BuildSettings):
        limits = field.metadata
        define = _KINDS[type(field.default)]
        define(
            *(field.name, field.default, limits["help"]),
            lower_bound=limits["minimum"],
            upper_bound=limits["maximum"],
            flag_values=values,
        )


def run(values: FlagValues) -> None:
    """Plans the data set, and writes it without --dry_run."""
    require(values, recordings="recordings", labels="an OpenStreetMap extract")
    if not (values.data_dir or values.dry_run):
        require(values, data_dir="a folder to write")
    if not values.raster:
        raise ValueError("--raster must name at least one raster; received none.")

    from advance_tf.geo import plan as planning
    from advance_tf.geo.corrections import read_corrections
    from advance_tf.geo.imagery import Imagery
    from advance_tf.geo.osm_labels import SceneMap, read_features
    from advance_tf.geo.osm_rules import read_rules
    from advance_tf.geo.recordings import read_recordings

    names = [field.name for field in dataclasses.fields(planning.BuildSettings)]
    given: dict[str, Any] = {name: values[name].value for name in names}
    rules = planning.BuildSettings(**given)
    bands = numbers("bands", values.bands, int)
    table = read_rules(values.rules)
    corrections = read_corrections(values.corrections) if values.corrections else {}
    with Imagery(values.raster, bands=bands, cloud_masks=values.cloud_masks) as imagery:
        features = list(read_features(values.labels, table))
        scene_map = SceneMap(features, rules.ground_metres)
        source = _recordings(values, scene_map.bounds)
        found, rejected = read_recordings(source, bounds=scene_map.bounds)
        plan = planning.plan_dataset(
            *(found, scene_map, imagery, rules),
            rejections=rejected,
            corrections=corrections,
        )
        print(plan.summary())
        if plan.pairs and not values.dry_run:
            _write(values, plan, imagery, rules)
    if not plan.pairs:
        raise ValueError("No recording became a pair; the reasons are above.")


def _recordings(values: FlagValues, bounds: tuple[float, float, float, float]) -> str:
    """The table or folder to read; downloads those of --freesound."""
    if values.freesound is None:
        return str(values.recordings)
    from advance_tf.geo.freesound import download_recordings

    return str(download_recordings(values.recordings, values.freesound, bounds=bounds))


def _write(values: FlagValues, plan: "Plan", imagery: Any, rules: Any) -> None:
    from advance_tf.geo.build import build_dataset

    inputs = {
        "recordings": pathlib.Path(values.recordings).name,
        "raster": ", ".join(pathlib.PurePath(name).name for name in values.raster),
        "labels": pathlib.Path(values.labels).name,
        "corrections": pathlib.Path(values.corrections or "none").name,
    }
    credit = [values.imagery_credit] if values.imagery_credit else []
    result = build_dataset(
        *(plan, imagery, values.data_dir, rules),
        inputs=inputs,
        credits=credit,
        progress=True,
    )
    _write_pages(values, imagery)
    print(
        f"{result.written} pairs written, {result.up_to_date} up to date, "
        f"{len(result.rejections)} rows in rejected.csv: {values.data_dir}"
    )
    if result.failed:
        raise ValueError(
            f"{len(result.failed)} pairs must be written again; the first: "
            f"{result.failed[0].name}: {result.failed[0].reason}. Run the command "
            "again."
        )


def _write_pages(values: FlagValues, imagery: Any) -> None:
    """Writes map.html and review.html."""
    startup.load_tensorflow()

    from advance_tf.reporting.dataset_pages import write_dataset_map, write_review
    from advance_tf.reporting.map_page import Background

    background = Background(*imagery.thumbnail())
    write_dataset_map(values.data_dir, background=background)
    if values.review:
        write_review(values.data_dir)
