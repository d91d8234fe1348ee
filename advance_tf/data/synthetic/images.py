"""Synthetic aerial images of the 13 scenes."""

from collections.abc import Callable, Sequence

import numpy as np

# Height and width in pixels.
SIDE = 160

# float64 [SIDE, SIDE, 3], clipped to [0, 255] at the end.
Canvas = np.ndarray
Color = Sequence[float]


def _noise(rng: np.random.Generator, cell: int) -> np.ndarray:
    """Smooth noise [SIDE, SIDE] in [0, 1] with structures of about `cell` pixels."""
    count = SIDE // cell + 3
    coarse = rng.random((count, count))
    position = np.linspace(0, count - 1.001, SIDE)
    left = position.astype(int)
    weight = position - left
    # Bilinear interpolation: [SIDE, count], then [SIDE, SIDE].
    rows = coarse[left] * (1 - weight)[:, None] + coarse[left + 1] * weight[:, None]
    smooth: np.ndarray = rows[:, left] * (1 - weight) + rows[:, left + 1] * weight
    return smooth


def _ground(
    rng: np.random.Generator, color: Color, cell: int = 20, spread: float = 50.0
) -> Canvas:
    """A canvas [SIDE, SIDE, 3] of one colour with uneven brightness."""
    shade = (_noise(rng, cell) - 0.5) * spread
    canvas: Canvas = np.asarray(color, float) + shade[..., None]
    return canvas


