"""Writes Arrow IPC files with pyarrow, and compares tables of Arrow IPC and parquet in pairs.

Usage: ipc.py write FOLDER            one file a case of type_cases.py, in FOLDER/file and FOLDER/stream
       ipc.py odd FOLDER              files that few writers make: see `odd`
       ipc.py others FOLDER           files that polars and arrow-rs make
       ipc.py compare [--types | --damaged] LEFT RIGHT [LEFT RIGHT ...]
                                      files or folders of them; prints a line of JSON for each pair

--damaged takes what pyarrow does not read on the left for equal.
--types compares the types and the metadata of fields and schema as well; else values are compared, whatever the width of
texts, lists, decimals and dictionaries, the unit of times and the names of time zones.
"""

import json
import sys
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.ipc
import pyarrow.parquet as pq

from compare import Differs, expect_equal, first_difference
from type_cases import cases

CODECS = [None, "lz4", "zstd"]


def write_ipc(path, table, container, compression=None, batch_rows=20, **options):
    path.parent.mkdir(parents=True, exist_ok=True)
    opened = pa.ipc.new_file if container == "file" else pa.ipc.new_stream
    options = pa.ipc.IpcWriteOptions(compression=compression, **options)
    with opened(str(path), table.schema, options=options) as writer:
        for batch in table.to_batches(max_chunksize=batch_rows):
            writer.write_batch(batch)


def is_own(name, options):
    """True for a case that is about types and not about how parquet stores them."""
    return not options and not name.endswith("_noschema")


def write(folder):
    folder = Path(folder)
    written = []
    for number, (name, _, table, options) in enumerate(cases()):
        if not is_own(name, options):
            continue
        for container in ("file", "stream"):
            path = folder / container / f"{name}.arrow"
            write_ipc(path, table, container, CODECS[number % 3], unify_dictionaries=container == "file")
        written.append(name)
    print(json.dumps(written))


