"""What does a database cost? `hygge build` between TPC-H tables and parquet, beside connectorx, ADBC, psql and sqlite3.

A throwaway PostgreSQL is started by `tests/servers` and stopped at the end. Every run begins without outputs. The limit of
reading is what `psql` takes to receive the rows and forget them, in one connection.
"""

import argparse
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

import pyarrow.parquet as parquet
from rounds import BENCH, hygge_option, in_turn, run, setting, table, work_folder

SERVERS = Path(__file__).resolve().parent.parent / "tests/servers"
DATA = BENCH / "tables"
ROWS = {"lineitem": 6_001_215, "orders": 1_500_000}
COLUMNS = {
    "lineitem": "l_orderkey bigint not null, l_partkey bigint not null, l_suppkey bigint not null, l_linenumber integer not null, "
    "l_quantity decimal(15,2) not null, l_extendedprice decimal(15,2) not null, l_discount decimal(15,2) not null, "
    "l_tax decimal(15,2) not null, l_returnflag char(1) not null, l_linestatus char(1) not null, l_shipdate date not null, "
    "l_commitdate date not null, l_receiptdate date not null, l_shipinstruct char(25) not null, l_shipmode char(10) not null, "
    "l_comment varchar(44) not null",
    "orders": "o_orderkey bigint not null primary key, o_custkey bigint not null, o_orderstatus char(1) not null, "
    "o_totalprice decimal(15,2) not null, o_orderdate date not null, o_orderpriority char(15) not null, o_clerk char(15) not null, "
    "o_shippriority integer not null, o_comment varchar(79) not null",
}

CONNECTORX = """
import sys
import connectorx as cx, pyarrow.parquet as pq
url, query, out, partitions, column = sys.argv[1:6]
more = {"partition_on": column, "partition_num": int(partitions)} if int(partitions) > 1 else {}
pq.write_table(cx.read_sql(url, query, return_type="arrow", **more), out)
"""
ADBC = """
import sys
import adbc_driver_postgresql.dbapi as adbc, pyarrow.parquet as pq
url, query, out = sys.argv[1:4]
with adbc.connect(url) as connection, connection.cursor() as cursor:
    cursor.execute(query)
    reader = cursor.fetch_record_batch()
    with pq.ParquetWriter(out, reader.schema) as writer:
        for batch in reader:
            writer.write_batch(batch)
"""
ADBC_INGEST = """
import sys
import adbc_driver_postgresql.dbapi as adbc, pyarrow as pa, pyarrow.parquet as pq
url, path, name = sys.argv[1:4]
with adbc.connect(url) as connection, connection.cursor() as cursor:
    file = pq.ParquetFile(path)
    cursor.adbc_ingest(name, pa.RecordBatchReader.from_batches(file.schema_arrow, file.iter_batches()), mode="create")
    connection.commit()
"""
SQLITE = """
import csv, sqlite3, sys
path, source, columns = sys.argv[1:4]
with sqlite3.connect(path) as database, open(source, newline="") as lines:
    database.execute(f"create table orders ({columns})")
    rows = csv.reader(lines)
    width = len(next(rows))
    database.executemany(f"insert into orders values ({','.join('?' * width)})", rows)
"""


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--large", action="store_true", help="also lineitem ten times as large, once, for its peak of memory")
    hygge_option(parser)
    options = parser.parse_args()

    make_data()
    with work_folder(keep=False) as work, Server() as server:
        print(setting(*versions(server)))
        for name in ROWS:
            server.load(name, DATA / f"{name}.csv")
        read_lineitem(work, server, options)
        write_orders(work, server, options)
        read_sqlite(work, options)
        if options.large:
            read_large(work, server, options)


class Server:
    """A throwaway PostgreSQL, which does not run as root and cannot enter root's folders."""

    def __enter__(self):
        self.folder = Path(tempfile.mkdtemp(prefix="hygge-tables-"))
        self.folder.chmod(0o711)
        started = subprocess.run([SERVERS, "start", "postgres", self.folder], check=True, capture_output=True, text=True)
        self.url = f"postgres://postgres@127.0.0.1:{started.stdout.strip()}/postgres"
        self.psql_arguments = ["psql", "-X", "-q", "-v", "ON_ERROR_STOP=1", "-d", self.url]
        return self

    def __exit__(self, *_):
        subprocess.run([SERVERS, "stop", self.folder], check=True)
        shutil.rmtree(self.folder)

    def psql(self, *commands):
        return run(*self.psql_arguments, *[word for command in commands for word in ("-c", command)])

    def load(self, name, csv):
        self.psql(f"create table {name} ({COLUMNS[name]})", f"\\copy {name} from '{csv}' csv header", f"vacuum analyze {name}")


def make_data():
    """Writes the tables of scale factor 1 as csv and parquet, and orders as a SQLite database, once."""
    if DATA.exists():
        return
    with work_folder(keep=False) as work:
        for form in ("csv", "parquet"):
            run("tpchgen-cli", form, "--scale-factor=1", "--tables=lineitem,orders", "--quiet", f"--output-dir={work}")
        run(sys.executable, "-c", SQLITE, work / "orders.db", work / "orders.csv", COLUMNS["orders"])
        work.rename(DATA)
        work.mkdir()


