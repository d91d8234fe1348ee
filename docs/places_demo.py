"""From recordings to a data set, a model and a map: `python docs/places_demo.py`.

    python docs/places_demo.py --data_dir=ADVANCE --labels=region.osm.pbf
        --output_dir=OUT

The recordings and images of a folder in ADVANCE's layout are put at features of
OpenStreetMap: each recording at a random point in a feature of its scene, and its image
into one raster (1 m a pixel, EPSG of the UTM zone) around that point. Nothing else of
the places is real; the commands that follow do what they do with real places:

0. the features of each scene in the extract, counted by GDAL's reader too;
1. `advance build-dataset --dry_run`, then without it: data set, map and review page;
2. `advance fit`: a small model, with `--teacher=weights/yamnet.h5` after
   `advance teach`;
3. `advance predict --places` to GeoJSON and GeoParquet, `advance map`;
4. `advance predict --raster --stride_metres` over a raster of 36 other images;
5. screenshots of the review page, the map and `advance app` with Chromium, where it is
   installed, in windows of 1280 and 400 pixels: OUT/screenshots.
"""

import argparse
import collections
import contextlib
import csv
import pathlib
import shutil
import signal
import subprocess
import sys
import tempfile
import warnings
from collections.abc import Iterator

import geopandas
import numpy as np
import pyproj
import rasterio
import shapely
from rasterio.enums import Resampling
from rasterio.errors import NotGeoreferencedWarning
from rasterio.transform import from_origin
from rasterio.windows import Window
from rasterio.windows import transform as window_transform

from advance_tf.data.layout import scan
from advance_tf.geo.osm_labels import Feature, SceneMap, read_features
from advance_tf.geo.osm_rules import read_rules
from advance_tf.labels import asset_path

MOSAIC_SCENES = ("forest", "residential", "lake", "farmland")
GROUND_METRES, SHIFT_METRES, CELL_METRES = 256, 40, 380
WIDTHS = (1280, 400)
# Columns of GDAL's tables that are no tags.
GDAL_COLUMNS = ("osm_id", "osm_way_id", "other_tags", "z_order", "geometry")
PROGRAMS = ("chromium", "chromedriver")
BROWSER_FLAGS = ("--headless=new", "--no-sandbox", "--disable-gpu", "--no-first-run")
# Longest wait for the browser and for an answer.
SECONDS = 60


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data_dir", type=pathlib.Path, required=True)
    parser.add_argument("--labels", type=pathlib.Path, required=True)
    parser.add_argument("--output_dir", type=pathlib.Path, required=True)
    parser.add_argument("--recordings", type=int, default=72)
    parser.add_argument("--epochs", type=int, default=12)
    parser.add_argument("--teacher", help="YAMNet, for event knowledge")
    given = parser.parse_args()
    given.output_dir.mkdir(parents=True, exist_ok=True)
    table, raster = make_inputs(given)
    data_dir = run_commands(given, table, raster)
    take_screenshots(given.output_dir, data_dir)


def compare_counts(labels: pathlib.Path, features: list[Feature]) -> None:
    """Prints the features of each scene beside those that GDAL's reader finds."""
    own, other = collections.defaultdict(set), collections.defaultdict(set)
    for feature in features:
        own[feature.rule.scene].add(feature.osm_id)
    for scene, identity in read_with_gdal(labels):
        other[scene].add(identity)
    print(f"{'scene':20} features  by GDAL  in one alone")
    for scene in sorted(own | other):
        alone = sorted(own[scene] ^ other[scene])
        print(f"{scene:20} {len(own[scene]):8} {len(other[scene]):8}  {alone}")


