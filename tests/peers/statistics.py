"""Compares what parts say of their values with the values, by pyarrow: statistics.py FOLDER...; or makes the files
that are looked at: statistics.py --make FOLDER. What is wrong is printed, and the exit code is 1."""

import decimal
import math
import struct
import sys
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

ROWS = 410_000


def columns(rows):
    """Columns whose pages are several, and whose smallest and largest values lie in different ones."""
    every = lambda step, make: [None if row % step == 0 else make(row) for row in range(rows)]
    decimals = pa.decimal128(30, 2)
    low_first = lambda row: row < rows // 3
    return {
        "few_texts": pa.array(every(5, lambda row: f"category-{row % 7:02}"), pa.string()),
        "texts": pa.array(every(4, lambda row: f"{row * 7919 % rows:09}" + "é" * (row % 40)), pa.string()),
        "long_texts": pa.array([("z" * 63 + "🙂" * 9 if row == 5 else "a") for row in range(rows)], pa.string()),
        "bytes": pa.array(every(7, lambda row: bytes([row % 251]) * 3), pa.binary()),
        "high_bytes": pa.array([b"\xff" * 80 if row % 100_000 == 3 else b"\x01" for row in range(rows)], pa.binary()),
        "u32": pa.array([3_000_000_000 + row if low_first(row) else row for row in range(rows)], pa.uint32()),
        "u64": pa.array([2**63 + row if low_first(row) else row for row in range(rows)], pa.uint64()),
        "u8": pa.array(every(3, lambda row: row % 256), pa.uint8()),
        "i8": pa.array(every(3, lambda row: row % 256 - 128), pa.int8()),
        "i64": pa.array(every(6, lambda row: -row if low_first(row) else row * 1_000_003), pa.int64()),
        "few_numbers": pa.array(every(2, lambda row: row % 3), pa.int64()),
        "date": pa.array(every(9, lambda row: row % 400), pa.date32()),
        "decimal": pa.array([decimal.Decimal(-row if low_first(row) else row) for row in range(rows)], decimals),
        "small_decimal": pa.array([decimal.Decimal(-row if low_first(row) else row) for row in range(rows)], pa.decimal128(9, 0)),
        "double": pa.array([float(-row) if low_first(row) else float(row) for row in range(rows)], pa.float64()),
        "nan": pa.array([math.nan if row == 10 else 1e9 if row == 11 else 1.0 for row in range(rows)], pa.float64()),
        "all_nan": pa.array([math.nan] * rows, pa.float32()),
        "zeros": pa.array([-0.0 if row % 2 else 0.0 for row in range(rows)], pa.float32()),
        "half": pa.array([float(-row % 2048) if low_first(row) else float(row % 2048) for row in range(rows)], pa.float16()),
        "truth": pa.array(every(3, lambda row: row % 3 == 1), pa.bool_()),
        "nulls": pa.array([None] * rows, pa.string()),
        "late_nulls": pa.array(["x" if row < rows - 10 else None for row in range(rows)], pa.string()),
        "time": pa.array(every(8, lambda row: row), pa.timestamp("us", "UTC")),
        "list": pa.array([None if row % 5 == 0 else [] if row % 5 == 1 else [row, None] for row in range(rows)], pa.list_(pa.int64())),
        "struct": pa.array(
            [None if row % 4 == 0 else {"a": None if row % 4 == 1 else row, "b": f"s{row % 5}"} for row in range(rows)],
            pa.struct([("a", pa.int32()), ("b", pa.string())]),
        ),
    }


def make(folder):
    folder.mkdir(parents=True)
    table = pa.table(columns(ROWS))
    for name, options in {
        "one_group": {"row_group_size": ROWS, "compression": "none"},
        "some_groups": {"row_group_size": 150_000, "compression": "snappy", "write_page_index": True, "data_page_version": "2.0"},
    }.items():
        filtered = {"few_texts": {"ndv": 10}, "i64": {"ndv": 1000}}
        (folder / name).mkdir()
        pq.write_table(table, folder / name / "a.parquet", bloom_filter_options=filtered, **options)
    small = table.slice(0, 1000)
    (folder / "small").mkdir()
    for name in ("a", "b"):
        pq.write_table(small, folder / "small" / f"{name}.parquet", write_page_index=True, bloom_filter_options={"i64": {"ndv": 1000}})


def leaves(column, prefix=""):
    """The leaves of an Arrow column: values that are there, and how many entries are not, by their paths."""
    kind = column.type
    if pa.types.is_struct(kind):
        for field in kind:
            yield from leaves(pc.struct_field(column, field.name), f"{prefix}.{field.name}")
    elif pa.types.is_list(kind):
        flat = column.flatten() if isinstance(column, pa.Array) else pa.chunked_array([chunk.flatten() for chunk in column.chunks])
        lengths = pc.list_value_length(column)
        empty = pc.sum(pc.equal(pc.fill_null(lengths, 0), 0)).as_py() or 0
        yield f"{prefix}.list.element", flat.drop_null(), flat.null_count + empty
    else:
        yield prefix, column.drop_null(), column.null_count