def versions(server):
    yield "PostgreSQL " + run(*server.psql_arguments, "-Atc", "show server_version").output
    for name in ("connectorx", "adbc_driver_postgresql"):
        script = f"import importlib.metadata; print(importlib.metadata.version({name!r}))"
        yield f"{name} " + run(sys.executable, "-c", script).output


def hygge(options, work, config, check):
    """A build from nothing."""

    def build():
        project = work / "hygge"
        project.mkdir()
        (project / "hygge.yml").write_text(config)
        taken = run(options.hygge, "build", "-f", project / "hygge.yml")
        check(project / "store")
        shutil.rmtree(project)
        return taken

    return build


def peer(work, command, check):
    """A script that writes one file."""

    def write():
        out = work / "peer.parquet"
        taken = run(*[out if word is OUT else word for word in command])
        check(out)
        out.unlink()
        return taken

    return write


OUT = object()


def has(rows):
    """The files have so many rows."""

    def check(path):
        files = path.glob("*.parquet") if path.is_dir() else [path]
        found = sum(parquet.read_metadata(file).num_rows for file in files)
        assert found == rows, f"{path} has {found} rows"

    return check


def measure(title, contenders, rounds, subject="hygge"):
    in_turn(contenders, 1)
    runs = in_turn(contenders, rounds)
    print(f"\n{title}, {rounds} rounds in turn:\n")
    print(table(runs, subject, "s"), flush=True)


def read_lineitem(work, server, options):
    query, check = "select * from lineitem", has(ROWS["lineitem"])
    config = f"connections: {{shop: {{url: '{server.url}'}}}}\nflows: {{a: {{home: {{connection: shop, table: lineitem}}, store: store}}}}\n"
    connectorx = [sys.executable, "-c", CONNECTORX, server.url, query, OUT]
    limit = [*server.psql_arguments, "-o", "/dev/null", "-c", f"copy ({query}) to stdout (format binary)"]
    contenders = {
        "hygge": hygge(options, work, config, check),
        "connectorx, 1 partition": peer(work, [*connectorx, "1", ""], check),
        "connectorx, 4 partitions": peer(work, [*connectorx, "4", "l_orderkey"], check),
        "ADBC": peer(work, [sys.executable, "-c", ADBC, server.url, query, OUT], check),
        "psql, to /dev/null": lambda: run(*limit),
    }
    measure("PostgreSQL to parquet, lineitem, 6 million rows", contenders, options.rounds)


def write_orders(work, server, options):
    source, csv = DATA / "orders.parquet", DATA / "orders.csv"

    def loaded(name):
        found = run(*server.psql_arguments, "-Atc", f"select count(*) from {name}").output
        assert found == str(ROWS["orders"]), f"{name} has {found} rows"
        server.psql(f"drop table {name}", "drop table if exists hygge_receipts")

    def of(name, command):
        def load():
            taken = run(*command)
            loaded(name)
            return taken

        return load

    config = f"connections: {{shop: {{url: '{server.url}'}}}}\nflows: {{a: {{home: '{source}', store: {{connection: shop, table: by_hygge}}}}}}\n"
    columns = COLUMNS["orders"].replace(" primary key", "")
    copy = ["-c", f"create table by_psql ({columns})", "-c", f"\\copy by_psql from '{csv}' csv header"]
    contenders = {
        "hygge": hygge(options, work, config, lambda _: loaded("by_hygge")),
        "psql \\copy of a csv": of("by_psql", [*server.psql_arguments, *copy]),
        "ADBC ingest": of("by_adbc", [sys.executable, "-c", ADBC_INGEST, server.url, source, "by_adbc"]),
    }
    measure("parquet to PostgreSQL, orders, 1.5 million rows", contenders, options.rounds)


def read_sqlite(work, options):
    database, query, check = DATA / "orders.db", "select * from orders", has(ROWS["orders"])
    config = f"connections: {{shop: {{url: 'sqlite:{database}'}}}}\nflows: {{a: {{home: {{connection: shop, table: orders}}, store: store}}}}\n"
    connectorx = [sys.executable, "-c", CONNECTORX, f"sqlite://{database}", query, OUT, "1", ""]
    contenders = {
        "hygge": hygge(options, work, config, check),
        "connectorx": peer(work, connectorx, check),
        "sqlite3, to /dev/null": lambda: run("sh", "-c", f"sqlite3 '{database}' '{query}' > /dev/null"),
    }
    measure("SQLite to parquet, orders, 1.5 million rows", contenders, options.rounds)


def read_large(work, server, options):
    server.psql("create table large as select l.* from lineitem l, generate_series(1, 10)", "vacuum analyze large")
    config = f"connections: {{shop: {{url: '{server.url}'}}}}\nflows: {{a: {{home: {{connection: shop, table: large}}, store: store}}}}\n"
    runs = {"hygge": [hygge(options, work, config, has(10 * ROWS["lineitem"]))()]}
    print("\nPostgreSQL to parquet, lineitem ten times over, 60 million rows, once:\n")
    print(table(runs, "hygge", "s"))


if __name__ == "__main__":
    main()
