"""Writes one small parquet file per type, layout or option that pyarrow can write, and lists them as JSON.

Usage: type_cases.py OUT_DIR. Each file is named after its case. Most cases have three columns: `values`
without nulls, `nulls` with some, and `none` with nothing else. What pyarrow cannot write is named on stderr.

The file is not called types.py, because Python would then import it in place of its own module `types`.
"""

import json
import random
import sys
import uuid
from decimal import Decimal
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

ROWS = 50
ROW_GROUP_ROWS = 20
ZONES = {"": None, "_utc": "UTC", "_copenhagen": "Europe/Copenhagen", "_offset": "+02:00"}
UNITS = {"s": 1, "ms": 10**3, "us": 10**6, "ns": 10**9}
DAY = 86_400
INT64 = [-(2**63), 2**63 - 1]

TEXTS = ["", " ", "plain", "Smørrebrød", "e\u0301", "שלום", "數は力", "👩‍👩‍👧‍👦", "nul\0inside", "\0", "\ufeffbom", "\U0010ffff",
         "null", "a text longer than the twelve bytes that a view holds inline", "æøå€𝄞" * 300]
BLOBS = [b"", b"\0", b"\xff\xfe", b"\xc3\x28 is not UTF-8", bytes(range(256)), b"PAR1", b"\0" * 40]
NAMES = ["a.b", "a b", 'a"b', "a'b", "a`b", "a,b", "a;b", "a=b", "a/b", "a\\b", "a\nb", "a\tb", "*", "^.*$", "%",
         "{}", "[0]", "list", "element", "key_value", "array", "A", "a", "naïve", "nai\u0308ve", "列", "😀", " lead",
         "trail ", "NULL", "0", "__index_level_0__", "x" * 300]
FLOAT64_BITS = [0, 1 << 63, 0x3FF0000000000000, 0x7FF0000000000000, 0xFFF0000000000000, 1, 0x8000000000000001,
                0x7FEFFFFFFFFFFFFF, 0x7FF8000000000000]
FLOAT32_BITS = [0, 1 << 31, 0x3F800000, 0x7F800000, 0xFF800000, 1, 0x80000001, 0x7F7FFFFF, 0x7FC00000]
FLOAT16_BITS = [0, 1 << 15, 0x3C00, 0x7C00, 0xFC00, 1, 0x8001, 0x7BFF, 0x7E00]
NAN64_BITS = [0x7FF8000000000000, 0xFFF8000000000000, 0x7FF8000000000001, 0x7FF0000000000001, 0xFFFFFFFFFFFFFFFF]
NAN32_BITS = [0x7FC00000, 0xFFC00000, 0x7FC00001, 0x7F800001, 0xFFFFFFFF]


def spread(edges, make=None):
    """ROWS values: the edges, then made ones or the edges again."""
    rng = random.Random(str(edges[:3]))
    return (edges + [make(rng) if make else rng.choice(edges) for _ in range(ROWS)])[:ROWS]


def holes(values):
    return [None if i % 7 == 3 or 20 <= i < 24 else value for i, value in enumerate(values)]


def build(type_, values, storage):
    return pa.array(values, storage).view(type_) if storage else pa.array(values, type_)


def table(type_, values, storage=None):
    """The three columns of a case; `storage` is the type that the values are given in."""
    columns = {"values": values, "nulls": holes(values), "none": [None] * len(values)}
    return pa.table({name: build(type_, column, storage) for name, column in columns.items()})


def integers(bits, signed):
    low, high = (-(1 << bits - 1), (1 << bits - 1) - 1) if signed else (0, (1 << bits) - 1)
    return spread([low, high, 0, 1, low + 1, high - 1], lambda rng: rng.randint(low, high))


def decimals(precision, scale):
    digits = [10**precision - 1, 1 - 10**precision, 0, 1, -1]
    made = spread(digits, lambda rng: rng.randint(1 - 10**precision, 10**precision - 1))
    return [Decimal(f"{number}E{-scale}") for number in made]


