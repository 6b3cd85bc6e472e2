"""Writes the sample data/home/numbers/*.parquet: one column of every type that hygge reads, nulls in each.

The same pyarrow gives the same bytes: values come from a generator seeded with the file's and column's
name, and every writer option that matters is set here.
"""

import random
import struct
from decimal import Decimal
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

FOLDER = Path(__file__).parent / "home" / "numbers"
ROWS = {"north": 180, "east": 230, "south": 140, "west": 270}
ROW_GROUP_ROWS = 120
NULL_SHARE = 0.12
ZONES = [None, "UTC", "Europe/Copenhagen"]
UNITS = {"ms": 10**3, "us": 10**6, "ns": 10**9}

# Seconds since 1970: before and after it, and both sides of the hours that clocks in Copenhagen skip and repeat.
INSTANTS = [0, 1, -1, -86_400, 951_782_400, 1_711_846_799, 1_711_846_800, 1_729_987_199, 1_729_987_200, 1_729_990_800]
FIRST_SECOND, LAST_SECOND = -62_135_596_800, 253_402_300_799  # years 1 and 9999
FIRST_NANO_SECOND, LAST_NANO_SECOND = -9_223_286_400, 9_214_646_400  # 1677-09-22 and 2261-12-31

FLOAT64 = [0.0, -0.0, 1.0, -1.5, 0.1, float("inf"), float("-inf"), 5e-324, -5e-324, 2.2250738585072014e-308,
           1.7976931348623157e308, -1.7976931348623157e308]
FLOAT32 = [0.0, -0.0, 1.0, -1.5, float("inf"), float("-inf"), 1.401298464324817e-45, 1.1754943508222875e-38,
           3.4028234663852886e38, -3.4028234663852886e38]
NAN64, NAN32 = 0x7FF8000000000000, 0x7FC00000

TEXTS = ["", " ", "plain", "Smørrebrød på Østerbro", "e\u0301 beside \u00e9", "שלום עולם", "\u202eمرحبا\u202c", "数は力なり",
         "👩‍👩‍👧‍👦 🏳️‍🌈 🇩🇰", "nul\0inside", "\0", "tab\tline\nreturn\r", "\ufeffbom", "\U0010ffff", "\ud7ff\ue000",
         '"\'\\,;', "null", "NaN", "a text longer than the twelve bytes that a view holds inline"]
LONG_TEXTS = ["æøå€𝄞" * 300, "x" * 5_000]
BLOBS = [b"", b"\0", b"\xff\xfe", b"\xc3\x28 is not UTF-8", bytes(range(256)), b"PAR1", b"\0" * 40]


def pool(rng, edges, make):
    """The edge values and as many made ones: few, so that dictionaries keep the files small."""
    return edges + [make(rng) for _ in range(len(edges))]


def integers(bits, signed):
    low, high = (-(1 << bits - 1), (1 << bits - 1) - 1) if signed else (0, (1 << bits) - 1)
    return lambda rng: pool(rng, [low, high, 0, 1, low + 1, high - 1], lambda rng: rng.randint(low, high))


def float_bits(values, wide, narrow, nan):
    """Floats as integers, so that Python never touches their bits."""
    edges = [struct.unpack(wide, struct.pack(narrow, value))[0] for value in values] + [nan]
    return lambda rng: pool(rng, edges, lambda rng: struct.unpack(wide, struct.pack(narrow, rng.gauss(0, 1e6)))[0])


def decimals(precision, scale):
    top = 10**precision - 1
    number = lambda digits: Decimal(f"{digits}E-{scale}")
    edges = [number(digits) for digits in (top, -top, 0, 1, -1, 10**scale)]
    return lambda rng: pool(rng, edges, lambda rng: number(rng.randint(-top, top)))


def instants(unit):
    scale = UNITS[unit]
    first, last = (FIRST_NANO_SECOND, LAST_NANO_SECOND) if unit == "ns" else (FIRST_SECOND, LAST_SECOND)
    edges = [second * scale for second in INSTANTS + [first, last]] + [last * scale + scale - 1]
    return lambda rng: pool(rng, edges, lambda rng: rng.randint(0, 1_900_000_000 * scale))


