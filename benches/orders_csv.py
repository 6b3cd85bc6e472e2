"""What does CSV cost? `hygge build` beside DuckDB and polars, on TPC-H orders.

From CSV to parquet all find the types of columns themselves; hygge checks each value against its type and
fails where one is another, so that it may not be the only one that reads a file. Every run begins without
outputs, after a sync that is not timed; `+ sync` is the run with a `sync -f` of the outputs' filesystem.
"""

import argparse
import csv
import gzip
import shutil
import sys

import pyarrow.parquet as parquet
from rounds import BENCH, contender, hygge_option, measure, run, setting, table, without_import, work_folder

HOME = BENCH / "orders_csv"
ROWS = 1_500_000
LARGE = 12

READ = """
flows:
  orders: {{home: {home}, store: {{path: store, compression: snappy}}}}
"""
WRITE = """
flows:
  orders: {{home: {home}, store: {{type: csv, path: store}}}}
"""
DUCKDB = "import sys, duckdb; duckdb.sql(f\"copy (from read_csv('{sys.argv[1]}')) to '{sys.argv[2]}/orders.parquet' (compression snappy)\")"
DUCKDB_WRITES = "import sys, duckdb; duckdb.sql(f\"copy (from '{sys.argv[1]}') to '{sys.argv[2]}/orders.csv'\")"
POLARS = """
import sys, time
start = time.perf_counter()
import polars as pl
print(time.perf_counter() - start)
"""
POLARS_READS = POLARS + "pl.scan_csv(sys.argv[1], try_parse_dates=True).sink_parquet(sys.argv[2] + '/orders.parquet', compression='snappy')"
POLARS_WRITES = POLARS + "pl.scan_parquet(sys.argv[1]).sink_csv(sys.argv[2] + '/orders.csv')"


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--large", action="store_true", help=f"also {LARGE} times as many rows, for the peak of memory")
    hygge_option(parser)
    options = parser.parse_args()

    make_orders()
    versions = (name + " " + run(sys.executable, "-c", f"import {name}; print({name}.__version__)").output for name in ["duckdb", "polars"])
    size = (HOME / "orders.csv").stat().st_size / 1e6
    print(f"orders: {ROWS:,} rows, {size:.0f} MB of CSV; {setting(*versions)}")
    with work_folder(keep=False) as work:
        compare(work, options, "CSV to parquet", HOME / "orders.csv", (READ, DUCKDB, POLARS_READS), check_parquet)
        compare(work, options, "CSV with gzip to parquet", HOME / "orders.csv.gz", (READ, DUCKDB, POLARS_READS), check_parquet)
        compare(work, options, "parquet to CSV", HOME / "orders.parquet", (WRITE, DUCKDB_WRITES, POLARS_WRITES), check_csv)
        if options.large:
            large = work / "large.csv"
            with open(large, "wb") as out, open(HOME / "orders.csv", "rb") as orders:
                header, rows = orders.readline(), orders.read()
                out.write(header)
                for _ in range(LARGE):
                    out.write(rows)
            what = f"{large.stat().st_size / 1e6:.0f} MB of CSV to parquet"
            compare(work, options, what, large, (READ, DUCKDB, POLARS_READS), lambda store: check_parquet(store, LARGE))


def make_orders():
    """Writes orders of scale factor 1 in each form, once; it appears whole or not at all."""
    if HOME.exists():
        return
    with work_folder(keep=False) as work:
        shape = "--scale-factor=1 --tables=orders --parts=1 --quiet".split()
        for form in ["csv", "parquet"]:
            run("tpchgen-cli", form, *shape, f"--output-dir={work / form}")
        made = work / "made"
        made.mkdir()
        for form in ["csv", "parquet"]:
            (found,) = (work / form).rglob(f"*.{form}")
            found.rename(made / f"orders.{form}")
        with open(made / "orders.csv", "rb") as plain, gzip.open(made / "orders.csv.gz", "wb", compresslevel=6) as packed:
            shutil.copyfileobj(plain, packed)
        made.rename(HOME)


def compare(work, options, what, home, scripts, check):
    config, duckdb, polars = scripts
    project, one, other = work / "hygge", work / "duckdb", work / "polars"
    contenders = {
        "hygge": contender(project, [options.hygge, "build", "-f", project / "hygge.yml"], check, config.format(home=home)),
        "duckdb": contender(one, python(duckdb, home, one), check),
        "polars": contender(other, python(polars, home, other), check),
    }
    rows = measure(contenders, options.rounds)
    rows["polars + sync - import"] = [without_import(synced) for synced in rows["polars + sync"]]
    print(f"\n{what}, {options.rounds} rounds in turn:\n")
    print(table(rows, "hygge + sync", "s"))


def python(script, home, folder):
    script = f"import os, sys; os.mkdir(sys.argv[2])\n{script}"
    return [sys.executable, "-c", script, home, folder / "store"]


def check_parquet(store, times=1):
    (file,) = store.glob("*.parquet")
    footer = parquet.read_metadata(file)
    types = [footer.schema.column(place).physical_type for place in range(5)]
    found = footer.num_rows, footer.row_group(0).column(0).compression, types
    expected = ROWS * times, "SNAPPY", ["INT64", "INT64", "BYTE_ARRAY", "DOUBLE", "INT32"]
    assert found == expected, f"rows, codec and types in {store}: {found}"


def check_csv(store):
    (file,) = store.glob("*.csv")
    with open(file, newline="") as lines:
        found = sum(1 for _ in csv.reader(lines)) - 1
    assert found == ROWS, f"rows in {store}: {found}"


if __name__ == "__main__":
    main()