def instants(unit):
    """Moments as numbers: before and after 1970, around a change of clocks, within what nanoseconds can hold."""
    scale = UNITS[unit]
    seconds = [1_711_846_799, 1_729_990_800, -9_223_286_400, 9_214_646_400]
    edges = [0, 1, -1, scale, -scale] + [second * scale for second in seconds]
    return spread(edges, lambda rng: rng.randint(0, 1_900_000_000 * scale))


def clock(unit):
    return spread([0, 1, DAY * UNITS[unit] - 1], lambda rng: rng.randint(0, DAY * UNITS[unit] - 1))


def lists(items):
    """Empty lists, lists of nulls and mixed ones."""
    return spread([[], [None], [None, None]], lambda rng: rng.choices(items + [None], k=rng.randint(1, 4)))


def plain_lists(items):
    return spread([[items[0]], []], lambda rng: rng.choices(items, k=rng.randint(1, 4)))


NUMBERS = [0, 1, -1, 2**31 - 1, -(2**31)]
POINT = pa.struct([("a", pa.int32()), ("b", pa.string())])
POINTS = spread([{"a": None, "b": None}],
                lambda rng: {"a": rng.choice(NUMBERS + [None]), "b": rng.choice(TEXTS + [None])})


def basic_types():
    """Name, type, values and storage type of what has no children."""
    for bits in (8, 16, 32, 64):
        yield f"int{bits}", getattr(pa, f"int{bits}")(), integers(bits, True), None
        yield f"uint{bits}", getattr(pa, f"uint{bits}")(), integers(bits, False), None
    yield "float16", pa.float16(), spread(FLOAT16_BITS), pa.uint16()
    yield "float32", pa.float32(), spread(FLOAT32_BITS), pa.uint32()
    yield "float64", pa.float64(), spread(FLOAT64_BITS), pa.uint64()
    yield "bool", pa.bool_(), spread([True, False]), None
    for name in ("string", "large_string", "string_view"):
        yield name, getattr(pa, name)(), spread(TEXTS), None
    for name in ("binary", "large_binary", "binary_view"):
        yield name, getattr(pa, name)(), spread(BLOBS), None
    for width in (1, 2, 12, 16):
        made = spread([b"\0" * width, b"\xff" * width], lambda rng: rng.randbytes(width))
        yield f"fixed_size_binary_{width}", pa.binary(width), made, None
    for precision, scale in ((1, 0), (9, 2), (10, 2), (18, 4), (19, 0), (38, 0), (38, 10), (38, 38)):
        yield f"decimal128_{precision}_{scale}", pa.decimal128(precision, scale), decimals(precision, scale), None
    yield "decimal128_negative_scale", pa.decimal128(9, -2), decimals(9, -2), None
    yield "decimal32", pa.decimal32(9, 2), decimals(9, 2), None
    yield "decimal64", pa.decimal64(18, 4), decimals(18, 4), None
    for precision in (9, 38, 39, 76):
        yield f"decimal256_{precision}", pa.decimal256(precision, 4), decimals(precision, 4), None
    yield "date32", pa.date32(), spread([0, -1, 1, -719_162, 2_932_896]), pa.int32()
    yield "date64", pa.date64(), [day * DAY * 1000 for day in spread([0, -1, 1, -719_162, 2_932_896])], pa.int64()
    for unit in ("s", "ms"):
        yield f"time32_{unit}", pa.time32(unit), clock(unit), pa.int32()
    for unit in ("us", "ns"):
        yield f"time64_{unit}", pa.time64(unit), clock(unit), pa.int64()
    for unit in UNITS:
        for suffix, zone in ZONES.items():
            yield f"timestamp_{unit}{suffix}", pa.timestamp(unit, zone), instants(unit), pa.int64()
        yield f"duration_{unit}", pa.duration(unit), spread(INT64 + instants(unit)), pa.int64()
    yield "interval_month_day_nano", pa.month_day_nano_interval(), spread([(1, 2, 3), (-1, 0, 10**15)]), None
    yield "null", pa.null(), [None] * ROWS, None
    yield "uuid", pa.uuid(), [uuid.UUID(int=n).bytes for n in integers(128, False)], pa.binary(16)
    yield "json", pa.json_(), spread(["{}", "null", '{"a": [1, "ø"]}']), pa.string()


