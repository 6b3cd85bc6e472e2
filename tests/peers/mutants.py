"""Parquet files with damage, and what pyarrow makes of them.

mutants.py --make FOLDER FIRST COUNT    writes COUNT mutants, each of the same number the same bytes
mutants.py --compare MUTANTS STORES...  compares what was published of each with what pyarrow reads of it

A store's folder has a folder for each mutant that was published. For each mutant and store one line: right (equal, or
both cannot be read), or wrong. The last line counts. Exit code 1 where one is wrong.
"""

import json
import random
import subprocess
import sys
import warnings
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

ROWS = 90
CODECS = ["none", "snappy", "gzip", "brotli", "zstd", "lz4"]
ENCODINGS = [
    {},
    {"i": "DELTA_BINARY_PACKED", "s": "DELTA_BYTE_ARRAY", "d": "BYTE_STREAM_SPLIT", "j": "BYTE_STREAM_SPLIT", "t": "DELTA_LENGTH_BYTE_ARRAY"},
]


def table(random):
    maybe = lambda value: None if random.random() < 0.2 else value
    word = lambda: random.choice(["", "a", "bb", "é", "a longer text of some words"]) + str(random.randrange(30))
    rows = range(ROWS)
    return pa.table(
        {
            "i": pa.array([maybe(random.randrange(-(2**40), 2**40)) for _ in rows], pa.int64()),
            "j": pa.array([random.randrange(50) for _ in rows], pa.int32()),
            "s": pa.array([maybe(word()) for _ in rows], pa.string()),
            "t": pa.array([word() for _ in rows], pa.string()),
            "d": pa.array([maybe(random.random()) for _ in rows], pa.float64()),
            "b": pa.array([maybe(random.random() < 0.5) for _ in rows], pa.bool_()),
            "m": pa.array([maybe(random.randrange(10**9)) for _ in rows], pa.decimal128(20, 0)),
            "w": pa.array([maybe(random.randrange(10**15)) for _ in rows], pa.timestamp("us", "UTC")),
            "l": pa.array([maybe([maybe(random.randrange(9)) for _ in range(random.randrange(4))]) for _ in rows], pa.list_(pa.int64())),
            "g": pa.array([maybe({"x": maybe(random.randrange(9)), "y": word()}) for _ in rows], pa.struct([("x", pa.int32()), ("y", pa.string())])),
        }
    )


def sound(number):
    """A sound file; there is one for every way of writing."""
    way = random.Random(number)
    has_dictionary = number // 12 % 2 == 0
    encodings = ENCODINGS[number // 24 % 2] if not has_dictionary else None
    sink = pa.BufferOutputStream()
    pq.write_table(
        table(way),
        sink,
        compression=CODECS[number % 6],
        data_page_version="1.0" if number // 6 % 2 == 0 else "2.0",
        use_dictionary=has_dictionary,
        column_encoding=encodings or None,
        data_page_size=way.choice([120, 400, 1 << 20]),
        write_batch_size=16,
        row_group_size=ROWS,
        write_page_index=way.random() < 0.3,
        write_page_checksum=way.random() < 0.1,
    )
    return bytearray(sink.getvalue().to_pybytes())


SOUND = {}


def mutant(number):
    ways = 48 * 4
    base = number % ways
    if base not in SOUND:
        SOUND[base] = sound(base)
    data = bytearray(SOUND[base])
    way = random.Random(1_000_000 + number)
    footer = len(data) - 8 - int.from_bytes(data[-8:-4], "little")
    kind = way.randrange(10)
    # Where: mostly in pages, sometimes in the footer.
    low, high = (footer, len(data) - 8) if way.random() < 0.2 else (4, footer)
    at = way.randrange(low, high)
    if kind < 5:
        data[at] ^= 1 << way.randrange(8)
    elif kind < 7:
        data[at] = way.choice([0, 1, 2, 127, 128, 254, 255, way.randrange(256)])
    elif kind == 7:
        for _ in range(way.randrange(2, 6)):
            data[way.randrange(low, high)] ^= 1 << way.randrange(8)
    elif kind == 8:
        end = min(high, at + way.randrange(1, 9))
        data[at:end] = bytes(way.choice([0, 255]) for _ in range(end - at))
    else:
        # Bytes are moved by one: what follows is shifted up to the footer, which stays where it is.
        data[low:high] = data[low:at] + bytes([way.randrange(256)]) + data[at : high - 1]
    return bytes(data)


def make(folder, first, count):
    folder.mkdir(parents=True)
    for number in range(first, first + count):
        (folder / f"{number:06}.parquet").write_bytes(mutant(number))


def words(kind):
    """A type in words. What a list calls its elements is no part of it."""
    if pa.types.is_list(kind) or pa.types.is_large_list(kind):
        return f'list<{words(kind.value_type)}>'
    if pa.types.is_struct(kind):
        return f'struct<{[(field.name, words(field.type)) for field in kind]}>'
    return str(kind)


def read(files):
    """What pyarrow reads, in words; None where it refuses."""
    try:
        read = [pq.ParquetFile(file).read() for file in files]
        kinds = {repr([(field.name, words(field.type)) for field in each.schema]) for each in read}
        if len(kinds) != 1:
            return "several schemas"
        whole = pa.concat_tables(read)
        whole.validate(full=True)
        rows = {name: [repr(value) for value in whole[name].to_pylist()] for name in whole.column_names}
        return [kinds.pop(), rows]
    except Exception:
        return None


def judged(path, stores):
    lines = []
    wanted = read([path])
    for store in stores:
        files = sorted((store / path.stem).glob("*.parquet"))
        if not files:
            continue
        found = read(files)
        if found == wanted:
            verdict = "right" if wanted is not None else "unreadable"
        else:
            verdict = "wrong"
        lines.append({"mutant": path.stem, "store": store.name, "verdict": verdict, "is_read": wanted is not None, "is_read_of_store": found is not None})
    return lines


def judge_apart(paths, stores):
    """In a process of its own: pyarrow may die of a mutant, which is a refusal."""
    arguments = [sys.executable, __file__, "--judge", json.dumps([str(store) for store in stores]), *map(str, paths)]
    ran = subprocess.run(arguments, capture_output=True, text=True, timeout=300)
    if ran.returncode == 0:
        return [json.loads(line) for line in ran.stdout.splitlines()]
    if len(paths) > 1:
        half = len(paths) // 2
        return judge_apart(paths[:half], stores) + judge_apart(paths[half:], stores)
    has = [store for store in stores if list((store / paths[0].stem).glob("*.parquet"))]
    return [{"mutant": paths[0].stem, "store": store.name, "verdict": "died", "is_read": False} for store in has]


def compare(mutants, stores):
    paths = sorted(mutants.glob("*.parquet"))
    lines = [line for start in range(0, len(paths), 100) for line in judge_apart(paths[start : start + 100], stores)]
    counts = {}
    for line in lines:
        counts[line["verdict"]] = counts.get(line["verdict"], 0) + 1
        if line["verdict"] != "right":
            print(json.dumps(line))
    print(json.dumps({"mutants": len(paths), "published": len(lines), **counts}))
    return 1 if counts.get("wrong") else 0


def main(arguments):
    warnings.simplefilter("ignore")
    if arguments[0] == "--make":
        make(Path(arguments[1]), int(arguments[2]), int(arguments[3]))
        return 0
    if arguments[0] == "--judge":
        stores = [Path(store) for store in json.loads(arguments[1])]
        for path in arguments[2:]:
            for line in judged(Path(path), stores):
                print(json.dumps(line))
        return 0
    return compare(Path(arguments[1]), [Path(store) for store in arguments[2:]])


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
