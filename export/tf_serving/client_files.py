"""Pairs of images and sounds for `client.py`.

The names and pairs of a folder are those of `advance predict`; a test compares them.
"""

import itertools
import sys
import unicodedata

KINDS = ("image", "sound")
ENDINGS = dict.fromkeys((".jpg", ".jpeg", ".png", ".bmp", ".webp"), "image")
ENDINGS[".wav"] = "sound"
# Files of these are reported: the other file of a pair would be predicted alone.
OTHER_ENDINGS = {
    *(".tif", ".tiff", ".gif", ".jp2", ".j2k", ".avif", ".heic", ".heif", ".jxl"),
    *(".aif", ".aifc", ".aiff", ".au", ".caf", ".flac", ".m4a", ".aac", ".mp3"),
    *(".mp4", ".oga", ".ogg", ".opus", ".rf64", ".w64", ".wma"),
}
LAYOUT_FOLDERS = {"vision", "sound", "ADVANCE_vision", "ADVANCE_sound"}
# Entries that operating systems and archivers add to folders, in lower case.
SYSTEM_NAMES = {
    *("__macosx", "__pycache__", "thumbs.db", "ehthumbs.db", "desktop.ini"),
    *("@eadir", "$recycle.bin", "system volume information", "lost+found"),
}


def find_pairs(images, sounds, data_dir):
    """The pairs of files in their order, or those of a folder by stem.

    Args:
        images: paths, may be empty.
        sounds: paths, may be empty; as many as images if both are given.
        data_dir: folder; None for the files.

    Returns:
        (name, {"image": path, "sound": path}) of every pair; either may be absent.
        {"status": problem} stands for a file that is not read; a name with more than
        one image or sound has its problem as "status" too.

    Raises:
        OSError: a folder cannot be listed.
        SystemExit: the parameters do not fit, or there are no files.
    """
    counts = {len(files) for files in (images, sounds) if files}
    if len(counts) + bool(data_dir) != 1:
        sys.exit("error: Give --data_dir, or --image, --sound or as many of both.")
    if not data_dir:
        both = itertools.zip_longest(images, sounds)
        rows = [{k: p for k, p in zip(KINDS, row, strict=True) if p} for row in both]
        return [(next(iter(row.values())).stem, row) for row in rows]
    found, problems = {}, []
    for path in list_files(data_dir):
        parts = path.relative_to(data_dir).with_suffix("").parts
        name = "/".join(part for part in parts if part not in LAYOUT_FOLDERS)
        name, ending = unicodedata.normalize("NFC", name), path.suffix.lower()
        kind = ENDINGS.get(ending)
        if ending in OTHER_ENDINGS or (kind and not path.exists()):
            rule = f"{path} must exist and end in one of {', '.join(ENDINGS)}"
            problems.append((name, {"status": f"{rule}. Convert or remove it."}))
        elif kind:
            files = found.setdefault(name, {})
            if path != (first := files.setdefault(kind, path)):
                rule = f"A stem must have one {kind}; received {first} and {path}"
                files["status"] = f"{rule}. Rename or remove one."
    if not found and not problems:
        sys.exit(f"error: {data_dir} must be a folder of images or sounds.")
    return [*found.items(), *problems]


def list_files(folder):
    """The files below a folder by name, without entries of operating systems."""
    for entry in sorted(folder.iterdir()) if folder.is_dir() else ():
        if entry.name.startswith(".") or entry.name.casefold() in SYSTEM_NAMES:
            continue
        if not entry.is_dir():
            yield entry
        elif not entry.is_symlink():
            yield from list_files(entry)
