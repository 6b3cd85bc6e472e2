"""Writes parquet files of random rows, and compares what was made of them: CSV, and parquet of that again.

    csv_stores.py write SEED COUNT FOLDER     FOLDER/in/N/*.parquet, FOLDER/dialects.json
    csv_stores.py compare FOLDER              FOLDER/out/N/*.csv and FOLDER/back/N/*.parquet against them
"""

import csv
import datetime
import json
import math
import random
import struct
import sys
from decimal import Decimal
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as parquet

csv.field_size_limit(1 << 30)

LETTERS = ["a", "Z", "0", "7", " ", ",", ";", "|", "\t", '"', "'", '""', "\n", "\r\n", "\r", "ä", "€", "𝄞", "\\", "#", "=", "NULL", "NA", "\ufeff", "-"]


def text(draw):
    if draw.random() < 0.15:
        return ""
    if draw.random() < 0.2:
        return draw.choice(["NA", "NULL", "null", "true", "007", "1", "2024-01-31", "-", " "])
    return "".join(draw.choice(LETTERS) for _ in range(draw.randrange(1, 8)))


def double(draw):
    if draw.random() < 0.3:
        return draw.choice([0.0, -0.0, math.nan, math.inf, -math.inf, 5e-324, 1e308, 0.1, 641664210798639.25, 9007199254740993.0])
    return struct.unpack("<d", draw.randbytes(8))[0] if draw.random() < 0.5 else draw.uniform(-1e6, 1e6)


def single(draw):
    return struct.unpack("<f", struct.pack("<f", draw.uniform(-1e6, 1e6)))[0]


def moment(draw):
    return datetime.datetime(1, 1, 1) + datetime.timedelta(draw.randrange(3_652_058), draw.randrange(86_400), draw.choice([0, 5, 120_000, 999_999]))


TYPES = {
    "text": (pa.string(), text),
    "bool": (pa.bool_(), lambda draw: draw.random() < 0.5),
    "int8": (pa.int8(), lambda draw: draw.randrange(-128, 128)),
    "int64": (pa.int64(), lambda draw: draw.choice([-(2**63), 2**63 - 1, 0, draw.randrange(-1000, 1000)])),
    "uint64": (pa.uint64(), lambda draw: draw.choice([0, 2**64 - 1, draw.randrange(1000)])),
    "float32": (pa.float32(), single),
    "float64": (pa.float64(), double),
    "money": (pa.decimal128(12, 2), lambda draw: Decimal(draw.randrange(-(10**12) + 1, 10**12)).scaleb(-2)),
    "wide": (pa.decimal128(38, 10), lambda draw: Decimal(draw.randrange(-(10**37), 10**37)).scaleb(-10)),
    "date": (pa.date32(), lambda draw: moment(draw).date()),
    "time": (pa.time64("us"), lambda draw: moment(draw).time()),
    "stamp": (pa.timestamp("us"), moment),
    "instant": (pa.timestamp("us", "UTC"), lambda draw: moment(draw).replace(tzinfo=datetime.timezone.utc)),
    "binary": (pa.binary(), lambda draw: text(draw).encode()),
}


def write(seed, count, folder):
    draw = random.Random(seed)
    dialects = []
    for number in range(count):
        kinds = [draw.choice(sorted(TYPES)) for _ in range(draw.randrange(1, 7))]
        names = [f"c{place}{draw.choice(['', ' ', ',', ';', chr(34), 'ä'])}" for place in range(len(kinds))]
        null = draw.choice([None, "NULL", "NA", "-", "<>"])
        # Nulls of an only column are refused where nothing stands for them.
        nulls = 0 if len(kinds) == 1 and null is None else draw.choice([0, 0.1, 0.5])
        place = folder / "in" / str(number)
        place.mkdir(parents=True)
        for file in range(draw.randrange(1, 3)):
            rows = draw.randrange(0, 60)
            columns = [
                pa.array([None if draw.random() < nulls else make(draw) for _ in range(rows)], kind)
                for kind, make in (TYPES[kind] for kind in kinds)
            ]
            parquet.write_table(pa.table(columns, names=names), place / f"{file}.parquet")
        delimiter = draw.choice([",", ";", "|", "\t", "-", "7"])
        dialects.append({"delimiter": "," if null == delimiter else delimiter, "quote": draw.choice(['"', "'"]), "null_value": null})
    (folder / "dialects.json").write_text(json.dumps(dialects))


def whole(folder):
    return pa.concat_tables([parquet.ParquetFile(part).read() for part in sorted(folder.glob("*.parquet"))])


def plain(value):
    """A value that is the same as others in every bit."""
    return struct.pack("<d", value) if isinstance(value, float) and not math.isnan(value) else str(value)


def shown(value, null):
    """What stands in the file for a value."""
    if value is None:
        return null or ""
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, bytes):
        return value.decode()
    if isinstance(value, datetime.datetime):
        text = value.isoformat().replace("+00:00", "")
        return (text.rstrip("0") if "." in text else text) + ("Z" if value.tzinfo else "")
    if isinstance(value, datetime.time):
        text = value.isoformat()
        return text.rstrip("0") if "." in text else text
    return None if isinstance(value, (float, Decimal)) else str(value)


def compare(folder):
    for number, dialect in enumerate(json.loads((folder / "dialects.json").read_text())):
        made, back = whole(folder / "in" / str(number)), whole(folder / "back" / str(number))
        assert back.column_names == made.column_names, f"{number}: {back.column_names}"
        rows = []
        for part in sorted((folder / "out" / str(number)).glob("*.csv")):
            with open(part, newline="", encoding="utf-8") as lines:
                read = csv.reader(lines, delimiter=dialect["delimiter"], quotechar=dialect["quote"], strict=True)
                header, *more = list(read)
                assert header == made.column_names, f"{number}: {header}"
                rows += more
        assert len(rows) == made.num_rows == back.num_rows, f"{number}: {len(rows)}, {back.num_rows} of {made.num_rows} rows"
        for place, name in enumerate(made.column_names):
            wanted, found = made.column(name), back.column(name)
            kind = wanted.type
            same = found.type == kind or str(found.type).replace("large_", "") == str(kind)
            assert same or pa.types.is_time(kind) and pa.types.is_time(found.type), f"{number}.{name}: {found.type}, was {kind}"
            if pa.types.is_time(kind):
                found = found.cast(kind)
            for row, (value, again) in enumerate(zip(wanted.to_pylist(), found.to_pylist())):
                assert plain(value) == plain(again), f"{number}.{name}, row {row}: {again!r}, was {value!r}"
                field, expected = rows[row][place], shown(value, dialect["null_value"])
                if expected is None:
                    number_of = float if isinstance(value, float) else Decimal
                    assert plain(number_of(field)) == plain(value) or kind == pa.float32(), f"{number}.{name}, row {row}: {field!r} of {value!r}"
                else:
                    assert field == expected, f"{number}.{name}, row {row}: {field!r} of {value!r}"


if __name__ == "__main__":
    if sys.argv[1] == "write":
        write(int(sys.argv[2]), int(sys.argv[3]), Path(sys.argv[4]))
    else:
        compare(Path(sys.argv[2]))
