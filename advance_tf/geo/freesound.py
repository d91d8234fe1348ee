"""Geotagged recordings of Freesound, through its documented HTTP API."""

import csv
import math
import os
import pathlib
from collections.abc import Iterator
from typing import Any

from advance_tf.extras import requires_extra
from advance_tf.files import replacing
from advance_tf.geo.recordings import Bounds

API = "https://freesound.org/apiv2"
KEY = "FREESOUND_API_KEY"
COLUMNS = ("file", "latitude", "longitude", "license", "author", "source")
_FIELDS = "id,name,geotag,license,username,url,duration,previews"
_PREVIEW = "preview-hq-ogg"
_PAGE = 150
_TIMEOUT_SECONDS = 60


def find_recordings(
    query: str,
    *,
    bounds: Bounds | None = None,
    min_seconds: float = 2.0,
    limit: int = 150,
    api: str = API,
    key: str | None = None,
) -> Iterator[dict[str, Any]]:
    """Searches recordings with coordinates.

    Args:
        query: words to search for; "" for all.
        bounds: west, south, east and north in degrees; None for the whole world.
        min_seconds: shortest recording.
        limit: largest number of recordings.
        api: address of the API.
        key: API key; None reads the environment variable FREESOUND_API_KEY.

    Yields:
        The description of a sound as the API returns it: id, name, geotag ("latitude
        longitude"), license, username, url, duration and previews.

    Raises:
        ValueError: there is no key, or the server refuses the request.
        ImportError: the extra `geo` is not installed.

    Source: Freesound APIv2, text search,
        https://freesound.org/docs/api/resources_apiv2.html.
    """
    with requires_extra("geo"):
        import requests
    key = key or os.environ.get(KEY, "")
    if not key:
        raise ValueError(
            f"A search of Freesound needs an API key in the environment variable {KEY}."
            " Get one at https://freesound.org/apiv2/apply."
        )
    # The API expects filters as conditions of Apache Solr.
    wanted = f"is_geotagged:1 duration:[{min_seconds:g} TO *]"
    if bounds:
        west, south, east, north = bounds
        # West is more than east in a rectangle across the 180th meridian.
        edges = (west, south, east if east <= 180 else east - 360, north)
        wanted += f' geotag:"Intersects({" ".join(f"{edge:.6f}" for edge in edges)})"'
    given: dict[str, str | int] = {
        "query": query,
        "filter": wanted,
        "fields": _FIELDS,
        "page_size": min(_PAGE, limit),
    }
    address, count = f"{api}/search/text/", 0
    with requests.Session() as session:
        session.headers["Authorization"] = f"Token {key}"
        while address and count < limit:
            answer = session.get(address, params=given, timeout=_TIMEOUT_SECONDS)
            if not answer.ok:
                raise ValueError(
                    f"Freesound must answer with status 200; received "
                    f"{answer.status_code}: {answer.text[:200]}. Check the API key, "
                    "or wait where the number of requests is limited."
                )
            page = answer.json()
            for sound in page["results"][: limit - count]:
                count += 1
                yield sound
            # The address of the next page has the parameters.
            address, given = page.get("next") or "", {}


def download_recordings(
    folder: str | pathlib.Path, query: str, **search: Any
) -> pathlib.Path:
    """Downloads the previews of a search, with their table.

    Originals need an OAuth2 login; the previews (Ogg Vorbis, about 192 kbit/s) do
    not. A file that exists is not downloaded again.

    Args:
        folder: folder to write, created if it does not exist.
        query: words to search for.
        **search: further arguments of `find_recordings`.

    Returns:
        The path of recordings.csv, which `read_recordings` reads.

    Raises:
        ValueError: as in `find_recordings`, or a download fails.
    """
    with requires_extra("geo"):
        import requests
    folder = pathlib.Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    rows = []
    for sound in find_recordings(query, **search):
        path = folder / f"freesound-{sound['id']}.ogg"
        if not path.exists():
            answer = requests.get(sound["previews"][_PREVIEW], timeout=_TIMEOUT_SECONDS)
            if not answer.ok:
                raise ValueError(
                    f"The preview of {sound['url']} must be available; received "
                    f"status {answer.status_code}. Run the command again."
                )
            with replacing(path) as temporary:
                temporary.write_bytes(answer.content)
        degrees = (sound.get("geotag") or "").split()
        latitude, longitude = degrees if len(degrees) == 2 else (math.nan, math.nan)
        credit = (sound[name] for name in ("license", "username", "url"))
        rows.append((path.name, latitude, longitude, *credit))
    table = folder / "recordings.csv"
    with replacing(table) as temporary:
        with temporary.open("w", newline="", encoding="utf-8") as file:
            writer = csv.writer(file, lineterminator="\n")
            writer.writerows([COLUMNS, *rows])
    return table
