"""Scenes from OpenStreetMap: the features of an extract, the label of a place."""

import collections
import dataclasses
import pathlib
from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from advance_tf import labels
from advance_tf.extras import requires_extra
from advance_tf.geo.osm_rules import SceneRule
from advance_tf.geo.projection import local_transformer, longitude_range

if TYPE_CHECKING:
    from shapely.geometry.base import BaseGeometry

# Features of each scene that the evidence of a pair lists.
_LISTED = 5


@dataclasses.dataclass(frozen=True, eq=False)
class Feature:
    """A feature of OpenStreetMap that has a scene.

    Attributes:
        osm_id: "n", "w" or "r" (node, way, relation) and the number.
        tags: its tags that the rule names.
        rule: the rule that it meets.
        geometry: point, line or area in degrees (longitude, latitude).
    """

    osm_id: str
    tags: Mapping[str, str]
    rule: SceneRule
    geometry: "BaseGeometry"


@dataclasses.dataclass(frozen=True)
class Label:
    """The scene of a place, with its evidence.

    Attributes:
        scene: the scene, "" for none.
        rule: "inside", "buffer" or "share", "" for none.
        reason: why there is no scene, "" otherwise.
        evidence: what decided: `features` (each osm id, tags and distance in metres)
            and `shares` (scene → share of the image that its areas cover).
    """

    scene: str
    rule: str
    reason: str
    evidence: Mapping[str, Any]


def read_features(
    path: str | pathlib.Path, rules: Sequence[SceneRule]
) -> Iterator[Feature]:
    """Reads the features of an extract that have a scene.

    A feature that meets several rules is returned once for each scene, with the first
    of its rules. Closed ways and multipolygons are areas, other ways are lines; lines
    shorter than `least_metres` are left out.

    Args:
        path: OpenStreetMap file (.osm.pbf, .osm, …).
        rules: the rules, see `read_rules`.

    Yields:
        The features in the order of the file, areas last.

    Raises:
        ValueError: the file cannot be read.
        ImportError: the extra `geo` is not installed.
    """
    with requires_extra("geo"):
        import osmium
        import shapely

    keys = sorted({k for rule in rules for k, yes, _ in rule.conditions if yes})
    factory = osmium.geom.WKBFactory()
    named = osmium.filter.KeyFilter(*keys)
    processor = (
        osmium.FileProcessor(str(path))
        .with_locations()
        .with_areas(named)
        .with_filter(named)
    )
    item: Any
    try:
        for item in processor:
            if item.is_relation():
                continue
            tags = {tag.k: tag.v for tag in item.tags}
            matching: dict[str, SceneRule] = {}
            for rule in rules:
                if rule.matches(tags):
                    matching.setdefault(rule.scene, rule)
            # osmium builds an area of each closed way.
            closed = item.is_way() and item.is_closed() and tags.get("area") != "no"
            if not matching or closed:
                continue
            try:
                geometry = shapely.from_wkb(_wkb(factory, item))
            except (RuntimeError, osmium.InvalidLocationError):
                # A way with less than two nodes, or with a node outside the extract.
                continue
            for rule in matching.values():
                if geometry.geom_type != "LineString" or (
                    _metres_long(geometry) >= rule.least_metres
                ):
                    used = {k: tags[k] for k, _, _ in rule.conditions if k in tags}
                    yield Feature(_osm_id(item), used, rule, geometry)
    except RuntimeError as error:
        raise ValueError(
            f"labels must name an OpenStreetMap extract; reading {path} failed: "
            f"{error}. Download a .osm.pbf file of the region."
        ) from error


def _wkb(factory: Any, item: Any) -> str:
    if item.is_node():
        return factory.create_point(item)
    if item.is_way():
        return factory.create_linestring(item)
    return factory.create_multipolygon(item)


def _osm_id(item: Any) -> str:
    if item.is_area():
        return f"{'w' if item.from_way() else 'r'}{item.orig_id()}"
    return f"{'n' if item.is_node() else 'w'}{item.id}"


def _metres_long(line: "BaseGeometry") -> float:
    import pyproj

    return float(pyproj.Geod(ellps="WGS84").geometry_length(line))


def count_features(features: Sequence[Feature]) -> dict[str, int]:
    """Counts the features of each scene.

    Args:
        features: the features.

    Returns:
        Scene → number, for every scene.
    """
    found = collections.Counter(feature.rule.scene for feature in features)
    return {scene: found[scene] for scene in labels.scenes()}


