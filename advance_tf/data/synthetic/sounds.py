"""Synthesized sound events and their probabilities in each scene."""

from collections.abc import Callable, Sequence

import numpy as np
import scipy.signal

RATE_HZ = 22_050
SECONDS = 10.0
# All waveforms of this module are float64 [_SAMPLES].
_SAMPLES = round(RATE_HZ * SECONDS)
_TIME = np.arange(_SAMPLES) / RATE_HZ


def _band(rng: np.random.Generator, low_hz: float, high_hz: float) -> np.ndarray:
    """Band-limited noise with a standard deviation of 1."""
    sections = scipy.signal.butter(
        2, (low_hz, high_hz), "bandpass", fs=RATE_HZ, output="sos"
    )
    noise: np.ndarray = scipy.signal.sosfilt(sections, rng.normal(size=_SAMPLES))
    return noise / noise.std()


def _harmonics(
    rng: np.random.Generator, pitch_hz: float, count: int, tilt: float
) -> np.ndarray:
    """A harmonic tone; the k-th harmonic has the amplitude k^-tilt."""
    orders = np.arange(1, count + 1)[:, None]
    phases = rng.uniform(0, 2 * np.pi, (count, 1))
    waves = np.sin(2 * np.pi * pitch_hz * orders * _TIME + phases)
    tone: np.ndarray = (waves * orders**-tilt).sum(0)
    return tone


def _bursts(rng: np.random.Generator, per_second: float, seconds: float) -> np.ndarray:
    """An envelope of Hann-shaped bursts at random times."""
    envelope = np.zeros(_SAMPLES)
    length = round(seconds * RATE_HZ)
    shape = np.hanning(length)
    for start in rng.integers(0, _SAMPLES - length, round(per_second * SECONDS)):
        envelope[start : start + length] = shape
    return envelope


def _swell(rng: np.random.Generator, period_seconds: float) -> np.ndarray:
    """A periodic envelope between 0.15 and 1."""
    phase = rng.uniform(0, 2 * np.pi)
    envelope: np.ndarray = np.sin(np.pi * _TIME / period_seconds + phase) ** 2
    return 0.15 + 0.85 * envelope


def _aircraft(rng: np.random.Generator) -> np.ndarray:
    return _swell(rng, 9) * (_band(rng, 80, 900) + _harmonics(rng, 95, 6, 0.5))


def _bird(rng: np.random.Generator) -> np.ndarray:
    pitch = rng.uniform(2800, 4200) + 700 * np.sin(2 * np.pi * 11 * _TIME)
    chirp = np.sin(2 * np.pi * np.cumsum(pitch) / RATE_HZ)
    return chirp * _bursts(rng, 2.5, 0.18) * 3


def _boat_horn(rng: np.random.Generator) -> np.ndarray:
    return _harmonics(rng, rng.uniform(110, 150), 8, 0.7) * _bursts(rng, 0.2, 1.8) * 3


def _car(rng: np.random.Generator) -> np.ndarray:
    return _swell(rng, 4) * _band(rng, 300, 2200)


def _cheering(rng: np.random.Generator) -> np.ndarray:
    return _band(rng, 600, 3000) * _swell(rng, 2.2) + 0.5 * _band(rng, 900, 1200)


def _cricket(rng: np.random.Generator) -> np.ndarray:
    pulses = (np.sin(2 * np.pi * 16 * _TIME) > 0.2) * (np.sin(2 * np.pi * _TIME) > -0.4)
    return np.sin(2 * np.pi * rng.uniform(4600, 5400) * _TIME) * pulses * 2


def _dog(rng: np.random.Generator) -> np.ndarray:
    pitch = rng.uniform(420, 620)
    return _harmonics(rng, pitch, 10, 0.6) * _bursts(rng, 0.8, 0.22) * 3


def _tractor(rng: np.random.Generator) -> np.ndarray:
    strokes = 0.4 + 0.6 * np.abs(np.sin(2 * np.pi * 9 * _TIME)) ** 6
    return _harmonics(rng, rng.uniform(55, 70), 14, 0.4) * strokes


def _train(rng: np.random.Generator) -> np.ndarray:
    joints = np.abs(np.sin(2 * np.pi * 1.3 * _TIME)) ** 40
    return _band(rng, 150, 1500) * (0.25 + 2.5 * joints)


def _waves(rng: np.random.Generator) -> np.ndarray:
    return _band(rng, 200, 6000) * _swell(rng, rng.uniform(4, 6))


def _wind(rng: np.random.Generator) -> np.ndarray:
    return _band(rng, 40, 350) * _swell(rng, rng.uniform(2.5, 7))


def _wood_thump(rng: np.random.Generator) -> np.ndarray:
    return _band(rng, 120, 420) * _bursts(rng, 1.5, 0.08) * 4


# AudioSet's display name → function that synthesizes the event.
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

# Scene → probability of each event; all other events have 0.03.
EVENT_PROBABILITIES: dict[str, dict[str, float]] = {
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
_OTHER_PROBABILITY = 0.03


def draw_events(scene: str, rng: np.random.Generator) -> list[str]:
    """Draws the events of one clip of a scene.

    Args:
        scene: one of the 13 scenes.
        rng: source of random numbers.

    Returns:
        AudioSet's display names, at least one.

    Example:
        >>> draw_events("beach", np.random.default_rng(0))
        ['Car', 'Waves, surf', 'Thump, thud']
    """
    typical = EVENT_PROBABILITIES[scene]
    probabilities = {**dict.fromkeys(SYNTHESES, _OTHER_PROBABILITY), **typical}
    drawn = [name for name, p in probabilities.items() if rng.random() < p]
    return drawn or [max(typical, key=typical.__getitem__)]


def synthesize(events: Sequence[str], rng: np.random.Generator) -> np.ndarray:
    """Synthesizes a clip of ten seconds with the given events and faint noise.

    Args:
        events: display names, keys of `SYNTHESES`.
        rng: source of pitch, times and loudness.

    Returns:
        float32 [220500] at 22,050 Hz, peak 0.5.

    Example:
        >>> wave = synthesize(["Bird", "Wind"], np.random.default_rng(0))
        >>> wave.shape, wave.dtype, round(float(np.abs(wave).max()), 3)
        ((220500,), dtype('float32'), 0.5)
    """
    wave = 0.02 * rng.normal(size=_SAMPLES)
    for event in events:
        wave += rng.uniform(0.5, 1.0) * SYNTHESES[event](rng)
    return (0.5 * wave / np.abs(wave).max()).astype(np.float32)
