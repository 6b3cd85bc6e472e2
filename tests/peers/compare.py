"""Compares parquet files or folders of them in pairs, as pyarrow and duckdb read them.

Usage: compare.py [--values-only] [--metadata] LEFT RIGHT [LEFT RIGHT ...]. The files of a side are taken in the
order of their names, as one table. Prints a line of JSON for each pair, which says whether schemas and values are
equal, or which column or row differs; exits 1 where any does. Values are equal where their bits are: NaN by its
payload, -0.0 is not 0.0.

--values-only  leaves out the parquet schema, nullability, and the width of strings, binaries and lists.
--metadata     compares the key-value metadata of files and fields too.
"""

import argparse
import json
import sys
from pathlib import Path

import duckdb
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

FLOAT_BITS = {pa.float16(): pa.uint16(), pa.float32(): pa.uint32(), pa.float64(): pa.uint64()}
ARROW_SCHEMA = b"ARROW:schema"


class Differs(Exception):
    """Says what is not equal."""


def parquet_files(path):
    files = sorted(path.glob("*.parquet")) if path.is_dir() else [path]
    if not files:
        raise Differs(f"{path}: no parquet files")
    return files


def expect_equal(what, left, right):
    if left != right:
        raise Differs(f"{what}: {left!r} and {right!r}")


# The parquet schema.


def parquet_schema(file):
    """Every node as pyarrow prints it (repetition, physical and logical type, field id), then what it leaves out."""
    nodes = str(file.schema).splitlines()[2:]
    leaves = [file.schema.column(i) for i in range(len(file.schema))]
    return nodes + [
        f"{leaf.path}: {leaf.converted_type}, levels {leaf.max_definition_level} {leaf.max_repetition_level}"
        for leaf in leaves
    ]


def key_value_metadata(file):
    """Without the ARROW:schema, whose bytes are the writer's own and whose fields are compared."""
    return {key: value for key, value in (file.metadata.metadata or {}).items() if key != ARROW_SCHEMA}


def compare_nodes(left, right):
    for one, other in zip(left, right):
        expect_equal("parquet schema", one.strip(), other.strip())
    expect_equal("number of parquet schema nodes", len(left), len(right))


# Arrow types.


def loose(type_):
    """The type without nullability and without what a re-encoding may widen."""
    if pa.types.is_string(type_) or pa.types.is_large_string(type_) or pa.types.is_string_view(type_):
        return "string"
    if pa.types.is_binary(type_) or pa.types.is_large_binary(type_) or pa.types.is_binary_view(type_):
        return "binary"
    if is_list(type_):
        return f"list<{loose(type_.value_type)}>"
    if pa.types.is_fixed_size_list(type_):
        return f"list<{loose(type_.value_type)}>[{type_.list_size}]"
    if pa.types.is_struct(type_):
        return f"struct<{', '.join(f'{field.name!r}: {loose(field.type)}' for field in type_)}>"
    return str(type_)


def is_list(type_):
    return (pa.types.is_list(type_) or pa.types.is_large_list(type_)
            or pa.types.is_list_view(type_) or pa.types.is_large_list_view(type_))


def compare_arrow_schemas(left, right, values_only, metadata):
    expect_equal("column names", left.names, right.names)
    for one, other in zip(left, right):
        if values_only:
            expect_equal(f"arrow type of column {one.name!r}", loose(one.type), loose(other.type))
        elif not one.equals(other, check_metadata=metadata):
            raise Differs(f"arrow field {one.name!r}: {describe(one, metadata)} and {describe(other, metadata)}")


def describe(field, metadata):
    return pa.schema([field]).to_string(show_field_metadata=metadata, truncate_metadata=False)


# Values.


def first_difference(left, right):
    """The first row where two arrays of one kind and length differ, or None."""
    type_ = left.type
    if isinstance(type_, pa.BaseExtensionType):
        return first_difference(left.storage, right.storage)
    if pa.types.is_dictionary(type_):
        return first_difference(left.dictionary_decode(), right.dictionary_decode())
    if (row := first_unequal(left.is_valid(), right.is_valid())) is not None:
        return row
    if type_ in FLOAT_BITS:
        return first_unequal(left.view(FLOAT_BITS[type_]), right.view(FLOAT_BITS[type_]))
    if pa.types.is_struct(type_):
        rows = [first_difference(one, other) for one, other in zip(left.flatten(), right.flatten())]
        return min((row for row in rows if row is not None), default=None)
    if pa.types.is_map(type_):
        return first_difference(entries(left), entries(right))
    if is_list(type_) or pa.types.is_fixed_size_list(type_):
        return first_difference_in_lists(left, right)
    if loose(type_) in ("string", "binary"):
        return first_unequal(as_bytes(left), as_bytes(right))
    return first_unequal(left, right)


def entries(maps):
    """Maps as the lists of structs that they are."""
    key, item = maps.type.key_field, maps.type.item_field
    return maps.cast(pa.list_(pa.struct([key, item])))


def first_difference_in_lists(left, right):
    sizes = pc.list_value_length(left).cast(pa.int64()), pc.list_value_length(right).cast(pa.int64())
    if (row := first_unequal(*sizes)) is not None:
        return row
    item = first_difference(left.flatten(), right.flatten())
    return None if item is None else row_of_item(sizes[0], item)