def key(value):
    """What orders a value: zeros are told apart by their sign."""
    if isinstance(value, float):
        return (value, math.copysign(1, value))
    return value


def check_chunk(where, meta, values, nulls):
    stated = meta.statistics
    if stated is None:
        return [f"{where}: no statistics"]
    wrong = []
    if not stated.has_null_count or stated.null_count != nulls:
        wrong.append(f"{where}: null_count is {stated.null_count if stated.has_null_count else None}, and there are {nulls}")
    if not stated.has_min_max or len(values) == 0:
        return wrong
    kind = values.type
    if pa.types.is_float16(kind):
        values = pc.cast(values, pa.float32())
        unpack = lambda raw: struct.unpack("<e", raw)[0] if isinstance(raw, bytes) else float(raw)
    else:
        unpack = lambda raw: raw
    all_values = values.to_pylist()
    if any(isinstance(value, float) and math.isnan(value) for value in all_values):
        all_values = [value for value in all_values if not math.isnan(value)]
        if not all_values:
            return wrong + [f"{where}: has bounds, and only NaN"]
    low, high = min(all_values, key=key), max(all_values, key=key)
    least, most = unpack(stated.min), unpack(stated.max)
    if pa.types.is_decimal(kind):
        # Whole numbers, as they are stored.
        convert = lambda value: value if isinstance(value, decimal.Decimal) else decimal.Decimal(int.from_bytes(value, "big", signed=True) if isinstance(value, bytes) else value).scaleb(-kind.scale)
        least, most = convert(least), convert(most)
    if pa.types.is_timestamp(kind) or pa.types.is_date(kind):
        least, most = str(least)[:19], str(most)[:19]
        low, high = str(low)[:19], str(high)[:19]
    if pa.types.is_string(kind) and isinstance(least, bytes):
        least, most = least.decode(), most.decode()
    if key(least) > key(low) or key(most) < key(high):
        wrong.append(f"{where}: says {least!r}..{most!r}, and has {low!r}..{high!r}")
    exact = [stated.is_min_value_exact, stated.is_max_value_exact] if hasattr(stated, "is_min_value_exact") else [None, None]
    if exact[0] and key(least) != key(low) or exact[1] and key(most) != key(high):
        wrong.append(f"{where}: says that {least!r}..{most!r} are values, and has {low!r}..{high!r}")
    return wrong


def check(path):
    file = pq.ParquetFile(path)
    wrong = []
    names = [file.schema.column(number).path for number in range(len(file.schema))]
    for number in range(file.num_row_groups):
        group = file.read_row_group(number)
        meta = file.metadata.row_group(number)
        found = {}
        for name in group.column_names:
            for leaf, values, nulls in leaves(group[name].combine_chunks(), name):
                found[leaf] = (values, nulls)
        for column, name in enumerate(names):
            values, nulls = found[name]
            wrong += check_chunk(f"{path.name}, group {number}, {name}", meta.column(column), values, nulls)
    return wrong


# As much of Thrift's compact protocol as footers and indexes need.
class Compact:
    def __init__(self, data, at=0):
        self.data, self.at = data, at

    def byte(self):
        self.at += 1
        return self.data[self.at - 1]

    def varint(self):
        value = shift = 0
        while True:
            byte = self.byte()
            value |= (byte & 127) << shift
            shift += 7
            if byte < 128:
                return value

    def zigzag(self):
        value = self.varint()
        return (value >> 1) ^ -(value & 1)

    def value(self, kind):
        if kind in (1, 2):
            return kind == 1
        if kind == 3:
            return self.byte()
        if kind in (4, 5, 6):
            return self.zigzag()
        if kind == 7:
            self.at += 8
            return None
        if kind == 8:
            length = self.varint()
            self.at += length
            return self.data[self.at - length : self.at]
        if kind in (9, 10):
            head = self.byte()
            count, inner = head >> 4, head & 15
            if count == 15:
                count = self.varint()
            return [self.byte() == 1 if inner in (1, 2) else self.value(inner) for _ in range(count)]
        return self.struct()

    def struct(self):
        fields, last = {}, 0
        while True:
            head = self.byte()
            if head == 0:
                return fields
            last = last + (head >> 4) if head >> 4 else self.zigzag()
            fields[last] = self.value(head & 15)


def footer(data):
    length = struct.unpack("<I", data[-8:-4])[0]
    return Compact(data, len(data) - 8 - length).struct()


