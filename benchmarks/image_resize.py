"""Compares `image_resize` with Pillow, and its interpolations with one another.

    python -m benchmarks.image_resize --images='ADVANCE/vision/*/*.jpg' [--count=6]

Prints, for every image: its size, the largest and the mean difference in levels of each
interpolation from Pillow's, and from bicubic. A raster (`.tif`) is cut into images of
512 pixels.
"""

import argparse
import glob

import numpy as np
from PIL import Image

from advance_tf.config_variants import RESIZINGS
from advance_tf.features.image import resize_image

TILE = 512


def read_images(pattern: str, count: int) -> list[np.ndarray]:
    """Up to `count` images of the files, uint8 [H, W, 3], evenly from all."""
    paths = sorted(glob.glob(pattern))
    if len(paths) == 1 and paths[0].endswith((".tif", ".tiff")):
        import rasterio

        with rasterio.open(paths[0]) as raster:
            levels = raster.read([1, 2, 3]).transpose(1, 2, 0)
        rows, columns = (
            np.linspace(0, side - TILE, count).astype(int) for side in levels.shape[:2]
        )
        return [
            np.ascontiguousarray(levels[row : row + TILE, column : column + TILE])
            for row, column in zip(rows, columns, strict=True)
        ]
    chosen = np.linspace(0, len(paths) - 1, min(count, len(paths))).astype(int)
    return [np.asarray(Image.open(paths[k]).convert("RGB")) for k in chosen]


def difference(first: np.ndarray, second: np.ndarray) -> str:
    """The largest and the mean absolute difference in levels."""
    levels = np.abs(first.astype(np.float64) - second)
    return f"{levels.max():3.0f} ({levels.mean():.2f})"


def main() -> None:
    """Prints the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--images", required=True, help="files, a pattern")
    parser.add_argument("--count", type=int, default=6)
    parser.add_argument("--image_size", type=int, default=256)
    arguments = parser.parse_args()
    side = arguments.image_size
    print("largest (mean) difference in levels")
    header = [f"{name} − Pillow" for name in RESIZINGS]
    header += [f"{name} − bicubic" for name in RESIZINGS[1:]]
    print("image".ljust(14), *(name.ljust(18) for name in header))
    for levels in read_images(arguments.images, arguments.count):
        found = {name: resize_image(levels, side, name).numpy() for name in RESIZINGS}
        cells = []
        for name in RESIZINGS:
            kind = getattr(Image.Resampling, name.upper())
            expected = np.asarray(Image.fromarray(levels).resize((side, side), kind))
            cells.append(difference(found[name], expected))
        cells += [difference(found[n], found["bicubic"]) for n in RESIZINGS[1:]]
        size = f"{levels.shape[1]} x {levels.shape[0]}"
        print(size.ljust(14), *(cell.ljust(18) for cell in cells))


if __name__ == "__main__":
    main()
