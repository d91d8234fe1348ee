"""The plan of a data set: which recordings become pairs, and why others do not."""

import collections
import dataclasses
import logging
from collections.abc import Mapping, Sequence

import soundfile

from advance_tf import labels
from advance_tf.config_fields import Validated, setting
from advance_tf.data.pairing import Pair
from advance_tf.data.places import Place, cluster_places
from advance_tf.data.recordings import ClipRule
from advance_tf.files import join_names
from advance_tf.geo.balance import DROPPED, SHIFTED, balance_scenes, shift_place
from advance_tf.geo.corrections import Correction
from advance_tf.geo.imagery import Imagery, Tile
from advance_tf.geo.osm_labels import Label, SceneMap
from advance_tf.geo.recordings import Recording, Rejection

_log = logging.getLogger(__name__)

# Side in pixels of the image that is checked for data and clouds.
_CHECK_PIXELS = 64
_MAX_SITES = 99_999
# Reasons that a summary lists.
_SHOWN = 20


@dataclasses.dataclass(frozen=True)
class BuildSettings(Validated):
    """Settings of `build_dataset` (Section 3 of the paper).

    The limits of each value are those of the flags of `advance build-dataset`.
    """

    ground_metres: float = setting(
        256.0, "Side of the square image on the ground in metres.", above=0.0
    )
    pixels: int = setting(512, "Side of the image in pixels.", minimum=16)
    site_metres: float = setting(
        500.0, "Places nearer than this are one site; in metres.", minimum=0.0
    )
    shift_metres: float = setting(
        50.0, "Shift of the additional images of rare scenes in metres.", above=0.0
    )
    least_pairs: int = setting(
        10, "Drop scenes with fewer pairs; ADVANCE: 10.", minimum=1
    )
    shift_below: int = setting(
        100, "Add four shifted images to scenes with fewer pairs; 0: never.", minimum=0
    )
    min_seconds: float = setting(
        2.0, "Drop shorter recordings; in seconds.", minimum=0.0
    )
    clip_seconds: float = setting(
        10.0, "Length of the random cut in seconds.", above=0.0
    )
    rate_hz: int = setting(
        22_050, "Sampling rate of the clips in Hz; 0: as recorded.", minimum=0
    )
    max_missing: float = setting(
        0.02, "Largest share of an image without data.", minimum=0.0, maximum=1.0
    )
    max_cloud: float = setting(
        0.1, "Largest share of an image in the cloud masks.", minimum=0.0, maximum=1.0
    )
    seed: int = setting(0, "Seed of the random cuts.", minimum=0)

    def __post_init__(self) -> None:
        """Raises ValueError for values that are out of range."""
        super().__post_init__()
        self.clip_rule(self.seed)

    def clip_rule(self, cut_seed: int) -> ClipRule:
        """The rule of a clip.

        Args:
            cut_seed: seed of its random cut.

        Returns:
            Sampling rate, minimum length and cut.
        """
        return ClipRule(self.rate_hz, self.min_seconds, self.clip_seconds, cut_seed)


@dataclasses.dataclass(frozen=True, eq=False)
class PlannedPair:
    """A pair that is to be written.

    Attributes:
        pair: stem, scene, site, and the paths of image and sound.
        recording: the recording of its clip.
        seconds: length of the recording.
        shift: "north", "east", "south" or "west" of a shifted image, "" otherwise.
        latitude: degrees north of the centre of the image.
        longitude: degrees east.
        cut_seed: seed of the random cut.
        label: scene and evidence.
        imagery: source, date and resolution of the image.
    """

    pair: Pair
    recording: Recording
    seconds: float
    shift: str
    latitude: float
    longitude: float
    cut_seed: int
    label: Label
    imagery: Tile