def read_with_gdal(labels: pathlib.Path) -> Iterator[tuple[str, str]]:
    """Scene and identity of the features, read without osmium."""
    rules, geod = read_rules(), pyproj.Geod(ellps="WGS84")
    kinds = {"points": "n", "lines": "w", "multipolygons": "r"}
    for layer, kind in kinds.items():
        table = geopandas.read_file(labels, layer=layer, TAGS_FORMAT="JSON")
        own = [name for name in table.columns if name not in GDAL_COLUMNS]
        for row in table.to_dict("records"):
            tags = {name: row[name] for name in own if isinstance(row[name], str)}
            others = row["other_tags"]
            tags |= others if isinstance(others, dict) else {}
            # An area is a closed way or a relation.
            way = row.get("osm_way_id")
            closed = isinstance(way, str)
            identity = f"w{way}" if closed else f"{kind}{row['osm_id']}"
            line = row["geometry"] if layer == "lines" else None
            length = geod.geometry_length(line) if line and not line.is_ring else None
            for rule in rules:
                long = length is None or length >= rule.least_metres
                if rule.matches(tags) and long:
                    yield rule.scene, identity


def make_inputs(given: argparse.Namespace) -> tuple[pathlib.Path, pathlib.Path]:
    """Writes recordings.csv and the raster."""
    features = list(read_features(given.labels, read_rules()))
    compare_counts(given.labels, features)
    scenes = SceneMap(features, GROUND_METRES)
    west, south, east, north = scenes.bounds
    zone = int((west + 180) // 6) + 1
    crs = f"EPSG:{32600 + zone if south >= 0 else 32700 + zone}"
    to_metres = pyproj.Transformer.from_crs(4326, crs, always_xy=True)
    to_degrees = pyproj.Transformer.from_crs(crs, 4326, always_xy=True)
    rng = np.random.default_rng(0)
    pairs = choose_pairs(given, {feature.rule.scene for feature in features})
    x, y = to_metres.transform([west, west, east, east], [south, north, south, north])
    left, top = min(x) - 1000, max(y) + 1000
    width, height = round(max(x) - left + 1000), round(top - min(y) + 1000)
    profile = {
        **{"driver": "GTiff", "width": width, "height": height, "count": 3},
        **{"dtype": "uint8", "crs": crs, "nodata": 0, "tiled": True},
        **{"compress": "deflate", "SPARSE_OK": True},
        "transform": from_origin(left, top, 1, 1),
    }
    table = given.output_dir / "recordings.csv"
    path = given.output_dir / "made_raster_20240601.tif"
    rows, taken = [], []
    with rasterio.open(path, "w+", **profile) as raster:
        for pair in pairs:
            place = find_place(features, scenes, pair.scene, rng, to_metres, taken)
            if place is None:
                continue
            taken.append(place)
            paste(raster, given.data_dir / pair.image, place)
            longitude, latitude = to_degrees.transform(*place)
            sound = f"recordings/{pair.scene}-{pair.stem}.wav".replace(" ", "_")
            (given.output_dir / sound).parent.mkdir(exist_ok=True)
            shutil.copyfile(given.data_dir / pair.sound, given.output_dir / sound)
            rows.append((sound, f"{latitude:.6f}", f"{longitude:.6f}", pair.scene))
    # Two rows that a careful program refuses.
    rows += [(rows[0][0], "0", "0", ""), (rows[1][0], rows[1][2], rows[1][1], "")]
    with table.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow(("file", "latitude", "longitude", "expected"))
        writer.writerows(rows)
    print(f"{len(rows)} rows in {table}; raster {path}, {width} × {height} m.")
    return table, path


def choose_pairs(given: argparse.Namespace, present: set[str]) -> list:
    """One pair of each of several sites, evenly from the scenes of the region."""
    by_scene: dict[str, dict[str, object]] = {}
    for pair in scan(given.data_dir).pairs:
        if pair.scene in present:
            by_scene.setdefault(pair.scene, {}).setdefault(pair.site, pair)
    queues = [list(sites.values()) for sites in by_scene.values()]
    chosen: list = []
    for rank in range(max(map(len, queues))):
        chosen += [queue[rank] for queue in queues if rank < len(queue)]
    return chosen[: given.recordings]


def find_place(features, scenes, scene, rng, to_metres, taken):
    """A point in a feature that has the scene, far from the taken ones."""
    own = [feature for feature in features if feature.rule.scene == scene]
    for _ in range(200):
        geometry = own[rng.integers(len(own))].geometry
        west, south, east, north = geometry.bounds
        point = shapely.Point(rng.uniform(west, east), rng.uniform(south, north))
        if geometry.area and not geometry.contains(point):
            continue
        if geometry.geom_type == "Point":
            point = geometry
        elif not geometry.area:
            point = geometry.interpolate(rng.uniform(), normalized=True)
        place = to_metres.transform(point.x, point.y)
        near = any(
            max(abs(place[0] - x), abs(place[1] - y)) < CELL_METRES for x, y in taken
        )
        if not near and scenes.label(point.y, point.x).scene == scene:
            return place
    return None


def paste(raster, image: pathlib.Path, place: tuple[float, float]) -> None:
    """Writes an image as a square of CELL_METRES around a place."""
    warnings.simplefilter("ignore", NotGeoreferencedWarning)
    with rasterio.open(image) as source:
        shape = (3, CELL_METRES, CELL_METRES)
        values = source.read(out_shape=shape, resampling=Resampling.bilinear)
    row, column = raster.index(*place)
    half = CELL_METRES // 2
    window = Window(column - half, row - half, CELL_METRES, CELL_METRES)
    # Black would be no data.
    raster.write(np.maximum(values, 1), window=window)


def run_commands(
    given: argparse.Namespace, table: pathlib.Path, raster: pathlib.Path
) -> pathlib.Path:
    """Runs the commands of the list above; returns the folder of the data set."""
    out = given.output_dir
    build = [
        *("build-dataset", f"--recordings={table}", f"--raster={raster}"),
        *(f"--labels={given.labels}", f"--ground_metres={GROUND_METRES}"),
        *(f"--shift_metres={SHIFT_METRES}", "--site_metres=300", "--least_pairs=3"),
    ]
    advance(*build, "--dry_run")
    data_dir = out / given.labels.name.partition(".")[0]
    advance(*build, f"--data_dir={data_dir}")
    run = out / "run"
    # With six sites in a scene the default, a tenth, is none.
    data = [f"--data_dir={data_dir}", "--validation_fraction=0.2"]
    transfer = "none"
    if given.teacher:
        transfer = "kl_audiovisual"
        advance("teach", f"--workdir={run}", f"--teacher={given.teacher}", *data)
    advance(
        *("fit", f"--flagfile={asset_path('recipes/small.flags')}", f"--workdir={run}"),
        *(*data, f"--transfer={transfer}", "--batch_size=16"),
        f"--epochs={given.epochs}",
    )
    places = [
        *("predict", f"--workdir={run}", f"--ground_metres={GROUND_METRES}"),
        f"--raster={raster}",
    ]
    results = out / "results.geojson"
    advance(
        *(*places, f"--places={table}", f"--tile_dir={out / 'tiles'}"),
        f"--output={results},{out / 'results.geoparquet'}",
    )
    title = f"Predicted scenes: {data_dir.name}"
    advance("map", f"--results={results}", f"--raster={raster}", f"--title={title}")
    mosaic = make_mosaic(given, raster, out / "mosaic_20240601.tif")
    advance(
        *("predict", f"--workdir={run}", f"--ground_metres={GROUND_METRES}"),
        *(f"--raster={mosaic}", "--stride_metres=100"),
        *(f"--places={table}", "--sound_metres=400", f"--output={out / 'scenes.tif'}"),
    )
    return data_dir


def make_mosaic(
    given: argparse.Namespace, raster: pathlib.Path, path: pathlib.Path
) -> pathlib.Path:
    """Writes 6 × 6 images of sites that are in no pair, in the middle of the raster."""
    by_scene = collections.defaultdict(list)
    for pair in scan(given.data_dir).pairs:
        by_scene[pair.scene].append(pair)
    side = 6 * CELL_METRES
    with rasterio.open(raster) as source:
        window = Window(source.width // 2, source.height // 2, side, side)
        profile = source.profile | {"width": side, "height": side}
        profile["transform"] = window_transform(window, source.transform)
    with rasterio.open(path, "w+", **profile) as target:
        for number in range(36):
            row, column = divmod(number, 6)
            # Quarters of one scene; the last sites are not chosen for pairs.
            scene = MOSAIC_SCENES[2 * (row // 3) + column // 3]
            image = given.data_dir / by_scene[scene][-1 - number].image
            x, y = ((index + 0.5) * CELL_METRES for index in (column, row))
            paste(target, image, target.transform * (x, y))
    return path


def take_screenshots(out: pathlib.Path, data_dir: pathlib.Path) -> None:
    """Opens the three pages in Chromium, each in windows of two widths."""
    missing = [name for name in PROGRAMS if shutil.which(name) is None]
    try:
        from selenium import webdriver
    except ImportError:
        missing.append("the package selenium")
    if missing:
        print(f"No screenshots: {' and '.join(missing)} is not installed.")
        return
    folder = out / "screenshots"
    folder.mkdir(exist_ok=True)
    options = webdriver.ChromeOptions()
    options.binary_location = shutil.which("chromium")
    service = webdriver.ChromeService(shutil.which("chromedriver"))
    with tempfile.TemporaryDirectory() as profile, contextlib.ExitStack() as stack:
        for flag in (*BROWSER_FLAGS, f"--user-data-dir={profile}"):
            options.add_argument(flag)
        browser = webdriver.Chrome(options=options, service=service)
        stack.callback(browser.quit)
        url = stack.enter_context(app_server(out / "run"))
        image = min(data_dir.glob("vision/*/*.*"))
        sound = data_dir / "sound" / image.parent.name / f"{image.stem}.wav"
        for width in WIDTHS:
            browser.get((data_dir / "review.html").resolve().as_uri())
            save_screenshot(browser, folder / f"review_{width}.png", width)
            browser.get((out / "results.html").resolve().as_uri())
            save_screenshot(browser, folder / f"map_{width}.png", width, select_place)
            browser.get(url)
            use_app(browser, image.resolve(), sound.resolve())
            save_screenshot(browser, folder / f"app_{width}.png", width)
    print(f"The screenshots are in {folder}.")


def select_place(browser) -> None:
    browser.execute_script("placeMap.select(28)")


@contextlib.contextmanager
def app_server(run: pathlib.Path):
    """The address of `advance app`, which runs during the body."""
    command = [sys.executable, "-m", "advance_tf", "app", f"--workdir={run}"]
    print("$ advance app", f"--workdir={run}", flush=True)
    with subprocess.Popen(
        [*command, "--port=0"], stdout=subprocess.PIPE, text=True
    ) as process:
        try:
            line = process.stdout.readline()
            print(line, end="")
            if not line:
                raise SystemExit("`advance app` did not start.")
            yield line.removeprefix("The page is at ").split()[0].rstrip(".")
        finally:
            process.send_signal(signal.SIGINT)
            with contextlib.suppress(subprocess.TimeoutExpired):
                process.wait(SECONDS / 4)
            # A process that was started in the background may ignore the former.
            process.terminate()


def use_app(browser, image: pathlib.Path, sound: pathlib.Path) -> None:
    """Gives an image and a sound to the page and waits for the answer."""
    from selenium.webdriver.common.by import By
    from selenium.webdriver.support.ui import WebDriverWait

    wait = WebDriverWait(browser, SECONDS)

    def find(selector: str):
        return wait.until(lambda b: b.find_element(By.CSS_SELECTOR, selector))

    find("#image input[type=file]").send_keys(str(image))
    find("#image img")
    find("#sound input[type=file]").send_keys(str(sound))
    find("#sound audio")
    find("#predict").click()
    find(".answer-scene")


def save_screenshot(browser, path: pathlib.Path, width: int, prepare=None) -> None:
    """Writes the whole page in a window of a width."""
    set_size(browser, width, 900)
    if prepare:
        prepare(browser)
    # Twice, since the map is taller in a taller window.
    for _ in range(2):
        height = browser.execute_script("return document.documentElement.scrollHeight")
        set_size(browser, width, min(height, 5000))
    browser.save_screenshot(str(path))


def set_size(browser, width: int, height: int) -> None:
    browser.execute_cdp_cmd(
        "Emulation.setDeviceMetricsOverride",
        {"width": width, "height": height, "deviceScaleFactor": 1, "mobile": False},
    )


def advance(*arguments: str) -> None:
    """Runs a command and prints it."""
    print("$ advance", *arguments, flush=True)
    subprocess.run([sys.executable, "-m", "advance_tf", *arguments], check=True)


if __name__ == "__main__":
    main()