def row_of_item(sizes, item):
    ends = pc.cumulative_sum(pc.fill_null(sizes, 0))
    return pc.index(pc.greater(ends, item), True).as_py()


def as_bytes(array):
    """Text as it is stored, valid or not."""
    wide = {pa.string(): pa.binary(), pa.large_string(): pa.large_binary(), pa.string_view(): pa.binary_view()}
    return array.view(wide.get(array.type, array.type)).cast(pa.large_binary())


def first_unequal(left, right):
    if left.equals(right):
        return None
    low, high = 0, len(left)
    while high - low > 1:
        middle = (low + high) // 2
        same = left.slice(low, middle - low).equals(right.slice(low, middle - low))
        low, high = (middle, high) if same else (low, middle)
    return low


def compare_columns(reader, names, left, right):
    """Two tables of one schema, by position, since names may repeat."""
    expect_equal(f"{reader}: number of rows", left.num_rows, right.num_rows)
    for name, one, other in zip(names, left.columns, right.columns):
        one, other = one.combine_chunks(), other.combine_chunks()
        row = first_difference(one, other)
        if row is not None:
            raise Differs(f"{reader}: column {name!r}, row {row}: {shown(one, row)} and {shown(other, row)}")


def shown(array, row):
    """A value as arrow prints it, since Python has no objects for some of them."""
    return " ".join(str(array.slice(row, 1)).split())[:200]


# The two readers.


def read(file):
    """Row group by row group, since pyarrow does not read dictionaries inside of lists otherwise."""
    groups = [file.read_row_group(i) for i in range(file.num_row_groups)]
    return pa.concat_tables(groups) if groups else file.read()


def compare_with_pyarrow(left, right, values_only, metadata):
    sides = [[pq.ParquetFile(path) for path in paths] for paths in (left, right)]
    first = sides[0][0]
    for side, paths in zip(sides, (left, right)):
        for file, path in zip(side, paths):
            try:
                compare_arrow_schemas(first.schema_arrow, file.schema_arrow, values_only, metadata)
                if not values_only:
                    compare_nodes(parquet_schema(first), parquet_schema(file))
                if metadata:
                    expect_equal("key-value metadata", key_value_metadata(first), key_value_metadata(file))
            except Differs as error:
                raise Differs(f"{left[0]} and {path}: {error}") from None
    tables = [pa.concat_tables([read(file) for file in side]) for side in sides]
    compare_columns("pyarrow", first.schema_arrow.names, *tables)
    return tables[0]


def duckdb_table(paths, columns="*"):
    query = f"select {columns} from read_parquet($files, hive_partitioning = false)"
    with duckdb.connect() as connection:
        return connection.sql(query, params={"files": [str(path) for path in paths]}).to_arrow_table()


def duckdb_compare(left, right, columns="*"):
    """Compares what duckdb reads; returns its reason where it refuses the left side."""
    try:
        one = duckdb_table(left, columns)
    except (duckdb.Error, pa.ArrowException) as error:
        return str(error).splitlines()[0]
    try:
        other = duckdb_table(right, columns)
    except (duckdb.Error, pa.ArrowException) as error:
        raise Differs(f"duckdb reads only the left side: {error}") from None
    expect_equal("duckdb: columns", [str(field) for field in one.schema], [str(field) for field in other.schema])
    compare_columns("duckdb", one.schema.names, one, other)
    return None


def compare_with_duckdb(left, right, names):
    """All columns at once, or else each by itself; returns the columns that were refused, and why."""
    reason = duckdb_compare(left, right)
    if reason is None:
        return {}
    quoted = {name: '"' + name.replace('"', '""') + '"' for name in names}
    reasons = {name: duckdb_compare(left, right, column) for name, column in quoted.items()}
    return {name: why for name, why in reasons.items() if why} or {"*": reason}


def compare(left, right, options):
    """What the line of JSON says of a pair."""
    paths = {"left": str(left), "right": str(right)}
    try:
        left, right = parquet_files(left), parquet_files(right)
        table = compare_with_pyarrow(left, right, options.values_only, options.metadata)
        skipped = compare_with_duckdb(left, right, table.column_names)
    except (Differs, pa.ArrowException, OSError) as error:
        return {"equal": False, **paths, "differs": str(error)}
    counts = {"rows": table.num_rows, "columns": table.num_columns}
    return {"equal": True, **paths, **counts, "files": [len(left), len(right)], "duckdb_skipped": skipped}


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("paths", type=Path, nargs="+", metavar="LEFT RIGHT")
    parser.add_argument("--values-only", action="store_true")
    parser.add_argument("--metadata", action="store_true")
    options = parser.parse_args()
    if len(options.paths) % 2:
        parser.error("paths come in pairs")
    pairs = zip(options.paths[::2], options.paths[1::2])
    compared = [compare(left, right, options) for left, right in pairs]
    for result in compared:
        print(json.dumps(result))
    sys.exit(0 if all(result["equal"] for result in compared) else 1)


if __name__ == "__main__":
    main()
