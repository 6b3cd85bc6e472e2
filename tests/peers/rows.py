"""Prints what pyarrow reads from a folder of parquet files, in the order of their names, as one line of JSON:
`schema`, a list of `name: type`, and `rows`, lists of texts (null where there is no value).

Usage: rows.py FOLDER
"""

import json
import math
import sys
from pathlib import Path

import pyarrow.parquet as pq


def shown(value):
    if value is None or isinstance(value, str):
        return value
    if isinstance(value, bytes):
        return "x" + value.hex()
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, float):
        return "nan" if math.isnan(value) else repr(value)
    if isinstance(value, list):
        return "[" + ", ".join(str(shown(element)) for element in value) + "]"
    if hasattr(value, "isoformat"):
        return value.isoformat()
    return str(value)


def main() -> None:
    schema, rows = None, []
    for path in sorted(Path(sys.argv[1]).glob("*.parquet")):
        table = pq.read_table(path)
        schema = [f"{field.name}: {field.type}{'' if field.nullable else ' not null'}" for field in table.schema]
        columns = [[shown(value.as_py()) for value in column] for column in table.columns]
        rows += [list(row) for row in zip(*columns)] if columns else []
    print(json.dumps({"schema": schema, "rows": rows}))


main()