def odd(folder):
    folder = Path(folder)
    texts = lambda values, index=pa.int32(): pa.DictionaryArray.from_arrays(
        pa.array(range(len(values)), index), pa.array(values))
    colours = [texts(["red", "green", None, "blue"]), texts(["blue", "black", "red", "white"]), texts(["white", "white", "red", "black"])]
    for number, column in enumerate(colours):
        write_ipc(folder / "dictionaries" / f"{number}.arrow", pa.table({"id": range(4), "colour": column}), "file")
    batches = [pa.record_batch({"id": pa.array(range(4)), "colour": column}) for column in colours]
    with pa.ipc.new_stream(str(folder / "replaced.arrow"), batches[0].schema) as writer:
        for batch in batches:
            writer.write_batch(batch)
    many = [texts([f"{part}-{n}" for n in range(100)], pa.int8()) for part in range(2)]
    for number, column in enumerate(many):
        write_ipc(folder / "keys" / f"{number}.arrow", pa.table({"colour": column}), "file")
    grown = [texts(["red"]), texts(["red", "green"])]
    options = pa.ipc.IpcWriteOptions(emit_dictionary_deltas=True)
    with pa.ipc.new_stream(str(folder / "delta.arrow"), pa.schema({"colour": grown[0].type}), options=options) as writer:
        for column in grown:
            writer.write_batch(pa.record_batch({"colour": column}))
    plain = pa.table({"id": range(100), "name": [f"name {n}" for n in range(100)]})
    write_ipc(folder / "legacy.arrow", plain, "stream", use_legacy_format=True)
    write_ipc(folder / "version4.arrow", plain, "file", metadata_version=pa.ipc.MetadataVersion.V4)
    masked = pa.ListArray.from_arrays(pa.array([0, 2, 4, 5], pa.int32()), pa.array([1, 2, 3, 4, 5]), mask=pa.array([True, False, True]))
    groups = pa.StructArray.from_arrays([pa.array([1, 2, 3]), pa.array(["a", "b", "c"])], names=["n", "t"],
                                        mask=pa.array([False, True, False]))
    fixed = pa.FixedSizeListArray.from_arrays(pa.array([1, 2, 3, 4, 5, 6]), 2, mask=pa.array([False, True, False]))
    write_ipc(folder / "behind_nulls.arrow", pa.table({"list": masked, "group": groups, "fixed": fixed}), "file")
    write_ipc(folder / "sliced.arrow", pa.table({"id": range(50), "list": [[n, n] for n in range(50)],
                                                 "text": [str(n) for n in range(50)]}).slice(7, 20), "file", batch_rows=9)
    ordered = [pa.DictionaryArray.from_arrays([0, 1, 0], values, ordered=True) for values in (["low", "high"], ["low", "high", "top"], ["high", "low"])]
    for folder_name, columns in (("ordered", ordered[:2]), ("disordered", ordered[1:])):
        for number, column in enumerate(columns):
            write_ipc(folder / folder_name / f"{number}.arrow", pa.table({"level": column}), "file")
    validity = pa.py_buffer(bytes([0b101]))
    keys = pa.py_buffer(bytes([1, 0xff, 0]))
    text = [validity, pa.py_buffer(bytes([0, 0, 0, 0, 1, 0, 0, 0, 2, 0, 0, 0, 3, 0, 0, 0])), pa.py_buffer(b"a\xffc")]
    view = [validity, pa.py_buffer(b"".join(bytes([1, 0, 0, 0]) + byte + bytes(11) for byte in (b"a", b"\xff", b"c")))]
    unlooked = pa.table({
        "category": pa.DictionaryArray.from_buffers(pa.dictionary(pa.int8(), pa.string()), 3, [validity, keys], pa.array(["x", "y"])),
        "text": pa.Array.from_buffers(pa.string(), 3, text),
        "view": pa.Array.from_buffers(pa.string_view(), 3, view),
    })
    write_ipc(folder / "unlooked.arrow", unlooked, "file")
    write_ipc(folder / "unlooked_packed.arrow", unlooked, "stream", "zstd")
    rows = pa.table({"id": range(1000, 1077), "text": [None if n % 7 == 3 else "t" for n in range(77)]})
    write_ipc(folder / "rows.arrow", rows, "file", batch_rows=77)
    write_ipc(folder / "rows_of_stream.arrow", rows, "stream", batch_rows=77)
    shapes = pa.table({"id": [1], "group": [{"n": 1}], "lists": [[[1]]], "groups": [[{"n": 1}]], "map": pa.array([[("a", 1)]], pa.map_(pa.string(), pa.int64())),
                       "nothing": pa.nulls(1), "long": pa.array([1], pa.duration("s"))})
    write_ipc(folder / "shapes.arrow", shapes, "file")
    write_ipc(folder / "bare.arrow", shapes.select([]), "file")
    full = pa.schema([pa.field("id", pa.int64()), pa.field("total", pa.int64(), nullable=False)])
    write_ipc(folder / "not_null.arrow", pa.table({"id": [1, 2], "total": [1, None]}, schema=full), "file")
    for number, name in enumerate(("item", "element")):
        kind = pa.list_(pa.field(name, pa.int32()))
        write_ipc(folder / "elements" / f"{number}.arrow", pa.table({"list": pa.array([[number], None], kind)}), "file")
    union = pa.UnionArray.from_sparse(pa.array([0, 1, 0], pa.int8()), [pa.array([1, 2, 3]), pa.array(["a", "b", "c"])])
    write_ipc(folder / "union.arrow", pa.table({"either": union}), "file")


def others(folder):
    import arro3.io
    import polars as pl

    folder = Path(folder)
    folder.mkdir(parents=True)
    table = pa.table({
        "id": range(3), "text": ["a", None, "c" * 40], "raw": [b"x", None, b"y" * 40], "list": [["a", None], [], None],
        "group": [{"x": 1, "y": "t"}, None, {"x": None, "y": "z" * 40}], "open": [True, None, False], "nothing": pa.nulls(3),
        "colour": pa.array(["red", None, "blue"]).dictionary_encode(), "price": pa.array([1, None, -3]).cast(pa.decimal128(30, 2)),
        "at": pa.array([5, None, 7], pa.timestamp("us", "UTC")), "day": pa.array([1, None, -1], pa.date32()),
    })
    frame = pl.from_arrow(table)
    for codec in ("uncompressed", "lz4", "zstd"):
        frame.write_ipc(folder / f"polars_{codec}.arrow", compression=codec)
        frame.write_ipc_stream(folder / f"polars_stream_{codec}.arrow", compression=codec)
        own = None if codec == "uncompressed" else codec
        arro3.io.write_ipc(table, folder / f"arrow_rs_{codec}.arrow", compression=own)
        arro3.io.write_ipc_stream(table, folder / f"arrow_rs_stream_{codec}.arrow", compression=own)
    frame.write_ipc(folder / "polars_old.arrow", compat_level=pl.CompatLevel.oldest())
    pl.concat([frame] * 5).slice(2, 9).write_ipc(folder / "polars_sliced.arrow")
    pl.DataFrame({"id": range(30_000)}).write_ipc(folder / "polars_batches.arrow", record_batch_size=1000)