def extremes():
    yield "date32_extreme", "all int32 days", table(pa.date32(), integers(32, True), pa.int32()), {}
    for unit, storage in (("ms", 32), ("us", 64), ("ns", 64)):
        type_, stored = (pa.time32(unit), pa.int32()) if storage == 32 else (pa.time64(unit), pa.int64())
        made = table(type_, integers(storage, True), stored)
        yield f"time{storage}_{unit}_extreme", "times outside of a day", made, {}
    for unit in ("ms", "us", "ns"):
        for suffix in ("", "_utc"):
            made = table(pa.timestamp(unit, ZONES[suffix]), integers(64, True), pa.int64())
            yield f"timestamp_{unit}{suffix}_extreme", "all int64 moments", made, {}
    invalid = pa.array(spread(BLOBS)).view(pa.string())
    yield "string_invalid_utf8", "a string column with bytes that are not UTF-8", pa.table({"values": invalid}), {}
    long = ["x" * 3_000_000, "", "ø" * 1_000_000]
    yield "string_megabytes", "strings longer than a page", pa.table({"values": long}), {}


def nested_types():
    """Name, what it is, type and values of what has children."""
    yield "list_int32", "list of int32", pa.list_(pa.int32()), lists(NUMBERS)
    yield "list_string", "list of string", pa.list_(pa.string()), lists(TEXTS)
    yield "list_binary", "list of binary", pa.list_(pa.binary()), lists(BLOBS)
    yield "list_bool", "list of bool", pa.list_(pa.bool_()), lists([True, False])
    yield "list_float64", "list of float64", pa.list_(pa.float64()), lists([0.0, -0.0, float("inf"), float("nan")])
    yield "list_decimal128_38", "list of decimal128", pa.list_(pa.decimal128(38, 10)), lists(decimals(38, 10))
    yield "list_date32", "list of date32", pa.list_(pa.date32()), lists([0, -1, 19_000])
    yield "list_timestamp_us_utc", "list of timestamp", pa.list_(pa.timestamp("us", "UTC")), lists(instants("us"))
    yield "list_timestamp_s", "list of timestamp[s]", pa.list_(pa.timestamp("s")), lists(instants("s"))
    yield "list_time64_ns", "list of time64[ns]", pa.list_(pa.time64("ns")), lists(clock("ns"))
    yield "list_duration_us", "list of duration", pa.list_(pa.duration("us")), lists(INT64)
    yield "list_null", "list of null", pa.list_(pa.null()), lists([None])
    yield "list_dictionary", "list of dictionary", pa.list_(pa.dictionary(pa.int32(), pa.string())), lists(TEXTS)
    yield "list_fixed_size_binary", "list of fixed_size_binary", pa.list_(pa.binary(2)), lists([b"ab", b"\0\0"])
    yield "large_list", "large_list of int64", pa.large_list(pa.int64()), lists(INT64)
    yield "list_view", "list_view of int64", pa.list_view(pa.int64()), lists(INT64)
    couples = spread([[1, 2], [None, 3], [None, None]])
    yield "fixed_size_list", "fixed_size_list of 2 int32", pa.list_(pa.int32(), 2), couples
    yield "fixed_size_list_1", "fixed_size_list of 1 string", pa.list_(pa.string(), 1), spread([["a"], [None]])
    yield "list_of_list", "list of list", pa.list_(pa.list_(pa.int64())), lists(lists(INT64))
    yield "list_3", "list of list of list", pa.list_(pa.list_(pa.list_(pa.string()))), lists(lists(lists(TEXTS)))
    yield "struct", "struct of int32 and string", POINT, POINTS
    yield "struct_empty", "struct without fields", pa.struct([]), [{}] * ROWS
    yield "struct_one", "struct of one field", pa.struct([("only", pa.int32())]), spread([{"only": None}, {"only": 1}])
    with_null, with_empty = (pa.struct([("a", type_), ("b", pa.int32())]) for type_ in (pa.null(), pa.struct([])))
    yield "struct_null", "struct of a null field", with_null, [{"a": None, "b": 1}] * ROWS
    yield "struct_of_empty", "struct with a struct without fields", with_empty, [{"a": {}, "b": 1}] * ROWS
    deep = pa.struct([("x", pa.struct([("y", pa.struct([("z", pa.int32())]))]))])
    yield "struct_deep", "struct of struct of struct, null at each level", deep, spread(
        [{"x": None}, {"x": {"y": None}}, {"x": {"y": {"z": None}}}, {"x": {"y": {"z": 1}}}])
    yield "list_of_struct", "list of struct", pa.list_(POINT), lists(POINTS)
    single = pa.list_(pa.struct([("only", pa.int32())]))
    yield "list_of_struct_one", "list of struct of one field", single, lists([{"only": 1}, {"only": None}])
    yield "struct_of_list", "struct of list and string", pa.struct([("l", pa.list_(pa.int32())), ("s", pa.string())]), [
        {"l": l, "s": s} for l, s in zip(lists(NUMBERS), spread(TEXTS + [None]))]
    inner = pa.list_(pa.struct([("l", pa.list_(pa.string()))]))
    yield "list_struct_list", "list of struct of list", inner, lists([{"l": l} for l in lists(TEXTS)])
    pairs = spread([[], [("k", None)]], lambda rng: [(text, rng.choice(NUMBERS)) for text in rng.sample(TEXTS, 3)])
    map_ = pa.map_(pa.string(), pa.int32())
    yield "map", "map of string to int32", map_, pairs
    yield "list_of_map", "list of map", pa.list_(map_), lists(pairs)
    yield "struct_of_map", "struct of map", pa.struct([("m", map_)]), [{"m": pair} for pair in pairs]
    odd = pa.struct([(name, pa.int32()) for name in NAMES])
    yield "struct_names", "struct fields with odd names", odd, [{name: i for i, name in enumerate(NAMES)}] * ROWS


