"""What does moving real data cost? `hygge build` beside `cp -r` and beside polars, on TPC-H lineitem.

Every run begins without outputs, after a sync that is not timed. What `+ sync` names is the run with a
`sync -f` of the outputs' filesystem timed with it: only what is on the disk counts as done.
"""

import argparse
import filecmp
import sys
from pathlib import Path

import pyarrow.compute as compute
import pyarrow.parquet as parquet
from rounds import BENCH, contender, hygge_option, measure, run, setting, table, without_import, work_folder

HOME = BENCH / "lineitem"
FILES = 8
ROWS = 6_001_215
LEVEL = 3

# What the first that shapes the rows has made of them: the others make the same.
SHAPED_ROWS = {}

CONFIG = """
flows:
  lineitem:
    home: {home}
    store: {{path: store, compression: {compression}}}
"""

SHAPE = """
flows:
  lineitem:
    home: {home}
    store: store
    where: l_quantity > 45 and l_shipdate >= '1995-01-01'
    columns: [l_orderkey, l_extendedprice, l_shipdate]
"""

FOLDERS = """
flows:
  lineitem:
    home: {home}
    store: {{path: store, partition_by: [l_shipmode]}}
"""
FOLDERS_OF_DUCKDB = """
import sys, duckdb
duckdb.sql(f"copy (from read_parquet('{sys.argv[1]}/*.parquet')) to '{sys.argv[2]}' (format parquet, partition_by (l_shipmode))")
"""

POLARS = f"""
import sys, time
start = time.perf_counter()
import polars as pl
print(time.perf_counter() - start)
from pathlib import Path
files, store = sorted(Path(sys.argv[1]).iterdir()), Path(sys.argv[2])
store.mkdir()
def sink(file, lazy):
    frame = pl.scan_parquet(file)
    return frame.sink_parquet(store / file.name, compression="zstd", compression_level={LEVEL}, lazy=lazy)
"""
FILE_BY_FILE = POLARS + """
for file in files:
    sink(file, lazy=False)
"""
SHAPED = """
import datetime
wanted = (pl.col("l_quantity") > 45) & (pl.col("l_shipdate") >= datetime.date(1995, 1, 1))
def shaped(file, lazy):
    frame = pl.scan_parquet(file).filter(wanted).select("l_orderkey", "l_extendedprice", "l_shipdate")
    return frame.sink_parquet(store / file.name, compression="snappy", lazy=lazy)
"""
SHAPED_FILE_BY_FILE = POLARS + SHAPED + """
for file in files:
    shaped(file, lazy=False)
"""
SHAPED_ALL_AT_ONCE = POLARS + SHAPED + """
pl.collect_all([shaped(file, lazy=True) for file in files], engine="streaming")
"""
FOLDERS_OF_POLARS = POLARS + """
pl.scan_parquet(files).sink_parquet(pl.PartitionBy(store, key="l_shipmode"), compression="snappy")
"""
ALL_AT_ONCE = POLARS + """
pl.collect_all([sink(file, lazy=True) for file in files], engine="streaming")
"""


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=5)
    hygge_option(parser)
    options = parser.parse_args()

    make_lineitem()
    size = sum(file.stat().st_size for file in HOME.iterdir()) / 1e6
    print(f"lineitem: {ROWS:,} rows, {FILES} files, {size:.0f} MB of snappy parquet; {setting(*versions())}")
    with work_folder(keep=False) as work:
        compare_keep(work, options)
        compare_zstd(work, options)
        compare_shape(work, options)
        compare_folders(work, options)


def make_lineitem():
    """Writes lineitem of scale factor 1, once; it appears whole or not at all."""
    if HOME.exists():
        return
    with work_folder(keep=False) as work:
        shape = f"--scale-factor=1 --tables=lineitem --parts={FILES}".split()
        run("tpchgen-cli", "parquet", *shape, "--compression=SNAPPY", "--quiet", f"--output-dir={work}")
        (work / "lineitem").rename(HOME)


def versions():
    yield run("cp", "--version").output.splitlines()[0]
    yield "duckdb " + run(sys.executable, "-c", "import duckdb; print(duckdb.__version__)").output
    yield "polars " + run(sys.executable, "-c", "import polars; print(polars.__version__)").output


