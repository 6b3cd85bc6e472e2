"""Checks configs against hygge's JSON Schema with a validator that is not ours.

validate.py SCHEMA, then pairs of KIND and FILE: project, flow or entity. Prints one line for each
file: `ok` or the first error.
"""

import json
import sys

import jsonschema
import yaml


def main() -> None:
    schema = json.load(open(sys.argv[1]))
    jsonschema.Draft202012Validator.check_schema(schema)
    pairs = sys.argv[2:]
    for kind, file in zip(pairs[::2], pairs[1::2]):
        of_kind = schema if kind == "project" else {"$ref": f"#/$defs/{kind}", "$defs": schema["$defs"]}
        config = yaml.safe_load(open(file)) or {}
        error = jsonschema.exceptions.best_match(jsonschema.Draft202012Validator(of_kind).iter_errors(config))
        print("ok" if error is None else f"{error.json_path}: {error.message[:200]}")


main()
