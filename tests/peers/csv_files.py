"""Writes random CSV files in random dialects, and compares what was made of them with what they hold.

    csv_files.py write SEED COUNT FOLDER      FOLDER/in/N/x.csv, FOLDER/dialects.json, FOLDER/rows.json
    csv_files.py compare FOLDER               FOLDER/out/N against FOLDER/rows.json
"""

import csv
import json
import random
import sys
from pathlib import Path

import pyarrow.parquet as parquet

csv.field_size_limit(1 << 30)

LETTERS = ["a", "Z", "0", " ", "  ", ",", ";", "|", "\t", '"', "'", '""', "\n", "\r\n", "\n\n", "ä", "€", "𝄞", "\\", "#", "=", "NULL", "\ufeff"]


def text(draw):
    kind = draw.random()
    if kind < 0.15:
        return None
    if kind < 0.25:
        return ""
    if kind < 0.28:
        return "x" * draw.randrange(1_000, 200_000)
    return "".join(draw.choice(LETTERS) for _ in range(draw.randrange(1, 8)))


def written(value, delimiter, quote, end, draw):
    """A field: null is nothing, an empty text stands in quotes, and so does what must, or may."""
    if value is None:
        return ""
    must = value == "" or any(sign in value for sign in (delimiter, quote, "\n", "\r"))
    if must or draw.random() < 0.2:
        return quote + value.replace(quote, quote * 2) + quote
    return value


def write(seed, count, folder):
    draw = random.Random(seed)
    dialects, tables = [], []
    for number in range(count):
        delimiter, quote = draw.choice([",", ";", "|", "\t"]), draw.choice(['"', "'"])
        end = draw.choice(["\n", "\r\n"])
        width = draw.randrange(1, 6)
        rows = [[text(draw) for _ in range(width)] for _ in range(draw.randrange(0, 60))]
        names = [f"c {column}{delimiter}" for column in range(width)]
        lines = [delimiter.join(written(value, delimiter, quote, end, draw) for value in row) for row in [names, *rows]]
        whole = end.join(lines) + (end if draw.random() < 0.7 or rows and rows[-1] == [None] else "")
        # Where somebody has edited a file; with one column that would be a value.
        whole += end * draw.randrange(3) if width > 1 and whole.endswith(end) else ""
        place = folder / "in" / str(number)
        place.mkdir(parents=True)
        mark = b"\xef\xbb\xbf" if draw.random() < 0.3 else b""
        (place / "x.csv").write_bytes(mark + whole.encode())
        dialects.append({"delimiter": delimiter, "quote": quote})
        tables.append({"names": names, "rows": rows})
        # Another reader finds the same texts, as far as it tells null and empty apart.
        read = csv.reader((mark + whole.encode()).decode("utf-8-sig").splitlines(keepends=True), delimiter=delimiter, quotechar=quote, strict=True)
        found = [row for row in read if row or width == 1]
        assert [row or [""] for row in found] == [[value or "" for value in row] for row in [names, *rows]], number
    (folder / "dialects.json").write_text(json.dumps(dialects))
    (folder / "rows.json").write_text(json.dumps(tables))


def compare(folder):
    for number, table in enumerate(json.loads((folder / "rows.json").read_text())):
        made = parquet.read_table(folder / "out" / str(number))
        assert made.column_names == table["names"], (number, made.column_names)
        assert all(str(field.type) in ("string", "large_string", "string_view") for field in made.schema), made.schema
        columns = [column.to_pylist() for column in made.columns]
        rows = [list(row) for row in zip(*columns)]
        assert rows == table["rows"], number


if __name__ == "__main__":
    if sys.argv[1] == "write":
        write(int(sys.argv[2]), int(sys.argv[3]), Path(sys.argv[4]))
    else:
        compare(Path(sys.argv[2]))