def required():
    """What is declared REQUIRED, at the top and inside."""
    numbers, texts = integers(32, True), spread(TEXTS)
    point = pa.struct([pa.field("a", pa.int32(), nullable=False), pa.field("b", pa.string(), nullable=True)])
    points = [{"a": a, "b": b} for a, b in zip(numbers, holes(texts))]
    element = pa.list_(pa.field("element", pa.int32(), nullable=False))
    pick = plain_lists(NUMBERS)
    cases = {
        "int32": (pa.int32(), numbers, False),
        "string": (pa.string(), texts, False),
        "list": (pa.list_(pa.int32()), lists(NUMBERS), False),
        "list_and_element": (element, pick, False),
        "element": (element, holes(pick), True),
        "struct": (pa.struct([("a", pa.int32())]), [{"a": n} for n in holes(numbers)], False),
        "struct_field": (point, holes(points), True),
        "list_of_struct_field": (pa.list_(point), lists(points), True),
        "list_of_list_element": (pa.list_(element), lists(pick), True),
    }
    for name, (type_, values, nullable) in cases.items():
        schema = pa.schema([pa.field("values", type_, nullable=nullable)])
        yield f"required_{name}", f"REQUIRED: {name}", pa.table([pa.array(values, type_)], schema=schema), {}


def mixed():
    """A table of the plain types, for the cases that are about something else."""
    kinds = {name: (type_, values, storage) for name, type_, values, storage in basic_types()}
    names = ("int8", "int32", "int64", "uint64", "float32", "float64", "bool", "string", "binary",
             "decimal128_38_10", "date32", "timestamp_us_utc")
    columns = {name: build(kinds[name][0], holes(kinds[name][1]), kinds[name][2]) for name in names}
    nested = {"list": pa.array(lists(NUMBERS), pa.list_(pa.int32())), "struct": pa.array(POINTS, POINT)}
    return pa.table({**columns, **nested})


