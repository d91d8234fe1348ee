"""Counts the features of each scene in an extract, with two independent readers.

    python -m benchmarks.osm_label_counts liechtenstein.osm.pbf

`read_features` reads with osmium; the other count reads the file with GDAL's driver for
OpenStreetMap and evaluates the conditions of the table anew.
"""

import collections
import sys

import geopandas
import pyproj

from advance_tf import labels
from advance_tf.geo.osm_labels import count_features, read_features
from advance_tf.geo.osm_rules import read_rules

# Layer of GDAL's driver → the feature is an area.
LAYERS = {"points": False, "lines": False, "multipolygons": True}


def count_with_gdal(path, rules):
    """Scene → number of features."""
    found = collections.Counter()
    geod = pyproj.Geod(ellps="WGS84")
    for layer, is_area in LAYERS.items():
        table = geopandas.read_file(path, layer=layer)
        for row in table.to_dict("records"):
            tags = {
                key: value
                for key, value in row.items()
                if isinstance(value, str) and key not in ("other_tags", "osm_id")
            }
            tags |= parse_hstore(row.get("other_tags"))
            for scene in {rule.scene for rule in rules}:
                own = [r for r in rules if r.scene == scene and meets(tags, r.tags)]
                if not own:
                    continue
                length = geod.geometry_length(row["geometry"])
                if layer != "lines" or length >= own[0].least_metres:
                    found[scene] += 1
        print(f"{layer}: {len(table)} features ({'areas' if is_area else 'no areas'})")
    return {scene: found[scene] for scene in labels.scenes()}


def parse_hstore(text):
    """GDAL's `"key"=>"value","key"=>"value"`."""
    if not isinstance(text, str):
        return {}
    return dict(part.split('"=>"', 1) for part in text.strip('"').split('","'))


def meets(tags, conditions):
    """Whether tags meet all conditions, as the documentation of the table states."""
    for condition in conditions.split():
        key, values = condition.replace("!=", "=").split("=", 1)
        value, options = tags.get(key), values.split("|")
        holds = ("*" in options and value is not None) or (value or "-") in options
        if holds == ("!=" in condition):
            return False
    return True


def main():
    """Prints both counts."""
    path = sys.argv[1]
    rules = read_rules()
    osmium = count_features(list(read_features(path, rules)))
    gdal = count_with_gdal(path, rules)
    for scene in labels.scenes():
        print(f"{scene:20} osmium {osmium[scene]:6} GDAL {gdal[scene]:6}")


if __name__ == "__main__":
    main()
