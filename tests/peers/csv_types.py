"""Writes CSV files whose columns are of random types, and compares what was made of them with what Python reads.

    csv_types.py write SEED COUNT FOLDER      FOLDER/in/N/*.csv, FOLDER/columns.json
    csv_types.py compare FOLDER               FOLDER/out/N against the files
"""

import datetime
import json
import math
import random
import re
import sys
from decimal import Decimal
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as parquet

# In the order in which they are found, with their types.
KINDS = ["boolean", "int64", "long", "float64", "date", "time", "timestamp", "timestamp_utc"]
TYPES = {
    "boolean": pa.bool_(),
    "int64": pa.int64(),
    "long": pa.decimal128(38, 0),
    "float64": pa.float64(),
    "date": pa.date32(),
    "time": pa.time64("ns"),
    "timestamp": pa.timestamp("us"),
    "timestamp_utc": pa.timestamp("us", "UTC"),
    "text": pa.string(),
}
# So many rows are looked at before a type is found.
FIRST_ROWS = 20_000


def day(draw):
    return (datetime.date(1970, 1, 1) + datetime.timedelta(draw.randrange(-300_000, 300_000))).isoformat()


def clock(draw):
    text = f"{draw.randrange(24):02}:{draw.randrange(60):02}"
    if draw.random() < 0.8:
        text += f":{draw.randrange(60):02}"
        if draw.random() < 0.5:
            text += "." + "".join(draw.choice("0123456789") for _ in range(draw.randrange(1, 7)))
    return text


POOLS = {
    "small": lambda draw: str(draw.randrange(-1000, 1000)),
    "wide": lambda draw: str(draw.randrange(-(2**63), 2**63)),
    "long": lambda draw: str(draw.randrange(-(10**38) + 1, 10**38)),
    "longer": lambda draw: str(draw.randrange(10**38, 10**40)),
    "money": lambda draw: f"{draw.randrange(-10_000, 10_000) / 100:.2f}",
    "float": lambda draw: repr(draw.uniform(-1, 1) * 10.0 ** draw.randrange(-300, 300)),
    "digits": lambda draw: f"0.{draw.randrange(10**24):024}",
    "exponent": lambda draw: f"{draw.randrange(-99, 100)}{draw.choice('eE')}{draw.randrange(-9, 9)}",
    "half": lambda draw: draw.choice(["-.5", ".25", "0.5"]),
    "not_number": lambda draw: draw.choice(["NaN", "Infinity", "-Infinity"]),
    "zeros": lambda draw: f"{draw.randrange(100_000):08}",
    "signs": lambda draw: draw.choice(["+7", "-0", "5.", "1_000", "0x1f", "1,5", "nan", "inf", "٣"]),
    "boolean": lambda draw: draw.choice(["true", "FALSE", "True", "false"]),
    "words": lambda draw: draw.choice(["yes", "no", "x", "NULL", "t", "N/A", "a b", " 1", "true "]),
    "day": day,
    "no_day": lambda draw: draw.choice(["2024-02-30", "31.01.2024", "2024-1-31", "20240131"]),
    "clock": clock,
    "moment": lambda draw: f"{day(draw)}{draw.choice(' T')}{clock(draw)}",
    "instant": lambda draw: f"{day(draw)}T{clock(draw)}{draw.choice(['Z', '+02:00', '-11:30'])}",
    "finer": lambda draw: f"{day(draw)} 12:00:00.{draw.randrange(1, 1000):09}",
}


def value_of(kind, text):
    """The value that a text is of a kind; None where it is none."""
    try:
        if kind == "boolean":
            return {"true": True, "false": False}.get(text.lower())
        if kind in ("int64", "long"):
            if not re.fullmatch(r"(-?[1-9][0-9]*|0)", text, re.ASCII):
                return None
            whole = int(text)
            if kind == "int64":
                return whole if -(2**63) <= whole < 2**63 else None
            return Decimal(whole) if abs(whole) < 10**38 else None
        if kind == "float64":
            if text in ("NaN", "Infinity", "-Infinity"):
                return float(text)
            if not re.fullmatch(r"-?((0|[1-9][0-9]*)(\.[0-9]+)?|\.[0-9]+)([eE][+-]?[0-9]+)?", text, re.ASCII):
                return None
            number = float(text)
            same = Decimal(text) == Decimal(repr(number)) or Decimal(text) == Decimal(number)
            return number if math.isfinite(number) and same else None
        if kind == "date":
            return datetime.date.fromisoformat(text) if re.fullmatch(r"\d{4}-\d\d-\d\d", text, re.ASCII) else None
        if kind == "time":
            return datetime.time.fromisoformat(text) if re.fullmatch(r"\d\d:\d\d(:\d\d(\.\d+)?)?", text, re.ASCII) else None
        form = r"(\d{4}-\d\d-\d\d)[ T](\d\d:\d\d(:\d\d(\.\d{1,6})?)?)(Z|[+-]\d\d:\d\d)?"
        found = re.fullmatch(form, text, re.ASCII)
        if kind == "timestamp" and re.fullmatch(r"\d{4}-\d\d-\d\d", text, re.ASCII):
            return datetime.datetime.fromisoformat(text)
        if not found or (found[5] is None) == (kind == "timestamp_utc"):
            return None
        moment = datetime.datetime.fromisoformat(text)
        return moment.astimezone(datetime.timezone.utc) if kind == "timestamp_utc" else moment
    except (ValueError, OverflowError):
        return None