@dataclasses.dataclass(frozen=True, eq=False)
class Plan:
    """All pairs of a data set, and what was left out.

    Attributes:
        pairs: the pairs, sorted by scene and stem.
        rejections: recordings and shifted images that become no pair.
        received: number of recordings and rows that were given.
    """

    pairs: tuple[PlannedPair, ...]
    rejections: tuple[Rejection, ...]
    received: int

    @property
    def counts(self) -> dict[str, int]:
        """Scene → number of pairs, for every scene."""
        found = collections.Counter(one.pair.scene for one in self.pairs)
        return {scene: found[scene] for scene in labels.scenes()}

    def summary(self) -> str:
        """Pairs and sites of each scene, and what was left out, as text."""
        sites: dict[str, set[str]] = collections.defaultdict(set)
        for one in self.pairs:
            sites[one.pair.scene].add(one.pair.site)
        lines = [
            f"{scene:20} {count:6} pairs {len(sites[scene]):6} sites"
            for scene, count in self.counts.items()
        ]
        used = {one.recording.name for one in self.pairs}
        lines.append(f"{len(used)} of {self.received} recordings are used.")
        reasons = collections.Counter((r.step, r.reason) for r in self.rejections)
        lines += [
            f"left out {count:6}  {step}: {reason}"
            for (step, reason), count in reasons.most_common(_SHOWN)
        ]
        return "\n".join(lines)

    def places(self, site_metres: float) -> dict[str, Place]:
        """Stem → place of each pair, for sites.csv."""
        return {
            one.pair.stem: Place(
                *(one.pair.site, one.latitude, one.longitude),
                recording=one.recording.name,
                site_metres=site_metres,
            )
            for one in self.pairs
        }


@dataclasses.dataclass(frozen=True, eq=False)
class _Candidate:
    """A labelled recording or a shifted image of it, before balance and sites."""

    recording: Recording
    seconds: float
    label: Label
    imagery: Tile
    shift: str = ""
    latitude: float = 0.0
    longitude: float = 0.0


def plan_dataset(
    recordings: Sequence[Recording],
    scene_map: SceneMap,
    imagery: Imagery,
    settings: BuildSettings | None = None,
    *,
    rejections: Sequence[Rejection] = (),
    corrections: Mapping[tuple[str, str], Correction] | None = None,
) -> Plan:
    """Decides for each recording whether and how it becomes a pair.

    The steps are: length of the recording; scene of its place; data and clouds in
    its image; decisions of a review; balance of the scenes; sites. Every recording
    is in the pairs or in the rejections.

    Args:
        recordings: recordings with coordinates, see `read_recordings`.
        scene_map: scenes of places.
        imagery: open rasters.
        settings: rules; None for those of the paper.
        rejections: what earlier steps left out.
        corrections: decisions of a review, see `read_corrections`.

    Returns:
        The plan; nothing is written.

    Raises:
        ValueError: there are more than 99,999 sites.
    """
    rules, decided = settings or BuildSettings(), corrections or {}
    rejected = list(rejections)
    received = len(recordings) + len(rejected)
    found: list[_Candidate] = []
    known = {one.name for one in recordings} | {one.name for one in rejected}
    if unknown := sorted({name for name, _ in decided} - known):
        _log.warning(
            "Corrections name recordings that are not given: %s.", join_names(unknown)
        )
    for recording in recordings:
        one = _candidate(recording, scene_map, imagery, rules, decided)
        (rejected if isinstance(one, Rejection) else found).append(one)  # type: ignore[arg-type]
    fate = balance_scenes(
        [one.label.scene for one in found],
        least_pairs=rules.least_pairs,
        shift_below=rules.shift_below,
    )
    counts = collections.Counter(one.label.scene for one in found)
    kept: list[_Candidate] = []

    def too_rare(name: str, scene: str) -> Rejection:
        reason = (
            f"{scene} has {counts[scene]} pairs; a scene needs at least "
            f"{rules.least_pairs}"
        )
        return Rejection(name, "balance", reason)

    for one in found:
        scene = one.label.scene
        if fate[scene] == DROPPED:
            rejected.append(too_rare(one.recording.name, scene))
            continue
        kept.append(one)
        if fate[scene] == SHIFTED:
            for more in _shifted(one, imagery, rules, decided):
                # The review may have moved the image to another scene.
                if (
                    isinstance(more, _Candidate)
                    and fate.get(more.label.scene, DROPPED) == DROPPED
                ):
                    name = f"{one.recording.name}, shifted to the {more.shift}"
                    more = too_rare(name, more.label.scene)
                (rejected if isinstance(more, Rejection) else kept).append(more)  # type: ignore[arg-type]
    return Plan(_named(kept, rules), tuple(rejected), received)


