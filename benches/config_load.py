"""What does a config of many flows cost to load and check? `hygge check --offline` beside reading the
files with `cat`, and beside PyYAML's C loader, which only parses.

In three forms: one file with a home and a store a flow, one file with more keys a flow, and a folder
a flow.
"""

import argparse
import sys
from statistics import median

from rounds import hygge_option, in_turn, run, setting, table, work_folder

PARSE = "import sys, yaml\nfor path in sys.argv[1:]:\n    yaml.load(open(path), yaml.CSafeLoader)\n"

SHORT = "home: data/home/{name}\nstore: data/store/{name}\n"
LONG = """home: {{path: data/home/{name}, glob: "*.parquet"}}
store:
  path: data/store/{name}
  rows_per_file: 1000000
  file_pattern: "{name}_{{sequence:05d}}.parquet"
tags: [nightly, large]
"""


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--flows", type=int, default=10_000)
    parser.add_argument("--rounds", type=int, default=11)
    parser.add_argument("--keep", action="store_true", help="leave the work folder and say where it is")
    hygge_option(parser)
    options = parser.parse_args()

    names = [f"flow_{number:05d}" for number in range(options.flows)]
    print(f"{options.flows} flows; " + setting())
    with work_folder(options.keep) as work:
        forms = {
            "one file, two keys a flow": one_file(work / "short", names, SHORT),
            "one file, seven keys a flow": one_file(work / "long", names, LONG),
            "a folder a flow, two keys": folders(work / "folders", names, SHORT),
        }
        for title, files in forms.items():
            compare(title, files, options)


def one_file(folder, names, flow):
    """Writes one config; gives its files."""
    folder.mkdir()
    indented = flow.replace("\n", "\n    ").rstrip(" ")
    flows = "".join(f"  {name}:\n    {indented.format(name=name)}" for name in names)
    (folder / "hygge.yml").write_text("name: many\ndefaults: {store: {compression: zstd}}\nflows:\n" + flows)
    return [folder / "hygge.yml"]


def folders(folder, names, flow):
    """Writes a config with a file for each flow; gives its files."""
    files = [folder / "hygge.yml"]
    (folder / "flows").mkdir(parents=True)
    files[0].write_text("name: many\ndefaults: {store: {compression: zstd}}\n")
    for name in names:
        (folder / "flows" / name).mkdir()
        files.append(folder / "flows" / name / "flow.yml")
        files[-1].write_text(flow.format(name=name))
    return files


def compare(title, files, options):
    folder = files[0].parent
    names = [file.relative_to(folder) for file in files]
    runs = in_turn(
        {
            "hygge check --offline": lambda: checked(run(options.hygge, "check", "--offline", cwd=folder)),
            "cat": lambda: run("sh", "-c", 'exec cat "$@" >/dev/null', "sh", *names, cwd=folder),
            "PyYAML (C), parse only": lambda: run(sys.executable, "-c", PARSE, *names, cwd=folder),
        },
        options.rounds,
    )
    print(f"\n{title}, {sum(file.stat().st_size for file in files) / 1e6:.2f} MB:\n")
    print(table(runs, "hygge check --offline", "ms"))
    more = [ours.wall - read.wall for ours, read in zip(runs["hygge check --offline"], runs["cat"])]
    print(f"\nmore than reading, median of pairs: {median(more) * 1000:.0f} ms")


def checked(done):
    assert done.output.endswith("hygge: all is well"), f"the config is not sound:\n{done.output}"
    return done


if __name__ == "__main__":
    main()
