"""What does a build cost that has nothing to do? `hygge build` beside `ninja`, over the same many small files.

Both have one step a flow, with the same inputs. Each has its own outputs, alike in names and sizes,
so that neither disturbs the other.
"""

import argparse
import struct
import time

import pyarrow as arrow
import pyarrow.parquet as parquet
from rounds import hygge_option, in_turn, run, setting, table, work_folder

MARK = 0x68796767652E6D6B
RULE = "rule copy\n  command = cp $in $folder\n\n"
AGED = 2.5


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--flows", type=int, default=1000)
    parser.add_argument("--files", type=int, default=10, help="files of each flow")
    parser.add_argument("--rounds", type=int, default=21)
    parser.add_argument("--keep", action="store_true", help="leave the work folder and say where it is")
    hygge_option(parser)
    options = parser.parse_args()

    flows = [f"flow_{number:04d}" for number in range(1, options.flows + 1)]
    files = [f"{number:020d}.parquet" for number in range(1, options.files + 1)]
    with work_folder(options.keep) as work:
        write_homes(work, flows, files)
        write_config(work, flows)
        write_ninja(work, flows, files)
        compare(work, options)


def write_homes(work, flows, files):
    """Writes parquet files that all differ: a few templates, with one stored value exchanged in each copy."""
    templates = [template(rows) for rows in range(1, 8)]
    mark = struct.pack("<q", MARK)
    number = 0
    for flow in flows:
        home = work / "home" / flow
        home.mkdir(parents=True)
        for file in files:
            number += 1
            content = templates[number % len(templates)].replace(mark, struct.pack("<q", number))
            (home / file).write_bytes(content)


def template(rows):
    """A small parquet file whose one MARK lies in a plain, uncompressed page, so that it can be exchanged."""
    columns = {
        "id": arrow.array([MARK, *range(1, rows)], arrow.int64()),
        "name": arrow.array([f"row {row}" for row in range(rows)]),
    }
    sink = arrow.BufferOutputStream()
    parquet.write_table(arrow.table(columns), sink, compression="none", use_dictionary=False, write_statistics=False)
    content = sink.getvalue().to_pybytes()
    assert content.count(struct.pack("<q", MARK)) == 1, "the mark is not stored exactly once"
    return content


def write_config(work, flows):
    entries = [f"  {flow}:\n    home: home/{flow}\n    store: store/{flow}\n" for flow in flows]
    (work / "hygge.yml").write_text("flows:\n" + "".join(entries))


def write_ninja(work, flows, files):
    with open(work / "build.ninja", "w") as ninja:
        ninja.write(RULE)
        for flow in flows:
            outputs = " ".join(f"ninja/{flow}/{file}" for file in files)
            inputs = " ".join(f"home/{flow}/{file}" for file in files)
            ninja.write(f"build {outputs}: copy {inputs}\n  folder = ninja/{flow}\n")


def compare(work, options):
    def hygge():
        return run(options.hygge, "build", "-f", "hygge.yml", cwd=work)

    def ninja():
        return run("ninja", cwd=work)

    def null_hygge():
        done = hygge()
        assert len(done.output.splitlines()) == 1, f"hygge printed more than one line:\n{done.output}"
        return done

    def null_ninja():
        done = ninja()
        assert done.output == "ninja: no work to do.", f"ninja had work:\n{done.output}"
        return done

    print(f"{options.flows} flows of {options.files} files; " + setting(f"ninja {run('ninja', '--version').output}"))
    print(f"\nfirst build: hygge {hygge().wall:.2f} s (durable), ninja {ninja().wall:.2f} s (not synced)")
    # What was hashed while it was very young is hashed once more when it has aged.
    time.sleep(AGED)
    print(f"second build: hygge {null_hygge().wall:.3f} s, ninja {null_ninja().wall:.3f} s")

    stores = outputs(work / "store"), outputs(work / "ninja")
    assert sizes(stores[0]) == sizes(stores[1]), "hygge and ninja have made different files"
    runs = in_turn({"hygge": null_hygge, "ninja": null_ninja}, options.rounds)
    assert stores == (outputs(work / "store"), outputs(work / "ninja")), "a null build has changed an output"

    print(f"\nNull build, {options.rounds} rounds in turn, warm cache. hygge says: {runs['hygge'][-1].output}\n")
    print(table(runs, "hygge", "ms"))


def outputs(store):
    """Every output's size, inode and modification time."""
    stats = {file.relative_to(store): file.stat() for file in store.glob("flow_*/*")}
    return {file: (stat.st_size, stat.st_ino, stat.st_mtime_ns) for file, stat in stats.items()}


def sizes(outputs):
    return {file: size for file, (size, _, _) in outputs.items()}


if __name__ == "__main__":
    main()