def compare_keep(work, options):
    """No file is decoded: beside a plain copy."""
    project, copy = work / "hygge", work / "cp"
    contenders = {
        "hygge": contender(project, hygge(options, project), check_same, CONFIG.format(home=HOME, compression="keep")),
        "cp -r": contender(copy, ["cp", "-r", HOME, copy / "store"], check_same),
    }
    rows = measure(contenders, options.rounds)
    print(f"\nkeep, {options.rounds} rounds in turn:\n")
    print(table(rows, "hygge + sync", "s"))


def compare_zstd(work, options):
    """Another compression: hygge packs the pages anew, polars decodes and encodes every value, in one process."""
    project, one, all_ = work / "hygge", work / "one", work / "all"
    contenders = {
        "hygge": contender(project, hygge(options, project), check_zstd, CONFIG.format(home=HOME, compression="zstd")),
        "polars file by file": contender(one, python(FILE_BY_FILE, one), check_zstd),
        "polars all at once": contender(all_, python(ALL_AT_ONCE, all_), check_zstd),
    }
    rows = measure(contenders, options.rounds)
    for name in ["polars file by file", "polars all at once"]:
        rows[f"{name} + sync - import"] = [without_import(synced) for synced in rows[f"{name} + sync"]]
    print(f"\nsnappy to zstd (level {LEVEL}), {options.rounds} rounds in turn:\n")
    print(table(rows, "hygge + sync", "s"))


def compare_shape(work, options):
    """A filter and three columns: both read only the columns that they need."""
    project, one, all_ = work / "hygge", work / "one", work / "all"
    contenders = {
        "hygge": contender(project, hygge(options, project), check_shape, SHAPE.format(home=HOME)),
        "polars file by file": contender(one, python(SHAPED_FILE_BY_FILE, one), check_shape),
        "polars all at once": contender(all_, python(SHAPED_ALL_AT_ONCE, all_), check_shape),
    }
    rows = measure(contenders, options.rounds)
    print(f"\na filter and three of sixteen columns, {options.rounds} rounds in turn:\n")
    print(table(rows, "hygge + sync", "s"))


def compare_folders(work, options):
    """Rows go to folders by one of seven values: all of them are decoded and encoded."""
    project, duckdb, one = work / "hygge", work / "duckdb", work / "polars"
    contenders = {
        "hygge": contender(project, hygge(options, project), check_folders, FOLDERS.format(home=HOME)),
        "duckdb": contender(duckdb, python(FOLDERS_OF_DUCKDB, duckdb), check_folders),
        "polars": contender(one, python(FOLDERS_OF_POLARS, one), check_folders),
    }
    rows = measure(contenders, options.rounds)
    print(f"\nfolders by one of seven values, {options.rounds} rounds in turn:\n")
    print(table(rows, "hygge + sync", "s"))


def hygge(options, project):
    return [options.hygge, "build", "-f", project / "hygge.yml"]


def python(script, folder):
    return [sys.executable, "-c", script, HOME, folder / "store"]


def check_same(store):
    for one, other in zip(sorted(HOME.iterdir()), sorted(store.glob("*.parquet")), strict=True):
        assert filecmp.cmp(one, other, shallow=False), f"{other} differs from {one}"


def check_zstd(store):
    footers = [parquet.read_metadata(file) for file in store.glob("*.parquet")]
    codecs = {footer.row_group(0).column(0).compression for footer in footers}
    found = len(footers), sum(footer.num_rows for footer in footers), codecs
    assert found == (FILES, ROWS, {"ZSTD"}), f"files, rows and codecs in {store}: {found}"


def check_shape(store):
    tables = [parquet.read_table(file) for file in sorted(store.glob("*.parquet"))]
    names = {tuple(table.column_names) for table in tables}
    assert names == {("l_orderkey", "l_extendedprice", "l_shipdate")}, f"columns in {store}: {names}"
    found = sum(table.num_rows for table in tables), sum(compute.sum(table["l_orderkey"]).as_py() for table in tables)
    expected = SHAPED_ROWS.setdefault("rows and keys", found)
    assert len(tables) == FILES and found == expected, f"rows and keys in {store}: {found}, elsewhere {expected}"


def check_folders(store):
    files = sorted(store.glob("l_shipmode=*/*.parquet"))
    footers = [parquet.read_metadata(file) for file in files]
    found = len({file.parent for file in files}), sum(footer.num_rows for footer in footers)
    assert found == (7, ROWS), f"folders and rows in {store}: {found}"


if __name__ == "__main__":
    main()
