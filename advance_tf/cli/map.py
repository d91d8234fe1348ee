"""Writes the map of results as one HTML file without external resources.

    advance map --results=results.geojson
    advance map --results=results.geojson --raster=a.tif --output=map.html

Shows the places of `advance predict --places` on the world's coastline, or on the
thumbnail of --raster: coloured and filtered by scene and confidence; a click on a place
shows its image, sound, probabilities and events. The default file is that of --results
with the ending .html.
"""

import pathlib

from absl import flags
from absl.flags import FlagValues

from advance_tf.cli import startup
from advance_tf.cli.flags import require
from advance_tf.files import check_output


def define(values: FlagValues) -> None:
    """Defines the flags of the command."""
    for name, help in (
        ("results", "Table of results: .geojson, .geoparquet, .parquet or .csv."),
        ("raster", "Raster whose thumbnail is below the places."),
        ("output", "HTML file; default: as --results, with the ending .html."),
        ("media_folder", "Folder that relative paths of images and sounds begin at."),
        ("title", "Heading; default: the name of the table."),
    ):
        flags.DEFINE_string(name, None, help, flag_values=values)
    flags.DEFINE_integer(
        "media_limit",
        100,
        "Number of places whose image and sound are in the page; about 0.1 MB each.",
        0,
        flag_values=values,
    )


def run(values: FlagValues) -> None:
    """Writes the map of --results."""
    require(values, results="a table of results")
    source = pathlib.Path(values.results)
    output = pathlib.Path(values.output or source.with_suffix(".html"))
    check_output(output, ".html")

    from advance_tf.geo.results import read_parameters, read_results

    results = read_results(source)
    label = str(read_parameters(source).get("label", ""))
    startup.load_tensorflow()

    from advance_tf.reporting.map_page import Background, write_map

    background = None
    if values.raster:
        from advance_tf.geo.imagery import Imagery

        with Imagery([values.raster]) as imagery:
            background = Background(*imagery.thumbnail())
    answered = sum(one.ok for one in results)
    shown = write_map(
        results,
        output,
        title=values.title or source.stem,
        chips={"rows": str(len(results)), "answered": str(answered)},
        notice=f"model trained on {label}" if label else "",
        background=background,
        media_limit=values.media_limit,
        media_folder=values.media_folder or "",
    )
    print(f"{len(shown.places)} of {len(results)} rows are on the map {output}.")