def _candidate(
    recording: Recording,
    scene_map: SceneMap,
    imagery: Imagery,
    rules: BuildSettings,
    decided: Mapping[tuple[str, str], Correction],
) -> _Candidate | Rejection:
    """The recording with its scene and imagery, or why it is left out."""
    name, place = recording.name, (recording.latitude, recording.longitude)
    try:
        sound = soundfile.info(recording.file)
    except (soundfile.SoundFileError, OSError, TypeError) as error:
        return Rejection(name, "recording", f"the recording cannot be read: {error}")
    seconds = sound.frames / sound.samplerate
    if seconds < rules.min_seconds:
        reason = (
            f"it lasts {seconds:.2f} s; at least {rules.min_seconds:g} s are needed"
        )
        return Rejection(name, "recording", reason)
    decision = decided.get((name, ""))
    label = scene_map.label(*place)
    if decision and decision.decision == "reject":
        reason = f"rejected in the review. {decision.remark}".strip()
        return Rejection(name, "review", reason)
    if decision and decision.decision == "correct":
        label = dataclasses.replace(label, scene=decision.scene, rule="review")
    if not label.scene:
        return Rejection(name, "label", label.reason)
    tile = _read_tile(imagery, place, rules)
    if isinstance(tile, str):
        return Rejection(name, "imagery", tile)
    return _Candidate(recording, seconds, label, tile, "", *place)


def _read_tile(
    imagery: Imagery, place: tuple[float, float], rules: BuildSettings
) -> Tile | str:
    """The image that is checked, or why it cannot be used."""
    try:
        tile = imagery.tile(*place, rules.ground_metres, _CHECK_PIXELS)
    except ValueError as error:
        return str(error)
    return _tile_problem(tile, rules) or tile


def _tile_problem(tile: Tile, rules: BuildSettings) -> str:
    """Why an image cannot be used, "" for one that can."""
    if tile.missing >= 1:
        return "no raster covers the place"
    if tile.missing > rules.max_missing:
        return (
            f"{tile.missing:.1%} of the image has no data; at most "
            f"{rules.max_missing:.0%} may"
        )
    if tile.cloud > rules.max_cloud:
        return (
            f"{tile.cloud:.1%} of the image is cloud; at most {rules.max_cloud:.0%} may"
        )
    return ""


def _shifted(
    one: _Candidate,
    imagery: Imagery,
    rules: BuildSettings,
    decided: Mapping[tuple[str, str], Correction],
) -> list[_Candidate | Rejection]:
    """The four shifted images of a pair, or why one is left out."""
    found: list[_Candidate | Rejection] = []
    moved = shift_place(one.latitude, one.longitude, rules.shift_metres)
    for shift, place in moved.items():
        name = f"{one.recording.name}, shifted to the {shift}"
        decision, label = decided.get((one.recording.name, shift)), one.label
        if decision and decision.decision == "reject":
            reason = f"rejected in the review. {decision.remark}".strip()
            found.append(Rejection(name, "review", reason))
            continue
        if decision and decision.decision == "correct":
            label = dataclasses.replace(label, scene=decision.scene, rule="review")
        tile = _read_tile(imagery, place, rules)
        if isinstance(tile, str):
            found.append(Rejection(name, "imagery", tile))
            continue
        found.append(
            dataclasses.replace(
                one,
                label=label,
                imagery=tile,
                shift=shift,
                latitude=place[0],
                longitude=place[1],
            )
        )
    return found


def _named(kept: Sequence[_Candidate], rules: BuildSettings) -> tuple[PlannedPair, ...]:
    """Sites, stems and seeds of the pairs, sorted by scene and stem."""
    sites = cluster_places(
        [one.latitude for one in kept],
        [one.longitude for one in kept],
        site_metres=rules.site_metres,
        tile_metres=rules.ground_metres,
        recordings=[one.recording.name for one in kept],
    )
    if len(sites) and sites.max() >= _MAX_SITES:
        raise ValueError(
            f"A data set may have at most {_MAX_SITES:,} sites; received "
            f"{sites.max() + 1:,}. Build several data sets, or raise `site_metres`."
        )
    numbers: collections.Counter[int] = collections.Counter()
    shifts = ("", *shift_place(0, 0, 1))
    pairs = []
    for one, number in zip(kept, sites.tolist(), strict=True):
        numbers[number] += 1
        site = f"{number + 1:05d}"
        stem, scene = f"{site}_{numbers[number]}", one.label.scene
        names = (f"vision/{scene}/{stem}.jpg", f"sound/{scene}/{stem}.wav")
        pairs.append(
            PlannedPair(
                Pair(stem, scene, site, *names),
                one.recording,
                one.seconds,
                one.shift,
                one.latitude,
                one.longitude,
                # A cut of its own for each image of a recording.
                len(shifts) * rules.seed + shifts.index(one.shift),
                one.label,
                one.imagery,
            )
        )
    pairs.sort(key=lambda one: (one.pair.scene, one.pair.stem))
    return tuple(pairs)