def check_places(path):
    """The order of the columns, filters and indexes: by the bytes of the file."""
    data = path.read_bytes()
    file = footer(data)
    wrong = []
    orders = [sorted(order) for order in file.get(7, [])]
    if orders and orders != [[1]] * len(orders):
        wrong.append(f"{path.name}: its columns have the orders {orders}")
    reader = pq.ParquetFile(path)
    for number, group in enumerate(file[4]):
        for column, chunk in enumerate(group[1]):
            where = f"{path.name}, group {number}, column {b'.'.join(chunk[3][3]).decode()}"
            meta = chunk[3]
            pages = data_pages(data, meta)
            if 4 in chunk:
                index = Compact(data, chunk[4]).struct()
                places = [(place[1], place[2]) for place in index[1]]
                if places != [(at, size) for at, size, _ in pages]:
                    wrong.append(f"{where}: its index has pages at {places[:4]}, and they are at {pages[:4]}")
                if 6 in chunk:
                    wrong += check_index(where, Compact(data, chunk[6]).struct(), pages, meta)
            if 14 in meta:
                header = Compact(data, meta[14])
                bytes_of = header.struct()[1]
                if header.at - meta[14] + bytes_of != meta.get(15):
                    wrong.append(f"{where}: its filter has {header.at - meta[14] + bytes_of} bytes, and the footer says {meta.get(15)}")
                wrong += check_filter(where, data[header.at : header.at + bytes_of], reader, number, b".".join(meta[3]).decode())
    return wrong


def data_pages(data, meta):
    """Where the data pages of a chunk are, with their headers, and how large."""
    starts = [offset for offset in (meta.get(11), meta[9]) if offset]
    at, pages = min(starts), []
    end = at + meta[7]
    while at < end:
        reader = Compact(data, at)
        header = reader.struct()
        size = reader.at - at + header[3]
        if header[1] in (0, 3):
            pages.append((at, size, header))
        at += size
    return pages


def check_index(where, index, pages, meta):
    wrong = []
    if len(index[1]) != len(pages) or len(index.get(5, pages)) != len(pages):
        wrong.append(f"{where}: its index has {len(index[1])} pages, and there are {len(pages)}")
    stated = meta.get(12, {}).get(3)
    if 5 in index and stated is not None and sum(index[5]) != stated:
        wrong.append(f"{where}: the nulls of its pages are {sum(index[5])}, and those of the chunk {stated}")
    for number, ((_, _, header), is_null) in enumerate(zip(pages, index[1])):
        entries = (header.get(5) or header.get(8))[1]
        if 5 in index and is_null != (index[5][number] == entries):
            wrong.append(f"{where}: page {number} has {index[5][number]} nulls of {entries}, and is said to have only them: {is_null}")
    return wrong


def check_filter(where, blocks, reader, number, name):
    """Every value is in the filter (xxHash64, blocks of 32 bytes)."""
    column = reader.read_row_group(number, columns=[name])[name].drop_null().unique()
    wrong = 0
    for value in column.to_pylist()[:200]:
        raw = value.encode() if isinstance(value, str) else value if isinstance(value, bytes) else struct.pack("<q", value)
        if not in_filter(blocks, xxh64(raw)):
            wrong += 1
    return [f"{where}: {wrong} of its values are not in its filter"] if wrong else []


SALT = [0x47B6137B, 0x44974D91, 0x8824AD5B, 0xA2B7289D, 0x705495C7, 0x2DF1424B, 0x9EFC4947, 0x5C6BFB31]


def in_filter(blocks, hashed):
    block = ((hashed >> 32) * (len(blocks) // 32)) >> 32
    words = struct.unpack("<8I", blocks[block * 32 : block * 32 + 32])
    return all(word & (1 << (((hashed & 0xFFFFFFFF) * salt & 0xFFFFFFFF) >> 27)) for word, salt in zip(words, SALT))


M = 2**64 - 1
P1, P2, P3, P4, P5 = 11400714785074694791, 14029467366897019727, 1609587929392839161, 9650029242287828579, 2870177450012600261


def xxh64(data):
    rotate = lambda x, r: ((x << r) | (x >> (64 - r))) & M
    turn = lambda acc, lane: rotate((acc + lane * P2) & M, 31) * P1 & M
    at, length = 0, len(data)
    if length >= 32:
        accs = [(P1 + P2) & M, P2, 0, (-P1) & M]
        while at + 32 <= length:
            accs = [turn(acc, lane) for acc, lane in zip(accs, struct.unpack_from("<4Q", data, at))]
            at += 32
        value = sum(rotate(acc, r) for acc, r in zip(accs, (1, 7, 12, 18))) & M
        for acc in accs:
            value = ((value ^ turn(0, acc)) * P1 + P4) & M
    else:
        value = P5
    value = (value + length) & M
    while at + 8 <= length:
        value = (rotate(value ^ turn(0, struct.unpack_from("<Q", data, at)[0]), 27) * P1 + P4) & M
        at += 8
    if at + 4 <= length:
        value = (rotate(value ^ (struct.unpack_from("<I", data, at)[0] * P1 & M), 23) * P2 + P3) & M
        at += 4
    for byte in data[at:]:
        value = rotate(value ^ (byte * P5 & M), 11) * P1 & M
    value = (value ^ value >> 33) * P2 & M
    value = (value ^ value >> 29) * P3 & M
    return value ^ value >> 32


def main(arguments):
    if arguments[0] == "--make":
        make(Path(arguments[1]))
        return 0
    wrong = []
    seen = 0
    for folder in arguments:
        for path in sorted(Path(folder).glob("*.parquet")):
            seen += 1
            wrong += [f"{folder}: {line}" for line in check(path) + check_places(path)]
    print("\n".join(wrong[:60]))
    print(f"{seen} files, {len(wrong)} wrong")
    return 1 if wrong or not seen else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