def kind_of(texts):
    """The first kind that all of them are of."""
    for kind in KINDS:
        is_kind = all(value_of(kind, text) is not None for text in texts)
        if texts and is_kind and (kind != "float64" or any(re.search(r"[0-9]", text) for text in texts)):
            return kind
    return "text"


def column(draw, count, is_late):
    """Fields of a column: a text, "" for one in quotes, None for nothing."""
    pools = draw.sample(sorted(POOLS), draw.choice([1, 1, 1, 2, 3]))
    late = draw.choice(sorted(POOLS)) if is_late and draw.random() < 0.5 else None
    nulls = draw.choice([0, 0, 0.1, 0.5])
    quoted = draw.choice([0, 0, 0, 0.1])
    fields = []
    for row in range(count):
        chance = draw.random()
        if chance < nulls:
            fields.append(None)
        elif chance < nulls + quoted:
            fields.append("")
        elif late and row > FIRST_ROWS and row % 997 == 0:
            fields.append(POOLS[late](draw))
        else:
            fields.append(POOLS[draw.choice(pools)](draw))
    return fields


def field(text, draw):
    if text is None:
        return ""
    if text == "" or "," in text or draw.random() < 0.1:
        return f'"{text}"'
    return text


def write(seed, count, folder):
    draw = random.Random(seed)
    tables = []
    for number in range(count):
        width, files = draw.randrange(1, 8), draw.randrange(1, 4)
        is_late = draw.random() < 0.1
        names = ["row"] + [f"c{place}" for place in range(width)]
        place = folder / "in" / str(number)
        place.mkdir(parents=True)
        table = [[] for _ in names]
        for file in range(files):
            rows = draw.randrange(1, 40) if not is_late or file > 0 else FIRST_ROWS + 3_000
            columns = [[str(len(table[0]) + row) for row in range(rows)]]
            columns += [column(draw, rows, is_late) for _ in range(width)]
            lines = [",".join(names)] + [",".join(field(text, draw) for text in row) for row in zip(*columns)]
            (place / f"{file}.csv").write_text("\n".join(lines) + "\n")
            for whole, part in zip(table, columns):
                whole.extend(part)
        tables.append({"names": names, "columns": table})
    (folder / "columns.json").write_text(json.dumps(tables))


def is_same(found, expected):
    if isinstance(expected, float):
        both_nan = math.isnan(found) and math.isnan(expected)
        return both_nan or (found == expected and math.copysign(1, found) == math.copysign(1, expected))
    return found == expected


def compare(folder):
    tables = json.loads((folder / "columns.json").read_text())
    for number, table in enumerate(tables):
        parts = sorted((folder / "out" / str(number)).glob("*.parquet"))
        made = pa.concat_tables([parquet.ParquetFile(part).read() for part in parts])
        made = made.sort_by("row")
        assert made.num_rows == len(table["columns"][0]), f"{number}: {made.num_rows} rows"
        for name, fields in zip(table["names"], table["columns"]):
            kind = kind_of([text for text in fields if text])
            found = made.column(name)
            wanted = TYPES[kind]
            is_wanted = found.type == wanted or (kind == "text" and pa.types.is_large_string(found.type))
            assert is_wanted, f"{number}.{name}: {found.type}, expected {wanted}"
            if kind == "time":
                # Python has no nanoseconds.
                found = found.cast(pa.time64("us"))
            for row, (text, value) in enumerate(zip(fields, found.to_pylist())):
                if kind == "text":
                    expected = text
                else:
                    expected = value_of(kind, text) if text else None
                if expected is None:
                    assert value is None, f"{number}.{name}, row {row}: {value!r} of {text!r}"
                else:
                    assert is_same(value, expected), f"{number}.{name}, row {row}: {value!r} of {text!r}"


if __name__ == "__main__":
    if sys.argv[1] == "write":
        write(int(sys.argv[2]), int(sys.argv[3]), Path(sys.argv[4]))
    else:
        compare(Path(sys.argv[2]))
