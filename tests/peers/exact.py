"""Writes and reads parquet with pyarrow, every value as a text that says it bit for bit: whole numbers, dates (days), times and
time stamps (in their unit) as numbers, decimals as the number of their last digits, floats as their bytes in hexadecimal,
binaries too, lists as JSON.

Usage: exact.py write FILE COLUMNS    COLUMNS: a file of JSON, [{"name": …, "type": …, "values": [text or null, …]}, …]
       exact.py read FOLDER           prints {"schema": ["NAME: TYPE", …], "columns": [[text or null, …], …]}
"""

import decimal
import json
import random
import re
import struct
import sys
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

FLOATS = {pa.float32(): ">f", pa.float64(): ">d"}


def counts(kind):
    """The whole numbers that a date or time is held as."""
    if pa.types.is_timestamp(kind) or pa.types.is_time64(kind):
        return pa.int64()
    return pa.int32() if pa.types.is_date32(kind) or pa.types.is_time32(kind) else None


def texts(array):
    kind = array.type
    if pa.types.is_list(kind) or pa.types.is_large_list(kind):
        whole = [None if not value.is_valid else texts(value.values) for value in array]
        return [None if value is None else json.dumps(value, ensure_ascii=False, separators=(",", ":")) for value in whole]
    array = array.cast(counts(kind)) if counts(kind) else array
    return [None if value is None else text(value, kind) for value in array.to_pylist()]


def text(value, kind):
    if kind in FLOATS:
        return "nan" if value != value else struct.pack(FLOATS[kind], value).hex()
    if pa.types.is_decimal(kind):
        sign, digits, exponent = value.as_tuple()
        assert exponent == -kind.scale, (value, kind)
        return ("-" if sign and any(digits) else "") + str(int("".join(map(str, digits))))
    if pa.types.is_boolean(kind):
        return str(value).lower()
    return value.hex() if isinstance(value, bytes) else str(value)


def type_of(name):
    """What pyarrow calls a type, read back."""
    inner = re.fullmatch(r"list<element: (.*)>", name)
    if inner:
        return pa.list_(pa.field("element", type_of(inner[1])))
    digits = re.fullmatch(r"decimal128\((\d+), (\d+)\)", name)
    if digits:
        return pa.decimal128(int(digits[1]), int(digits[2]))
    unit = re.fullmatch(r"timestamp\[(\w+)(?:, tz=(.*))?\]", name)
    if unit:
        return pa.timestamp(unit[1], unit[2])
    return {"date32[day]": pa.date32(), "time32[ms]": pa.time32("ms"), "time64[us]": pa.time64("us"), "time64[ns]": pa.time64("ns"),
            "double": pa.float64(), "float": pa.float32()}.get(name) or pa.type_for_alias(name)


def array(values, kind):
    if pa.types.is_list(kind):
        lists = [None if value is None else json.loads(value) for value in values]
        flat = array([element for value in lists for element in value or []], kind.value_type)
        # A list that is not there has a null where it would begin.
        at, offsets = 0, []
        for value in lists:
            offsets.append(None if value is None else at)
            at += len(value or [])
        return pa.ListArray.from_arrays(pa.array(offsets + [at], pa.int32()), flat, type=kind)
    if counts(kind):
        return pa.array([None if value is None else int(value) for value in values], counts(kind)).cast(kind)
    return pa.array([None if value is None else parsed(value, kind) for value in values], kind)


def parsed(value, kind):
    if kind in FLOATS:
        return float("nan") if value == "nan" else struct.unpack(FLOATS[kind], bytes.fromhex(value))[0]
    if pa.types.is_decimal(kind):
        digits = tuple(int(digit) for digit in value.lstrip("-"))
        return decimal.Decimal((int(value.startswith("-")), digits, -kind.scale))
    if pa.types.is_boolean(kind):
        return value == "true"
    if pa.types.is_integer(kind):
        return int(value)
    return bytes.fromhex(value) if kind == pa.binary() else value


def write(path, columns):
    columns = json.loads(Path(columns).read_text())
    fields = [pa.field(column["name"], type_of(column["type"])) for column in columns]
    table = pa.table([array(column["values"], field.type) for column, field in zip(columns, fields)], pa.schema(fields))
    # How a file is laid out shall make no difference; files of the same columns are laid out in the same way.
    chosen = random.Random(sum(len(str(field)) for field in fields))
    pq.write_table(
        table,
        path,
        row_group_size=chosen.choice([7, 50, 10_000]),
        compression=chosen.choice(["none", "snappy", "zstd"]),
        use_dictionary=chosen.choice([True, False]),
        data_page_version=chosen.choice(["1.0", "2.0"]),
        store_decimal_as_integer=chosen.choice([True, False]),
    )


def read(folder):
    table = pa.concat_tables([pq.read_table(path) for path in sorted(Path(folder).glob("*.parquet"))]).combine_chunks()
    schema = [f"{field.name}: {field.type}" for field in table.schema]
    columns = [[value for chunk in column.chunks for value in texts(chunk)] for column in table.columns]
    print(json.dumps({"schema": schema, "columns": columns}))


{"write": write, "read": read}[sys.argv[1]](*sys.argv[2:])