def _rotated_coordinates(rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """Coordinates of every pixel relative to the centre, rotated by a random angle."""
    y, x = np.mgrid[:SIDE, :SIDE] - SIDE / 2.0
    angle = rng.uniform(0, np.pi)
    return (
        x * np.cos(angle) + y * np.sin(angle),
        y * np.cos(angle) - x * np.sin(angle),
    )


def _paint(canvas: Canvas, where: np.ndarray, color: Color) -> None:
    """Paints the pixels of a mask [SIDE, SIDE] with a colour, slightly transparent."""
    canvas[where] = 0.15 * canvas[where] + 0.85 * np.asarray(color, float)


def _dots(
    canvas: Canvas,
    rng: np.random.Generator,
    centres: np.ndarray,
    radius: float,
    color: Color,
) -> None:
    """Paints discs of varying size at the centres [n, 2]."""
    y, x = np.mgrid[:SIDE, :SIDE]
    for row, column in centres:
        size = radius * rng.uniform(0.7, 1.3)
        _paint(canvas, (y - row) ** 2 + (x - column) ** 2 < size**2, color)


def _airport(rng: np.random.Generator) -> Canvas:
    canvas = _ground(rng, (120, 150, 90))
    along, across = _rotated_coordinates(rng)
    _paint(canvas, np.abs(across) < 22, (110, 110, 115))
    _paint(canvas, (np.abs(across) < 2) & (along % 20 < 11), (245, 245, 245))
    return canvas


def _beach(rng: np.random.Generator) -> Canvas:
    canvas = _ground(rng, (225, 205, 160), spread=20)
    along, across = _rotated_coordinates(rng)
    shore = 8 * np.sin(along / 14 + rng.uniform(0, 6)) + rng.uniform(-20, 20)
    _paint(canvas, across > shore, (40, 120, 165))
    _paint(canvas, np.abs(across - shore) < 5, (245, 250, 250))
    return canvas


def _bridge(rng: np.random.Generator) -> Canvas:
    canvas = _ground(rng, (45, 85, 110), cell=12, spread=25)
    along, across = _rotated_coordinates(rng)
    _paint(canvas, np.abs(across) < 9, (170, 165, 160))
    _paint(canvas, np.abs(along) > 64, (95, 130, 70))
    return canvas


def _farmland(rng: np.random.Generator) -> Canvas:
    canvas = _ground(rng, (150, 135, 70))
    along, across = _rotated_coordinates(rng)
    _paint(canvas, across % 9 < 4, (90, 125, 55))
    _paint(canvas, along % 75 < 4, (170, 150, 110))
    return canvas


def _forest(rng: np.random.Generator) -> Canvas:
    canvas = _ground(rng, (30, 62, 32), cell=6, spread=70)
    _dots(canvas, rng, rng.uniform(0, SIDE, (60, 2)), 5, (20, 48, 24))
    return canvas


def _grassland(rng: np.random.Generator) -> Canvas:
    return _ground(rng, (125, 165, 80), cell=40, spread=35)


def _harbour(rng: np.random.Generator) -> Canvas:
    canvas = _ground(rng, (40, 75, 105), cell=15, spread=15)
    along, across = _rotated_coordinates(rng)
    _paint(canvas, along % 50 < 6, (150, 145, 140))
    _paint(
        canvas, (along % 50 > 12) & (along % 50 < 32) & (across % 11 < 5), (240,) * 3
    )
    return canvas


def _lake(rng: np.random.Generator) -> Canvas:
    canvas = _ground(rng, (80, 115, 60), cell=14)
    along, across = _rotated_coordinates(rng)
    bumps = 1 + 0.35 * (_noise(rng, 25) - 0.5)
    _paint(canvas, np.hypot(along / 1.4, across) * bumps < 44, (35, 80, 120))
    return canvas


def _orchard(rng: np.random.Generator) -> Canvas:
    canvas = _ground(rng, (165, 140, 100))
    along, across = _rotated_coordinates(rng)
    trees = np.hypot(along % 16 - 8, across % 16 - 8) < 5.5
    _paint(canvas, trees, (50, 95, 45))
    return canvas


def _residential(rng: np.random.Generator) -> Canvas:
    canvas = _ground(rng, (115, 130, 90), cell=10, spread=40)
    along, across = _rotated_coordinates(rng)
    _paint(canvas, across % 52 < 8, (120, 120, 125))
    houses = (across % 52 > 17) & (across % 52 < 42) & (along % 28 < 18)
    _paint(canvas, houses, rng.choice([(165, 75, 55), (150, 90, 75), (130, 70, 60)]))
    return canvas


def _sparse_shrub_land(rng: np.random.Generator) -> Canvas:
    canvas = _ground(rng, (190, 160, 120), cell=30, spread=40)
    _dots(canvas, rng, rng.uniform(0, SIDE, (22, 2)), 4, (90, 95, 60))
    return canvas


def _sports_land(rng: np.random.Generator) -> Canvas:
    canvas = _ground(rng, (130, 135, 120))
    along, across = _rotated_coordinates(rng)
    track = np.hypot(np.maximum(np.abs(along) - 28, 0), across)
    _paint(canvas, track < 42, (185, 80, 60))
    _paint(canvas, track < 30, (70, 150, 65))
    _paint(canvas, (track < 30) & (np.abs(along) < 1.5), (240,) * 3)
    return canvas


def _train_station(rng: np.random.Generator) -> Canvas:
    canvas = _ground(rng, (125, 115, 108), cell=8, spread=30)
    along, across = _rotated_coordinates(rng)
    _paint(canvas, (across % 13 < 2) & (np.abs(across) < 52), (60, 55, 55))
    _paint(canvas, (np.abs(across % 65 - 32) < 6) & (np.abs(along) < 60), (215,) * 3)
    return canvas


# Scene → function that draws it.
PAINTERS: dict[str, Callable[[np.random.Generator], Canvas]] = {
    "airport": _airport,
    "beach": _beach,
    "bridge": _bridge,
    "farmland": _farmland,
    "forest": _forest,
    "grassland": _grassland,
    "harbour": _harbour,
    "lake": _lake,
    "orchard": _orchard,
    "residential": _residential,
    "sparse shrub land": _sparse_shrub_land,
    "sports land": _sports_land,
    "train station": _train_station,
}


def paint(scene: str, rng: np.random.Generator) -> np.ndarray:
    """Draws one synthetic aerial image.

    Args:
        scene: one of the 13 scenes.
        rng: source of angle, position, colour and noise.

    Returns:
        uint8 [160, 160, 3].

    Example:
        >>> paint("beach", np.random.default_rng(0)).shape
        (160, 160, 3)
    """
    canvas = PAINTERS[scene](rng) * rng.uniform(0.8, 1.2)
    canvas += rng.normal(0, 10, canvas.shape)
    return np.clip(np.round(canvas), 0, 255).astype(np.uint8)