class SceneMap:
    """Finds the scene of a place in OpenStreetMap.

    The scene of a place is that of the features that it is in; a node or a line
    reaches as far as its `buffer_metres`. Else it is that of the areas within their
    `buffer_metres`. Of several features the one of the smallest `priority` decides,
    then the nearest. Else it is the scene whose areas cover the largest share of the
    image, at least `least_share`. Else the place has none.

    Args:
        features: features of `read_features`.
        ground_metres: side of the square image of a place.

    Raises:
        ValueError: there is no feature.
        ImportError: the extra `geo` is not installed.

    Example:
        >>> import shapely
        >>> from advance_tf.geo.osm_rules import SceneRule
        >>> rule = SceneRule("lake", "natural=water", 1, 0, 0.3, 0)
        >>> area = shapely.box(9.50, 47.0, 9.51, 47.1)
        >>> scenes = SceneMap([Feature("w1", {}, rule, area)], ground_metres=500)
        >>> scenes.label(47.05, 9.505).scene, scenes.label(47.05, 9.4999).rule
        ('lake', 'share')
    """

    def __init__(self, features: Sequence[Feature], ground_metres: float) -> None:
        with requires_extra("geo"):
            import pyproj  # noqa: F401
            import shapely
        self.features = tuple(features)
        if not self.features:
            raise ValueError(
                "labels must have at least one feature of a scene; received none. Use "
                "an extract of the region of the recordings, or another table of rules."
            )
        self.ground_metres = ground_metres
        self._tree = shapely.STRtree([f.geometry for f in self.features])
        buffers = [feature.rule.buffer_metres for feature in self.features]
        self._reach = max([ground_metres / 2, *buffers])

    @property
    def bounds(self) -> tuple[float, float, float, float]:
        """West, south, east and north in degrees of all features.

        East is more than 180 where they are on both sides of the 180th meridian.
        """
        import shapely

        every = shapely.bounds(self._tree.geometries)  # [n, 4]
        west, east = longitude_range(every[:, [0, 2]].ravel().tolist())
        return west, float(every[:, 1].min()), east, float(every[:, 3].max())

    def label(self, latitude: float, longitude: float) -> Label:
        """Finds the scene of a place.

        Args:
            latitude: degrees north.
            longitude: degrees east.

        Returns:
            The scene and its evidence, or the reason why there is none.
        """
        import shapely

        near = self._near(latitude, longitude)  # in metres around the place
        place = shapely.Point(0, 0)
        distances = [geometry.distance(place) for _, geometry in near]
        inside = [
            (feature, 0.0)
            for (feature, geometry), metres in zip(near, distances, strict=True)
            # A node or a line is as wide as its buffer.
            if metres <= (0 if geometry.area > 0 else feature.rule.buffer_metres)
        ]
        buffered = [
            (feature, metres)
            for (feature, _), metres in zip(near, distances, strict=True)
            if metres <= feature.rule.buffer_metres
        ]
        shares, least = self._shares(near)
        shown = {scene: round(share, 4) for scene, share in shares.items()}
        for rule, found in (("inside", inside), ("buffer", buffered)):
            if found:
                found.sort(key=lambda one: (one[0].rule.priority, one[1]))
                scene = found[0][0].rule.scene
                return Label(scene, rule, "", _evidence(found, shown))
        enough = [scene for scene in shares if shares[scene] >= least[scene]]
        if enough:
            scene = max(enough, key=lambda name: shares[name])
            found = [
                (feature, metres)
                for (feature, geometry), metres in zip(near, distances, strict=True)
                if feature.rule.scene == scene and geometry.area > 0
            ]
            found.sort(key=lambda one: one[1])
            return Label(scene, "share", "", _evidence(found, shown))
        reason = "no feature of a scene at or near the place"
        if shares:
            largest = max(shares, key=lambda name: shares[name])
            reason += (
                f"; {largest} covers most of the image, {shares[largest]:.1%} of at "
                f"least {least[largest]:.0%}"
            )
        return Label("", "", reason, _evidence([], shown))

    def _near(
        self, latitude: float, longitude: float
    ) -> list[tuple[Feature, "BaseGeometry"]]:
        """The features that may matter, in metres east and north of the place."""
        import shapely

        reach = self._reach * 1.01 + 1
        north = reach / 110_500
        east = north / max(np.cos(np.radians(latitude)), 1e-6)
        # Also across the 180th meridian, where longitudes differ by a turn.
        boxes = [
            shapely.box(
                middle - east, latitude - north, middle + east, latitude + north
            )
            for middle in (longitude - 360, longitude, longitude + 360)
        ]
        forward = local_transformer(latitude, longitude).transform
        found = []
        for index in np.unique(self._tree.query(boxes)[1]):
            feature = self.features[index]
            local = shapely.transform(feature.geometry, forward, interleaved=False)
            found.append((feature, local if local.is_valid else local.buffer(0)))
        return found

    def _shares(
        self, near: Sequence[tuple[Feature, "BaseGeometry"]]
    ) -> tuple[dict[str, float], dict[str, float]]:
        """Scene → share of the image, and the least share that is needed."""
        import shapely

        half = self.ground_metres / 2
        tile = shapely.box(-half, -half, half, half)
        parts = collections.defaultdict(list)
        least: dict[str, float] = {}
        for feature, geometry in near:
            if geometry.area > 0 and geometry.intersects(tile):
                scene = feature.rule.scene
                parts[scene].append(geometry.intersection(tile))
                own = feature.rule.least_share
                least[scene] = min(own, least.get(scene, own))
        shares = {
            scene: float(shapely.union_all(own).area / tile.area)
            for scene, own in parts.items()
        }
        return {scene: share for scene, share in shares.items() if share > 0}, least


def _evidence(
    found: Sequence[tuple[Feature, float]], shares: Mapping[str, float]
) -> dict[str, Any]:
    return {
        "features": [
            {
                "id": feature.osm_id,
                "scene": feature.rule.scene,
                "tags": dict(feature.tags),
                "metres": round(metres, 1),
            }
            for feature, metres in found[:_LISTED]
        ],
        "shares": dict(shares),
    }
