"""Files are paired by scene and stem; all other files are reported."""

import os
import unicodedata

import pytest

from advance_tf.data import layout, pairing
from advance_tf.data.pairing import Pair
from tests.data.factories import write_files, write_pair_files


def test_pairs_are_sorted_and_have_their_site(tmp_path):
    write_pair_files(
        tmp_path, "train station/00020", "airport/00017_1", "airport/00017"
    )
    write_files(
        tmp_path, "vision/airport/._00017.jpg", "sound/.DS_Store", "sound/a.txt"
    )
    write_files(tmp_path, "vision/__MACOSX/00017.jpg")
    found = layout.scan(tmp_path)
    assert found.pairs == (
        Pair(
            "00017",
            "airport",
            "00017",
            "vision/airport/00017.jpg",
            "sound/airport/00017.wav",
        ),
        Pair(
            "00017_1",
            "airport",
            "00017",
            "vision/airport/00017_1.jpg",
            "sound/airport/00017_1.wav",
        ),
        Pair(
            "00020",
            "train station",
            "00020",
            "vision/train station/00020.jpg",
            "sound/train station/00020.wav",
        ),
    )
    assert not found.skipped


@pytest.mark.parametrize("vision", ["ADVANCE_vision", "ADVANCE_vision/vision"])
@pytest.mark.parametrize("sound", ["ADVANCE_sound", "ADVANCE_sound/sound", "sound"])
def test_folder_names_of_the_archives_are_accepted(tmp_path, vision, sound):
    write_files(tmp_path, f"{vision}/lake/00001.JPG", f"{sound}/lake/00001.wav")
    (pair,) = layout.scan(tmp_path).pairs
    assert pair.image == f"{vision}/lake/00001.JPG"
    assert pair.sound == f"{sound}/lake/00001.wav"


def test_two_folders_of_one_modality_are_an_error(tmp_path):
    write_pair_files(tmp_path, "lake/00001")
    write_files(tmp_path, "ADVANCE_vision/lake/00001.jpg")
    with pytest.raises(ValueError, match=r"exactly one folder 'vision'.*ADVANCE_"):
        layout.scan(tmp_path)


def test_a_folder_without_the_layout_is_an_error(tmp_path):
    with pytest.raises(ValueError, match=r"received neither.*`advance download`"):
        layout.scan(tmp_path / "nowhere")


def write_faults(root):
    """Writes one good pair and a case of each fault; returns the expected report."""
    write_pair_files(root, "beach/00001", "volcano/00002", "beach/summit")
    write_pair_files(root, "beach/000031", "lake/00004", "forest/00004")
    write_files(root, "vision/beach/00005.jpg", "sound/beach/00006.wav")
    write_files(root, "vision/beach/00007.jpg", "sound/beach/00008.wav", contents=b"")
    write_files(root, "sound/beach/00007.wav", "vision/beach/00008.png")
    write_pair_files(root, "beach/00009")
    write_files(root, "vision/beach/00009.png")
    return {
        "empty file": ("vision/beach/00007.jpg", "sound/beach/00008.wav"),
        "stem in two scenes": (
            *("vision/forest/00004.jpg", "sound/forest/00004.wav"),
            *("vision/lake/00004.jpg", "sound/lake/00004.wav"),
        ),
        "stem without site": (
            *("vision/beach/000031.jpg", "sound/beach/000031.wav"),
            *("vision/beach/summit.jpg", "sound/beach/summit.wav"),
        ),
        "two files of one stem": (
            *("vision/beach/00009.jpg", "vision/beach/00009.png"),
            "sound/beach/00009.wav",
        ),
        "unknown scene": ("vision/volcano/00002.jpg", "sound/volcano/00002.wav"),
        "unpaired image": ("vision/beach/00005.jpg",),
        "unpaired sound": ("sound/beach/00006.wav",),
    }


def test_every_fault_is_skipped_with_its_reason(tmp_path):
    expected = write_faults(tmp_path)
    found = layout.scan(tmp_path, allow_missing=True)
    assert [pair.stem for pair in found.pairs] == ["00001"]
    assert found.skipped == expected


def test_the_error_lists_every_fault(tmp_path):
    expected = write_faults(tmp_path)
    with pytest.raises(ValueError, match="`allow_missing=True`") as raised:
        layout.scan(tmp_path)
    for reason, names in expected.items():
        assert f"{reason} ({len(names)}): {', '.join(names)}" in str(raised.value)