def read_one(path):
    if path.suffix == ".parquet":
        return pq.read_table(path)
    with pa.OSFile(str(path)) as file:
        head = file.read(6)
    with pa.OSFile(str(path)) as file:
        return (pa.ipc.open_file(file) if head == b"ARROW1" else pa.ipc.open_stream(file)).read_all()


def read(path):
    path = Path(path)
    paths = sorted(found for found in path.iterdir() if not found.name.startswith(".")) if path.is_dir() else [path]
    tables = [read_one(found) for found in paths]
    for other in tables[1:]:
        expect_equal("schemas of one side", tables[0].schema, other.schema)
    return pa.concat_tables(tables)


def plain(array):
    """Without what several types have for equal values."""
    kind = array.type
    if isinstance(kind, pa.BaseExtensionType):
        return plain(array.storage)
    if pa.types.is_dictionary(kind):
        return plain(pa.DictionaryArray.from_arrays(array.indices, plain(array.dictionary)).dictionary_decode())
    if pa.types.is_string(kind) or pa.types.is_string_view(kind) or pa.types.is_large_string(kind):
        return array.cast(pa.large_string())
    if pa.types.is_binary(kind) or pa.types.is_binary_view(kind) or pa.types.is_large_binary(kind):
        return array.cast(pa.large_binary())
    if pa.types.is_decimal(kind):
        return array.cast(pa.decimal256(76, kind.scale))
    if pa.types.is_date64(kind):
        return array.cast(pa.date32())
    if pa.types.is_timestamp(kind):
        array = array.cast(pa.timestamp("ms", kind.tz)) if kind.unit == "s" else array
        return array
    if pa.types.is_time32(kind):
        return array.cast(pa.time32("ms"))
    if pa.types.is_struct(kind):
        fields = [plain(field) for field in array.flatten()]
        return pa.StructArray.from_arrays(fields, names=[field.name for field in kind], mask=array.is_null()) if fields else array
    if pa.types.is_map(kind):
        return plain(array.cast(pa.list_(pa.struct([kind.key_field, kind.item_field]))))
    if pa.types.is_list(kind) or pa.types.is_large_list(kind) or pa.types.is_fixed_size_list(kind):
        sizes = pc.fill_null(pc.list_value_length(array).cast(pa.int64()), 0)
        offsets = pa.concat_arrays([pa.array([0], pa.int64()), pc.cumulative_sum(sizes)])
        return pa.LargeListArray.from_arrays(offsets, plain(array.flatten()), mask=array.is_null())
    return array


def joined(column):
    """Chunk by chunk, since pyarrow does not join all dictionaries."""
    chunks = [plain(chunk) for chunk in column.chunks] or [plain(pa.array([], column.type))]
    return pa.concat_arrays(chunks)


def compare(*paths):
    types, damaged = paths[0] == "--types", paths[0] == "--damaged"
    paths = paths[types or damaged:]
    is_equal = True
    for left, right in zip(paths[::2], paths[1::2]):
        said = {"equal": True, "left": left, "right": right}
        try:
            one = read(left)
        except (Differs, pa.ArrowException, OSError, ValueError) as error:
            is_equal = is_equal and damaged
            print(json.dumps({**said, "equal": damaged, "unread": str(error)}))
            continue
        try:
            other = read(right)
            expect_equal("column names", one.column_names, other.column_names)
            expect_equal("rows", one.num_rows, other.num_rows)
            if types and not one.schema.equals(other.schema, check_metadata=True):
                raise Differs(f"schemas: {one.schema} and {other.schema}")
            for name, ours, theirs in zip(one.column_names, one.columns, other.columns):
                ours, theirs = joined(ours), joined(theirs)
                expect_equal(f"type of column {name!r}", str(ours.type), str(theirs.type))
                row = first_difference(ours, theirs)
                if row is not None:
                    raise Differs(f"column {name!r}, row {row}: {ours.slice(row, 1)} and {theirs.slice(row, 1)}")
        except (Differs, pa.ArrowException, OSError) as error:
            is_equal, said = False, {**said, "equal": False, "differs": str(error)}
        print(json.dumps(said))
    sys.exit(0 if is_equal else 1)


{"write": write, "odd": odd, "others": others, "compare": compare}[sys.argv[1]](*sys.argv[2:])