def dictionaries():
    for name, index, type_, values in (
        ("dictionary_string", pa.int32(), pa.string(), TEXTS),
        ("dictionary_string_uint8", pa.uint8(), pa.string(), TEXTS),
        ("dictionary_string_int64", pa.int64(), pa.string(), TEXTS),
        ("dictionary_large_string", pa.int32(), pa.large_string(), TEXTS),
        ("dictionary_binary", pa.int32(), pa.binary(), BLOBS),
        ("dictionary_int64", pa.int32(), pa.int64(), INT64 + NUMBERS),
    ):
        drawn = {"values": spread(values), "nulls": holes(spread(values))}
        columns = {column: pa.array(drawn[column], pa.dictionary(index, type_)) for column in drawn}
        yield name, f"dictionary of {type_}, index {index}", pa.table(columns), {}
    ordered = pa.DictionaryArray.from_arrays(pa.array([0, 1, None, 1]), pa.array(["low", "high"]), ordered=True)
    yield "dictionary_ordered", "ordered dictionary of string", pa.table({"values": ordered}), {}


def names():
    odd = pa.table({name: pa.array([i, None]) for i, name in enumerate(NAMES)})
    yield "names_odd", "columns with odd names", odd, {}
    yield "names_empty", "a column whose name is empty", pa.table({"": [1, 2], "b": [3, 4]}), {}
    yield "names_nul", "a column whose name holds a NUL", pa.table({"a\0b": [1, 2]}), {}
    twins = [pa.array([1, 2]), pa.array(["x", "y"])]
    yield "names_duplicate", "two columns of one name", pa.Table.from_arrays(twins, ["a", "a"]), {}
    fields = pa.table({"values": pa.StructArray.from_arrays(twins, names=["a", "a"])})
    yield "names_duplicate_field", "two struct fields of one name", fields, {}
    items = pa.table({"values": pa.array(lists(NUMBERS), pa.list_(pa.int32()))})
    yield "names_not_compliant", "list items called item", items, {"use_compliant_nested_type": False}


