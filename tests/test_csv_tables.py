"""CSV files as spreadsheets write them."""

import pytest

from advance_tf.csv_tables import read_cells, read_table

TEXT = "site,name\r\n00001,forêt\r\n\r\n00002,lac\r\n"
ROWS = [(2, {"site": "00001", "name": "forêt"}), (4, {"site": "00002", "name": "lac"})]


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16"])
@pytest.mark.parametrize("delimiter", [",", ";", "\t"])
def test_unicode_and_separators_are_read(tmp_path, encoding, delimiter):
    path = tmp_path / "a.csv"
    path.write_bytes(TEXT.replace(",", delimiter).encode(encoding))
    table = read_table(path)
    assert table.columns == ("site", "name")
    assert [(row.line, dict(row.values)) for row in table.rows] == ROWS


def test_blank_rows_are_left_out_and_quoted_cells_keep_their_commas(tmp_path):
    path = tmp_path / "a.csv"
    path.write_text('clip,labels\n,\na.wav, "Speech, /m/1"\n,,\n'.replace("\n,,", ""))
    assert [row.values for row in read_table(path).rows] == [
        {"clip": "a.wav", "labels": "Speech, /m/1"}
    ]


def test_an_empty_file_has_no_columns(tmp_path):
    path = tmp_path / "a.csv"
    path.write_bytes(b"")
    assert read_table(path) == ((), ())


@pytest.mark.parametrize(
    ("contents", "message"),
    [
        ("site,name\n1,forêt\n".encode("cp1252"), "line 2: .* UTF-8; .* 0xea"),
        ("site\n1\n".encode("utf-16-le"), "line 1: .* zero byte"),
        (b"site,name\n1,a\n2\n", r"line 3: a row must have 2 values.*\(site, name\)"),
        (b"site,name\n1,a,b\n", "line 2: .* received 3"),
        (b"site,site\n1,2\n", "line 1: a column may be named once; received 'site'"),
        (b'site\n"' + b"x" * 140_000 + b'"\n', "line 2: the file must be CSV"),
    ],
)
def test_other_files_are_refused_with_their_line(tmp_path, contents, message):
    path = tmp_path / "a.csv"
    path.write_bytes(contents)
    with pytest.raises(ValueError, match=f"a.csv, {message}"):
        read_table(path)


def test_rows_without_a_fixed_header_keep_their_lengths(tmp_path):
    path = tmp_path / "segments.csv"
    path.write_text("# YTID, start, end\nabc, 0.0, 10.0\n")
    assert list(read_cells(path)) == [
        (1, ["# YTID", "start", "end"]),
        (2, ["abc", "0.0", "10.0"]),
    ]