def within(low, high):
    return lambda rng: pool(rng, [low, high, (low + high) // 2], lambda rng: rng.randint(low, high))


def texts(rng):
    return pool(rng, TEXTS, lambda rng: "".join(rng.choices("abcæøå 日本🙂", k=rng.randint(1, 20))))


def blobs(rng):
    return pool(rng, BLOBS, lambda rng: rng.randbytes(rng.randint(1, 24)))


def lists(item):
    """Lists of the values that `item` makes: empty, of one null, and mixed."""
    def make(rng):
        values = item(rng) + [None]
        return [[], [None]] + [rng.choices(values, k=rng.randint(1, 5)) for _ in range(20)]
    return make


def structs(**items):
    """Structs whose fields are null each by itself."""
    def make(rng):
        values = {name: item(rng) + [None] for name, item in items.items()}
        return [{name: rng.choice(choices) for name, choices in values.items()} for _ in range(30)]
    return make


POINT = pa.struct([("a", pa.int32()), ("b", pa.string())])
small, words = integers(32, True), lambda rng: TEXTS
points = structs(a=small, b=words)

# Column: type, its values, and the type that they are built in where that is another.
COLUMNS = {
    **{f"int{n}": (getattr(pa, f"int{n}")(), integers(n, True), None) for n in (8, 16, 32, 64)},
    **{f"uint{n}": (getattr(pa, f"uint{n}")(), integers(n, False), None) for n in (8, 16, 32, 64)},
    "float32": (pa.float32(), float_bits(FLOAT32, "<I", "<f", NAN32), pa.uint32()),
    "float64": (pa.float64(), float_bits(FLOAT64, "<Q", "<d", NAN64), pa.uint64()),
    **{f"decimal_{p}_{s}": (pa.decimal128(p, s), decimals(p, s), None) for p, s in ((9, 2), (18, 4), (38, 10))},
    "boolean": (pa.bool_(), lambda rng: [True, False], None),
    "string": (pa.string(), texts, None),
    "string_large": (pa.large_string(), lambda rng: TEXTS + LONG_TEXTS, None),
    "binary": (pa.binary(), blobs, None),
    "date32": (pa.date32(), within(-719_162, 2_932_896), pa.int32()),
    "time64_us": (pa.time64("us"), within(0, 86_400 * 10**6 - 1), pa.int64()),
    "time64_ns": (pa.time64("ns"), within(0, 86_400 * 10**9 - 1), pa.int64()),
    **{f"timestamp_{unit}{'_' + zone.split('/')[-1].lower() if zone else ''}":
       (pa.timestamp(unit, zone), instants(unit), pa.int64()) for zone in ZONES for unit in UNITS},
    **{f"duration_{unit}": (pa.duration(unit), integers(64, True), pa.int64()) for unit in UNITS},
    "list_int32": (pa.list_(pa.int32()), lists(small), None),
    "list_string": (pa.list_(pa.string()), lists(words), None),
    "list_list_int64": (pa.list_(pa.list_(pa.int64())), lists(lists(integers(64, True))), None),
    "struct": (POINT, points, None),
    "list_struct": (pa.list_(POINT), lists(points), None),
    "struct_list": (pa.struct([("values", pa.list_(pa.int32())), ("name", pa.string())]),
                    structs(values=lists(small), name=words), None),
}


def column(file, name, rows):
    """`rows` values of a column: each of its choices at least once, the rest repeats and nulls."""
    type_, values, storage = COLUMNS[name]
    rng = random.Random(f"{file}/{name}")
    choices = values(rng)
    repeats = rng.choices(choices, k=rows - len(choices))
    drawn = choices + [None if rng.random() < NULL_SHARE else value for value in repeats]
    rng.shuffle(drawn)
    return pa.array(drawn, storage or type_).view(type_)


def main():
    FOLDER.mkdir(parents=True, exist_ok=True)
    for file, rows in ROWS.items():
        table = pa.table({name: column(file, name, rows) for name in COLUMNS})
        pq.write_table(table, FOLDER / f"{file}.parquet", version="2.6", compression="snappy", use_dictionary=True,
                       row_group_size=ROW_GROUP_ROWS, write_statistics=True, data_page_version="1.0", store_schema=True)


if __name__ == "__main__":
    main()
