"""The table that gives tags of OpenStreetMap a scene."""

import dataclasses
import functools
import pathlib
from collections.abc import Mapping

from advance_tf import labels
from advance_tf.csv_tables import read_table

TABLE = "osm_scenes.csv"
COLUMNS = (
    *("scene", "tags", "priority", "buffer_metres", "least_share", "least_metres"),
)
_ABSENT, _ANY = "-", "*"


@dataclasses.dataclass(frozen=True)
class SceneRule:
    """A row of the table: which features have a scene.

    Attributes:
        scene: one of the 13 scenes.
        tags: conditions, all of which a feature meets: `key=a|b` one of the values,
            `key=*` any value, `-` among the values: or without the key,
            `key!=a|b` none of the values.
        priority: of several features the one with the smallest number is used.
        buffer_metres: places outside of the feature but this near have its scene.
        least_share: least share of the image that the scene's areas cover, for a
            place that is in no feature and near none.
        least_metres: shortest line.
    """

    scene: str
    tags: str
    priority: int
    buffer_metres: float
    least_share: float
    least_metres: float

    @functools.cached_property
    def conditions(self) -> tuple[tuple[str, bool, frozenset[str]], ...]:
        """Key, whether the values are the allowed ones, and the values."""
        found = []
        for condition in self.tags.split():
            key, sign, values = condition.partition("=")
            if not sign or not key.rstrip("!") or not values:
                raise ValueError(
                    "tags must be conditions such as landuse=farm|farmland; received "
                    f"{condition!r}."
                )
            allowed = not key.endswith("!")
            found.append((key.rstrip("!"), allowed, frozenset(values.split("|"))))
        return tuple(found)

    def matches(self, tags: Mapping[str, str]) -> bool:
        """Whether a feature with these tags meets every condition.

        >>> rule = SceneRule("lake", "natural=water water=lake|-", 1, 0, 0.3, 0)
        >>> rule.matches({"natural": "water"})
        True
        >>> rule.matches({"natural": "water", "water": "river"})
        False
        """
        for key, allowed, values in self.conditions:
            value = tags.get(key)
            inside = _ABSENT in values if value is None else value in values
            if allowed and value is not None and _ANY in values:
                inside = True
            if inside != allowed:
                return False
        return True


def read_rules(path: str | pathlib.Path | None = None) -> tuple[SceneRule, ...]:
    """Reads the table of rules.

    Args:
        path: CSV file with the columns of `assets/osm_scenes.csv`; None for that file.

    Returns:
        The rules in the order of the file.

    Raises:
        ValueError: a column is missing, or a value is not valid.

    Example:
        >>> len({rule.scene for rule in read_rules()})
        13
    """
    path = pathlib.Path(path or labels.asset_path(TABLE))
    columns, rows = read_table(path)
    if set(COLUMNS) - set(columns):
        raise ValueError(
            f"{path} must have the columns {', '.join(COLUMNS)}; received "
            f"{', '.join(columns) or 'an empty file'}."
        )
    rules = []
    for line, row in rows:
        try:
            numbers = [float(row[name]) for name in COLUMNS[3:]]
            rule = SceneRule(row["scene"], row["tags"], int(row["priority"]), *numbers)
            if rule.scene not in labels.scenes() or not rule.conditions:
                raise ValueError(f"scene {rule.scene!r} and its tags must be given")
        except ValueError as error:
            raise ValueError(
                f"{path}, line {line}: a rule must have one of the 13 scenes, tags and "
                f"numbers; {error}."
            ) from error
        rules.append(rule)
    return tuple(rules)
