"""Writes parquet files that say what no writer of today says: odd_files.py FOLDER. Each has a folder of its own."""

import gzip
import struct
import sys
from pathlib import Path

import pyarrow.parquet as pq

from thrift import I16, I32, fields, varint


def page(packed, values, size=None):
    own = {1: I32(values), 2: I32(0), 3: I32(3), 4: I32(3)}
    return fields({1: I32(0), 2: I32(len(packed) if size is None else size), 3: I32(len(packed)), 5: own}) + packed


def page_v2(packed, values, size, compressed=False):
    own = {1: I32(values), 2: I32(0), 3: I32(values), 4: I32(0), 5: I32(0), 6: I32(0), 7: compressed}
    return fields({1: I32(3), 2: I32(size), 3: I32(len(packed)), 8: own}) + packed


def write(path, pages, rows, codec=0, said=None, of_group=None, schema=None, chunk=None, encodings=None, meta=None, element=None):
    data = b"".join(pages)
    of_group = rows if of_group is None else of_group
    column = {1: I32(2), 2: encodings or [I32(0), I32(3)], 3: [b"x"], 4: I32(codec), 5: rows, 6: len(data), 7: len(data), 9: 4, **(meta or {})}
    schema = schema or [{4: b"root", 5: I32(1)}, {1: I32(2), 3: I32(0), 4: b"x", **(element or {})}]
    columns = [] if chunk is False else [{2: 4, 3: column}]
    footer = fields({1: I32(1), 2: schema, 3: of_group if said is None else said, 4: [{1: columns, 2: len(data), 3: of_group}]})
    path.parent.mkdir(parents=True)
    path.write_bytes(b"PAR1" + data + footer + len(footer).to_bytes(4, "little") + b"PAR1")


def plain(first, last):
    return struct.pack(f"<{last - first}q", *range(first, last))


def main(folder):
    at = lambda name: folder / name / "a.parquet"
    whole = [page(plain(0, 100), 100)]
    # Sound, as pyarrow reads them.
    write(at("sound_members"), [page(gzip.compress(plain(0, 60)) + gzip.compress(plain(60, 100)), 100, 800)], 100, codec=2)
    write(at("sound_no_rows_said"), whole, 100, said=0)
    write(at("sound_converted_24"), whole, 100, element={6: I32(24)})
    write(at("sound_logical_99"), whole, 100, element={10: {99: {}}})
    write(at("sound_narrow_list"), whole, 100, encodings=[I16(0), I16(3)])
    write(at("sound_unknown_fields"), whole, 100, element={40: [{1: 2}], 41: b"x"}, meta={60: {1: {2: b"x"}}})
    write(at("sound_padding"), [*whole, b"\0" * 20], 100)
    write(at("sound_two_pages"), [page(plain(0, 60), 60), page_v2(plain(60, 100), 40, 320)], 100)
    write(at("columnless"), [], 5, schema=[{4: b"root", 5: I32(0)}], chunk=False)
    # Not sound.
    write(at("unsound_trillion"), whole, 100, of_group=10**12)
    write(at("unsound_negative"), [page(plain(0, 100), -100)], 100)
    write(at("unsound_too_many"), [page(plain(0, 100), 100), page(plain(0, 1), 1)], 100)
    write(at("unsound_too_few"), [page(plain(0, 99), 99)], 100)
    write(at("unsound_size"), [page(plain(0, 100), 100, 801)], 100)
    write(at("unsound_v2_size"), [page_v2(plain(0, 100), 100, 700)], 100)
    write(at("unsound_bomb"), [page(gzip.compress(plain(0, 100)), 100, 2**31 - 1)], 100, codec=2)
    groups = [{3: I32(0), 4: b"g", 5: I32(1)}] * 10_000
    write(at("unsound_depth"), [], 0, schema=[{4: b"r", 5: I32(1)}, *groups, {1: I32(2), 3: I32(0), 4: b"x"}], chunk=False)
    size = 256 << 20
    head = fields({1: I32(1), 2: [{4: b"root", 5: I32(1)}, {1: I32(2), 3: I32(0), 4: b"x"}], 3: 1})[:-1] + b"\x19\xfc" + varint(size - 200)
    at("unsound_footer").parent.mkdir()
    with open(at("unsound_footer"), "wb") as file:
        file.write(b"PAR1" + head)
        file.truncate(4 + size)
        file.seek(4 + size)
        file.write(size.to_bytes(4, "little") + b"PAR1")
    for path in folder.glob("sound_*/*.parquet"):
        table = pq.ParquetFile(path).read()
        # An annotation that nobody knows is read by pyarrow as something else.
        is_known = "converted" not in path.parent.name
        assert table.num_rows == 100 and (not is_known or table["x"].to_pylist() == list(range(100))), path


if __name__ == "__main__":
    main(Path(sys.argv[1]))