def test_an_image_and_a_sound_in_different_scenes_are_a_stem_in_two_scenes(tmp_path):
    write_pair_files(tmp_path, "beach/00001")
    write_files(tmp_path, "vision/lake/00002.jpg", "sound/forest/00002.wav")
    skipped = layout.scan(tmp_path, allow_missing=True).skipped
    assert list(skipped) == ["stem in two scenes"]


def test_the_error_lists_ten_names_and_a_count(tmp_path):
    write_pair_files(tmp_path, "beach/00000")
    write_files(tmp_path, *(f"vision/beach/{n:05d}.jpg" for n in range(1, 13)))
    with pytest.raises(ValueError, match=r"unpaired image \(12\)") as raised:
        layout.scan(tmp_path)
    assert "00010.jpg and 2 more" in str(raised.value)
    assert "00011.jpg" not in str(raised.value)


def test_a_folder_without_pairs_is_an_error_even_if_missing_files_are_allowed(tmp_path):
    write_files(tmp_path, "vision/beach/00001.jpg", "sound/lake/00002.wav")
    with pytest.raises(ValueError, match=r"at least one pair.*unpaired image \(1\)"):
        layout.scan(tmp_path, allow_missing=True)


def test_a_site_is_exactly_five_digits():
    assert pairing.site_of("00017_3") == "00017"
    assert pairing.site_of("00017") == "00017"
    assert pairing.site_of("000171") == ""
    assert pairing.site_of("x00017") == ""
    assert pairing.site_of("１２３４５") == ""


def test_other_formats_are_named_where_nothing_else_is_read(tmp_path):
    write_pair_files(tmp_path, "beach/00000")
    write_files(tmp_path, "vision/beach/00000.tif", "sound/beach/00000.flac")
    write_files(tmp_path, "vision/beach/00001.tif", "sound/beach/00001.wav")
    write_files(tmp_path, "vision/beach/00002.jpg", "sound/beach/00002.mp3")
    found = layout.scan(tmp_path, allow_missing=True)
    assert [pair.stem for pair in found.pairs] == ["00000"]
    assert found.skipped == {
        "image in a format that is not read": ("vision/beach/00001.tif",),
        "sound in a format that is not read": ("sound/beach/00002.mp3",),
    }
    with pytest.raises(ValueError, match=r"\.webp\).*`advance prepare`"):
        layout.scan(tmp_path)


def test_a_misspelt_scene_gets_the_right_name(tmp_path):
    write_pair_files(tmp_path, "Airport/00001", "sports_land/00002", "lake/00003")
    with pytest.raises(ValueError, match="The scenes are airport, beach") as raised:
        layout.scan(tmp_path)
    assert "unknown scene (rename to 'airport') (2)" in str(raised.value)
    assert "unknown scene (rename to 'sports land') (2)" in str(raised.value)


def test_names_that_are_not_utf8_and_dangling_links_are_named(tmp_path):
    write_pair_files(tmp_path, "lake/00001", "lake/00002")
    name = os.fsencode(tmp_path / "vision/lake") + b"/00003_\xea.jpg"
    with open(name, "wb") as file:
        file.write(b"x")
    (tmp_path / "sound/lake/00002.wav").unlink()
    (tmp_path / "sound/lake/00002.wav").symlink_to(tmp_path / "gone.wav")
    found = layout.scan(tmp_path, allow_missing=True)
    assert [pair.stem for pair in found.pairs] == ["00001"]
    assert found.skipped == {
        "file name that is not UTF-8": ("'vision/lake/00003_\\udcea.jpg'",),
        "link to a missing file": ("sound/lake/00002.wav",),
    }


def test_composed_and_decomposed_accents_are_one_stem(tmp_path):
    composed = "00001_for\N{LATIN SMALL LETTER E WITH CIRCUMFLEX}t"
    decomposed = unicodedata.normalize("NFD", composed)
    write_files(tmp_path, f"vision/lake/{composed}.jpg", f"sound/lake/{decomposed}.wav")
    (pair,) = layout.scan(tmp_path).pairs
    assert pair.stem == composed
    assert pair.sound == f"sound/lake/{decomposed}.wav"
    write_files(tmp_path, f"vision/lake/{decomposed}.jpg")
    with pytest.raises(ValueError, match=r"two files of one stem \(3\).*00001_fore\\u"):
        layout.scan(tmp_path)


def test_a_notice_in_another_encoding_is_read(tmp_path):
    (tmp_path / layout.NOTICE).write_bytes("Aufnahmen aus Köln\n".encode("cp1252"))
    assert layout.read_notice(tmp_path).startswith("Aufnahmen aus K")
