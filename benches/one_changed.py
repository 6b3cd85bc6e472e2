"""What does a rebuild cost when 1 of 1,000 files has changed? Beside a full build, a null build and `rsync`.

The files are packed anew with zstd, so that a part that is made costs something. `rsync` only copies what is
changed, by its time and size, without packing, checking or syncing: it is the limit of not doing work.
"""

import argparse
import json
import shutil
import time

import pyarrow as arrow
import pyarrow.parquet as parquet
from rounds import hygge_option, in_turn, run, setting, table, work_folder

AGED = 2.5
ROWS = 2000


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--files", type=int, default=1000)
    parser.add_argument("--rounds", type=int, default=7)
    hygge_option(parser)
    options = parser.parse_args()
    with work_folder(False) as work:
        home = work / "home"
        home.mkdir()
        for number in range(options.files):
            write(home / f"{number:05d}.parquet", number)
        config = "flows:\n  rows: {home: home, store: {path: store, compression: zstd}}\n"
        (work / "hygge.yml").write_text(config)
        compare(work, home, options)


def write(path, first):
    ids = list(range(first, first + ROWS))
    texts = [f"row {number * 7919 % 10007} of {first}" for number in ids]
    parquet.write_table(arrow.table({"id": ids, "text": texts}), path, compression="snappy")


def compare(work, home, options):
    changes = iter(range(10**6))

    def hygge(*, parts):
        done = run(options.hygge, "build", "--format", "json", cwd=work)
        events = [json.loads(line) for line in done.output.splitlines()]
        made = sum(event["event"] == "part_made" for event in events)
        assert made == parts, f"{made} parts were made, not {parts}:\n{done.output[-2000:]}"
        return done

    def full():
        for folder in ["store", ".hygge", ".hygge-cache"]:
            shutil.rmtree(work / folder, ignore_errors=True)
        return hygge(parts=options.files)

    def null():
        time.sleep(AGED)
        hygge(parts=0)
        return hygge(parts=0)

    def one_changed():
        number = next(changes)
        write(home / f"{number * 37 % options.files:05d}.parquet", 10**6 + number)
        return hygge(parts=1)

    def rsync():
        # hygge has changed one more since the last round: this is the same work.
        return run("rsync", "-a", f"{home}/", f"{work}/copied/")

    run("rsync", "-a", f"{home}/", f"{work}/copied/")
    contenders = {"hygge, all": full, "hygge, nothing": null, "hygge, 1 changed": one_changed, "rsync, 1 changed": rsync}
    runs = in_turn(contenders, options.rounds)
    print(table(runs, "hygge, 1 changed", "ms"))
    print(setting(f"{options.files} files of {ROWS} rows"))


if __name__ == "__main__":
    main()
