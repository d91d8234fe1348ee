"""Synthesized sound events and how likely each scene lets them be heard."""

from collections.abc import Callable, Sequence

import numpy as np
import scipy.signal

RATE_HZ = 22_050
SECONDS = 10.0
_SAMPLES = round(RATE_HZ * SECONDS)
_TIME = np.arange(_SAMPLES) / RATE_HZ


def _band(rng, low_hz, high_hz) -> np.ndarray:
    """Noise between two frequencies with a deviation of one."""
    filtering = scipy.signal.butter(
        2, (low_hz, high_hz), "bandpass", fs=RATE_HZ, output="sos"
    )
    noise = scipy.signal.sosfilt(filtering, rng.normal(size=_SAMPLES))
    return noise / noise.std()


def _harmonics(rng, pitch_hz, count, tilt) -> np.ndarray:
    orders = np.arange(1, count + 1)[:, None]
    phases = rng.uniform(0, 2 * np.pi, (count, 1))
    waves = np.sin(2 * np.pi * pitch_hz * orders * _TIME + phases)
    return (waves * orders**-tilt).sum(0)


def _bursts(rng, per_second, seconds) -> np.ndarray:
    """An envelope of short decaying bursts at random times."""
    envelope = np.zeros(_SAMPLES)
    length = round(seconds * RATE_HZ)
    shape = np.hanning(length)
    for start in rng.integers(0, _SAMPLES - length, round(per_second * SECONDS)):
        envelope[start : start + length] = shape
    return envelope


def _swell(rng, period_seconds) -> np.ndarray:
    phase = rng.uniform(0, 2 * np.pi)
    return 0.15 + 0.85 * np.sin(np.pi * _TIME / period_seconds + phase) ** 2


def _aircraft(rng):
    return _swell(rng, 9) * (_band(rng, 80, 900) + _harmonics(rng, 95, 6, 0.5))


def _bird(rng):
    pitch = rng.uniform(2800, 4200) + 700 * np.sin(2 * np.pi * 11 * _TIME)
    chirp = np.sin(2 * np.pi * np.cumsum(pitch) / RATE_HZ)
    return chirp * _bursts(rng, 2.5, 0.18) * 3


def _boat_horn(rng):
    return _harmonics(rng, rng.uniform(110, 150), 8, 0.7) * _bursts(rng, 0.2, 1.8) * 3


def _car(rng):
    return _swell(rng, 4) * _band(rng, 300, 2200)


def _cheering(rng):
    return _band(rng, 600, 3000) * _swell(rng, 2.2) + 0.5 * _band(rng, 900, 1200)


def _cricket(rng):
    pulses = (np.sin(2 * np.pi * 16 * _TIME) > 0.2) * (np.sin(2 * np.pi * _TIME) > -0.4)
    return np.sin(2 * np.pi * rng.uniform(4600, 5400) * _TIME) * pulses * 2


def _dog(rng):
    pitch = rng.uniform(420, 620)
    return _harmonics(rng, pitch, 10, 0.6) * _bursts(rng, 0.8, 0.22) * 3


def _tractor(rng):
    strokes = 0.4 + 0.6 * np.abs(np.sin(2 * np.pi * 9 * _TIME)) ** 6
    return _harmonics(rng, rng.uniform(55, 70), 14, 0.4) * strokes


def _train(rng):
    joints = np.abs(np.sin(2 * np.pi * 1.3 * _TIME)) ** 40
    return _band(rng, 150, 1500) * (0.25 + 2.5 * joints)


def _waves(rng):
    return _band(rng, 200, 6000) * _swell(rng, rng.uniform(4, 6))


def _wind(rng):
    return _band(rng, 40, 350) * _swell(rng, rng.uniform(2.5, 7))


def _wood_thump(rng):
    return _band(rng, 120, 420) * _bursts(rng, 1.5, 0.08) * 4


# AudioSet's display name → its synthesis.
SYNTHESES: dict[str, Callable[[np.random.Generator], np.ndarray]] = {
    "Aircraft": _aircraft,
    "Bird": _bird,
    "Foghorn": _boat_horn,
    "Car": _car,
    "Cheering": _cheering,
    "Cricket": _cricket,
    "Dog": _dog,
    "Heavy engine (low frequency)": _tractor,
    "Rail transport": _train,
    "Waves, surf": _waves,
    "Wind": _wind,
    "Thump, thud": _wood_thump,
}

# Scene → probability of hearing each event; the others have 0.03.
HEARD: dict[str, dict[str, float]] = {
    "airport": {"Aircraft": 0.95, "Wind": 0.3, "Car": 0.2},
    "beach": {"Waves, surf": 0.95, "Wind": 0.5, "Dog": 0.2},
    "bridge": {"Car": 0.9, "Waves, surf": 0.3, "Thump, thud": 0.5},
    "farmland": {"Heavy engine (low frequency)": 0.85, "Bird": 0.3, "Wind": 0.3},
    "forest": {"Bird": 0.9, "Wind": 0.4, "Cricket": 0.2},
    "grassland": {"Cricket": 0.8, "Wind": 0.6, "Bird": 0.3},
    "harbour": {"Foghorn": 0.8, "Waves, surf": 0.6, "Bird": 0.2},
    "lake": {"Bird": 0.5, "Waves, surf": 0.3, "Cricket": 0.5},
    "orchard": {"Bird": 0.7, "Heavy engine (low frequency)": 0.4, "Cricket": 0.4},
    "residential": {"Car": 0.6, "Dog": 0.7, "Bird": 0.3},
    "sparse shrub land": {"Wind": 0.9, "Cricket": 0.5},
    "sports land": {"Cheering": 0.95, "Thump, thud": 0.5},
    "train station": {"Rail transport": 0.95, "Car": 0.2},
}
_ELSEWHERE = 0.03


def draw_events(scene: str, rng: np.random.Generator) -> list[str]:
    """The events that are heard in one clip of a scene.

    Args:
        scene: one of the 13.
        rng: decides which.

    Returns:
        Display names, at least one.
    """
    chances = {**dict.fromkeys(SYNTHESES, _ELSEWHERE), **HEARD[scene]}
    drawn = [name for name, chance in chances.items() if rng.random() < chance]
    return drawn or [max(HEARD[scene], key=HEARD[scene].__getitem__)]


def synthesize(events: Sequence[str], rng: np.random.Generator) -> np.ndarray:
    """Ten seconds in which the events sound together, over a faint noise.

    Args:
        events: display names among `SYNTHESES`.
        rng: decides pitch, times and loudness.

    Returns:
        float32 [220500] at 22,050 Hz, peak 0.5.
    """
    wave = 0.02 * rng.normal(size=_SAMPLES)
    for event in events:
        wave += rng.uniform(0.5, 1.0) * SYNTHESES[event](rng)
    return (0.5 * wave / np.abs(wave).max()).astype(np.float32)
