"""What does TCP cost beside a socket file? Many small parts into PostgreSQL and MariaDB, and many slices out of them.

Throwaway servers are started by `tests/servers` and stopped at the end. Both ways lead to the same server, on this machine: what TCP
takes longer is waiting. Every run begins without outputs.
"""

import argparse
import shutil
import subprocess
import tempfile
from pathlib import Path
from urllib.parse import quote

import pyarrow as pa
import pyarrow.parquet as parquet
from rounds import hygge_option, in_turn, run, setting, table, work_folder

SERVERS = Path(__file__).resolve().parent.parent / "tests/servers"
PARTS = 200
SLICES = 365


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=9)
    hygge_option(parser)
    options = parser.parse_args()
    print(setting())
    with work_folder(keep=False) as work:
        for part in range(PARTS):
            (work / "home").mkdir(exist_ok=True)
            parquet.write_table(pa.table({"id": [part], "name": [f"part {part}"]}), work / f"home/{part:03}.parquet")
        for server in (Postgres, MariaDb):
            with server() as server:
                server.run(server.DAYS)
                write(work, server, options)
                read(work, server, options)


class Server:
    """A throwaway server, by TCP and by its socket file."""

    def __enter__(self):
        self.folder = Path(tempfile.mkdtemp(prefix="hygge-network-"))
        self.folder.chmod(0o755)
        started = subprocess.run([SERVERS, "start", self.KIND, self.folder], check=True, capture_output=True, text=True)
        self.port = started.stdout.strip()
        return self

    def __exit__(self, *_):
        subprocess.run([SERVERS, "stop", self.folder], check=True)
        shutil.rmtree(self.folder)

    def run(self, statement):
        return run(*self.client(), statement).output


class Postgres(Server):
    KIND, NAME = "postgres", "PostgreSQL"
    DAYS = f"create table days as select date '2025-01-01' + n as day, n as id from generate_series(0, {SLICES - 1}) as n"

    def client(self):
        return ["psql", "-XqAt", "-v", "ON_ERROR_STOP=1", "-d", self.urls()["TCP"], "-c"]

    def urls(self):
        socket = quote(str(self.folder / "sockets"), safe="")
        return {"socket": f"postgres://postgres@{socket}:{self.port}/postgres", "TCP": f"postgres://postgres@127.0.0.1:{self.port}/postgres"}


class MariaDb(Server):
    KIND, NAME = "mysql", "MariaDB"
    DAYS = f"create database shop; use shop; create table days as select date '2025-01-01' + interval seq day as day, seq as id from seq_0_to_{SLICES - 1}"

    def client(self):
        return ["mariadb", "--no-defaults", "-N", "-B", "-h127.0.0.1", f"-P{self.port}", "-uroot", "-e"]

    def urls(self):
        return {"socket": f"mysql://root@localhost/shop?socket={self.folder / 'socket'}", "TCP": f"mysql://root@127.0.0.1:{self.port}/shop"}


def build(work, options, url, flow, check):
    """A build from nothing."""

    def built():
        project = work / "project"
        project.mkdir()
        (project / "hygge.yml").write_text(f"connections: {{shop: {{url: '{url}'}}}}\nflows: {{a: {flow}}}\n")
        taken = run(options.hygge, "build", "-f", project / "hygge.yml")
        check(project)
        shutil.rmtree(project)
        return taken

    return built


def measure(title, work, server, options, flow, check):
    contenders = {way: build(work, options, url, flow, check) for way, url in server.urls().items()}
    in_turn(contenders, 1)
    runs = in_turn(contenders, options.rounds)
    print(f"\n{title}, {options.rounds} rounds in turn:\n")
    print(table(runs, "TCP", "ms"), flush=True)


def write(work, server, options):
    schema = "shop." if server.KIND == "mysql" else ""

    def check(_):
        found = server.run(f"select count(*) from {schema}parts")
        assert found == str(PARTS), f"{found} rows"
        server.run(f"drop table {schema}parts; drop table {schema}hygge_receipts")

    flow = f"{{home: '{work / 'home'}', store: {{connection: shop, table: parts}}}}"
    measure(f"{PARTS} files of one row into {server.NAME}", work, server, options, flow, check)


def read(work, server, options):
    def check(project):
        found = sum(parquet.read_metadata(file).num_rows for file in (project / "store").glob("*.parquet"))
        assert found == SLICES, f"{found} rows"

    flow = "{home: {connection: shop, table: days, slice: {column: day, by: day}}, store: store}"
    measure(f"{SLICES} slices of one row out of {server.NAME}", work, server, options, flow, check)


if __name__ == "__main__":
    main()