def converted():
    """What the writer stores in another type than the ARROW:schema says."""
    nanos = table(pa.timestamp("ns"), [n // 10**6 * 10**6 for n in instants("ns")], pa.int64())
    micros = table(pa.timestamp("us", "UTC"), [n // 1000 * 1000 for n in instants("us")], pa.int64())
    yield "timestamp_ns_coerced_ms", "timestamp[ns] stored in milliseconds", nanos, {"coerce_timestamps": "ms"}
    yield "timestamp_ns_coerced_us", "timestamp[ns] stored in microseconds", nanos, {"coerce_timestamps": "us"}
    yield "timestamp_us_coerced_ms", "timestamp[us, UTC] stored in milliseconds", micros, {"coerce_timestamps": "ms"}
    int96 = {"use_deprecated_int96_timestamps": True}
    for unit in UNITS:
        yield f"timestamp_{unit}_int96", "INT96", table(pa.timestamp(unit), instants(unit), pa.int64()), int96
    zoned = table(pa.timestamp("us", "UTC"), instants("us"), pa.int64())
    yield "timestamp_us_utc_int96", "INT96 of a zone", zoned, int96
    plain = table(pa.timestamp("us"), instants("us"), pa.int64())
    yield "timestamp_us_int96_noschema", "INT96, no ARROW:schema", plain, {**int96, "store_schema": False}
    years_1_and_9999 = [-62_135_596_800 * 10**6, 253_402_300_799 * 10**6]
    wide = table(pa.timestamp("us"), years_1_and_9999, pa.int64())
    yield "timestamp_us_int96_wide", "INT96 beyond int64 nanoseconds", wide, int96
    for precision, scale in ((9, 2), (18, 4)):
        decimal = table(pa.decimal128(precision, scale), decimals(precision, scale))
        for suffix, store_schema in (("", True), ("_noschema", False)):
            options = {"store_decimal_as_integer": True, "store_schema": store_schema}
            yield f"decimal128_{precision}_{scale}_integer{suffix}", "decimal stored as an integer", decimal, options
    for unit in ("ms", "us", "ns"):
        type_, storage = (pa.time32(unit), pa.int32()) if unit == "ms" else (pa.time64(unit), pa.int64())
        adjusted = table(type_, clock(unit), storage)
        yield f"time_{unit}_adjusted", "time adjusted to UTC", adjusted, {"write_time_adjusted_to_utc": True}
    unsigned = table(pa.uint32(), integers(32, False))
    yield "uint32_format_1_0", "format 1.0: uint32 as INT64", unsigned, {"version": "1.0"}
    yield "timestamp_ns_format_1_0", "format 1.0: timestamp[ns] in microseconds", nanos, {"version": "1.0"}
    yield "mixed_format_1_0", "format 1.0: plain types", mixed(), {"version": "1.0"}
    yield "mixed_format_2_4", "format 2.4: plain types", mixed(), {"version": "2.4"}
    yield "mixed_spark", "the flavor of Spark", mixed(), {"flavor": "spark"}


def layouts():
    """Plain types in every encoding, codec and page layout."""
    plain = {"use_dictionary": False}
    yield "mixed", "plain types", mixed(), {}
    yield "mixed_plain", "no dictionary encoding", mixed(), plain
    yield "mixed_page_v2", "data page version 2", mixed(), {"data_page_version": "2.0"}
    small_pages = {"data_page_size": 16, "write_batch_size": 4, "row_group_size": ROWS}
    overflow = {**small_pages, "dictionary_pagesize_limit": 32}
    yield "mixed_small_pages", "pages of few rows", mixed(), small_pages
    yield "mixed_dictionary_overflow", "dictionaries that end in plain pages", mixed(), overflow
    for codec in ("snappy", "gzip", "brotli", "lz4", "zstd", "none"):
        yield f"mixed_{codec}", f"codec {codec}", mixed(), {"compression": codec}
        version_2 = {"compression": codec, "data_page_version": "2.0"}
        yield f"mixed_page_v2_{codec}", f"data page version 2, codec {codec}", mixed(), version_2
    kinds = {name: table(type_, values, storage) for name, type_, values, storage in basic_types()}
    for encoding, types in {
        "DELTA_BINARY_PACKED": ("int8", "int32", "int64", "uint64"),
        "DELTA_LENGTH_BYTE_ARRAY": ("string", "binary"),
        "DELTA_BYTE_ARRAY": ("string", "binary", "fixed_size_binary_16"),
        "BYTE_STREAM_SPLIT": ("float16", "float32", "float64", "int32", "int64", "decimal128_38_10"),
        "RLE": ("bool",),
    }.items():
        for type_ in types:
            options = {**plain, "column_encoding": encoding}
            yield f"{type_}_{encoding.lower()}", f"{type_} encoded {encoding}", kinds[type_], options
    for width, bits in ((64, NAN64_BITS), (32, NAN32_BITS)):
        values = table(getattr(pa, f"float{width}")(), spread(bits), getattr(pa, f"uint{width}")())
        yield f"float{width}_nan_bits", "NaN with sign and payload", values, plain


def metadata():
    noted = mixed().replace_schema_metadata({"origin": "hygge", "größe": "ø", "empty": ""})
    yield "metadata_file", "key-value metadata of the file", noted, {}
    yield "metadata_file_noschema", "key-value metadata, no ARROW:schema", noted, {"store_schema": False}
    field = pa.field("values", pa.int32(), metadata={"note": "of the field"})
    numbers = pa.array(NUMBERS, pa.int32())
    yield "metadata_field", "metadata of a field", pa.table([numbers], schema=pa.schema([field])), {}
    inner = pa.struct([pa.field("a", pa.int32(), metadata={"PARQUET:field_id": "8"})])
    outer = pa.field("values", pa.int32(), metadata={"PARQUET:field_id": "7"})
    points = pa.array([{"a": n} for n in NUMBERS], inner)
    numbered = pa.table([numbers, points], schema=pa.schema([outer, pa.field("point", inner)]))
    yield "field_ids", "field ids", numbered, {}
    yield "field_ids_noschema", "field ids, no ARROW:schema", numbered, {"store_schema": False}
    ascending = pa.table({"key": range(ROWS), "text": spread(TEXTS)})
    yield "sorted", "sorting columns declared", ascending, {"sorting_columns": [pq.SortingColumn(0)]}
    yield "page_index", "page index", mixed(), {"write_page_index": True}
    yield "page_checksum", "page checksums", mixed(), {"write_page_checksum": True}
    filters = {"key": True, "text": {"ndv": 100, "fpp": 0.01}}
    yield "bloom_filter", "bloom filters", ascending, {"bloom_filter_options": filters}
    yield "no_statistics", "no statistics", mixed(), {"write_statistics": False}


def empties():
    yield "zero_rows", "no rows, no row group values", mixed().slice(0, 0), {}
    yield "zero_rows_noschema", "no rows, no ARROW:schema", mixed().slice(0, 0), {"store_schema": False}
    yield "zero_columns", "no columns and no rows", pa.table({}), {}
    yield "one_row", "one row", mixed().slice(5, 1), {}


def extensions():
    flags = pa.array([0, 1, None], pa.int8()).cast(pa.bool8())
    yield "extension_bool8", "extension bool8", pa.table({"values": flags}), {}
    stored = pa.array([[1, 2, 3, 4]] * 3, pa.list_(pa.int32(), 4))
    tensors = pa.ExtensionArray.from_storage(pa.fixed_shape_tensor(pa.int32(), [2, 2]), stored)
    yield "extension_tensor", "extension fixed_shape_tensor", pa.table({"values": tensors}), {}
    texts = pa.array(["a", None])
    opaque = pa.ExtensionArray.from_storage(pa.opaque(pa.string(), "kind", "vendor"), texts)
    yield "extension_opaque", "extension opaque", pa.table({"values": opaque}), {}
    noted = {"ARROW:extension:name": "hygge.unknown", "ARROW:extension:metadata": ""}
    unknown = pa.table([texts], schema=pa.schema([pa.field("values", pa.string(), metadata=noted)]))
    yield "extension_unknown", "extension that nobody knows", unknown, {}


def run_ends():
    ends = pa.RunEndEncodedArray.from_arrays(pa.array([2, 5], pa.int32()), pa.array([1, 2]))
    yield "run_end_encoded", "run-end encoded int64", pa.table({"values": ends}), {}


def cases():
    """Name, description, table and the writer's options of each case."""
    for name, type_, values, storage in basic_types():
        yield name, str(type_), table(type_, values, storage), {}
        yield f"{name}_noschema", f"{type_}, no ARROW:schema", table(type_, values, storage), {"store_schema": False}
    for name, about, type_, values in nested_types():
        yield name, about, table(type_, values), {}
        yield f"{name}_noschema", f"{about}, no ARROW:schema", table(type_, values), {"store_schema": False}
    for group in (extremes, required, dictionaries, names, converted, layouts, metadata, empties, extensions, run_ends):
        yield from group()


def main(folder):
    folder.mkdir(parents=True, exist_ok=True)
    written = []
    for name, about, made, options in cases():
        path = folder / f"{name}.parquet"
        try:
            pq.write_table(made, path, **{"row_group_size": ROW_GROUP_ROWS, **options})
        except (pa.ArrowException, NotImplementedError, OSError) as error:
            path.unlink(missing_ok=True)
            print(f"skipped {name}: {error}", file=sys.stderr)
            continue
        written.append({"name": name, "description": about})
    json.dump(written, sys.stdout, indent=1)


if __name__ == "__main__":
    main(Path(sys.argv[1]))
