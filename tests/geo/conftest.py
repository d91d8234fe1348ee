"""A raster of two scenes, with a part without data."""

import numpy as np
import pytest

from tests.geo.factories import write_raster


@pytest.fixture(scope="module")
def raster(tmp_path_factory):
    """Scene 3 in the west, scene 7 in the east, no data in the north."""
    values = np.full((3, 60, 60), 3, np.uint8)
    values[:, :, 30:] = 7
    values[:, :20] = 255
    path = tmp_path_factory.mktemp("raster") / "a_20240501.tif"
    return write_raster(path, values, nodata=255)
