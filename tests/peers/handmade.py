"""Writes parquet files whose schemas no library of today writes: old lists, old annotations, types that nobody knows.

A schema is a tree of nodes, made by `leaf` and `group`; rows are dictionaries of what the file stores, level by level, as in
{"l": {"bag": [{"array_element": 1}, {"array_element": None}]}}. Pages are plain and of version 1.

Usage: handmade.py FOLDER [CASE …]   writes the cases of `CASES` as FOLDER/CASE.parquet, or only those that are named
"""

import struct
import sys
from pathlib import Path

from thrift import I8, I32, fields

REQUIRED, OPTIONAL, REPEATED = range(3)
BOOLEAN, INT32, INT64, INT96, FLOAT, DOUBLE, BYTE_ARRAY, FIXED = range(8)
UTF8, MAP, MAP_KEY_VALUE, LIST, ENUM, DECIMAL, DATE, TIME_MILLIS, TIME_MICROS, TIMESTAMP_MILLIS, TIMESTAMP_MICROS = range(11)
UINT_8, UINT_16, UINT_32, UINT_64, INT_8, INT_16, INT_32, INT_64, JSON, BSON, INTERVAL = range(11, 22)

# Schemas.


def leaf(name, type_, repetition=OPTIONAL, converted=None, logical=None, length=None, precision=None, scale=None):
    return {"name": name, "type": type_, "repetition": repetition, "converted": converted, "logical": logical, "length": length,
            "precision": precision, "scale": scale, "children": []}


def group(name, *children, repetition=OPTIONAL, converted=None, logical=None):
    return {"name": name, "type": None, "repetition": repetition, "converted": converted, "logical": logical, "length": None,
            "precision": None, "scale": None, "children": list(children)}


def old_list(name, repeated, repetition=OPTIONAL):
    return group(name, repeated, repetition=repetition, converted=LIST)


def elements(node):
    said = {4: node["name"].encode()}
    numbers = {1: "type", 2: "length", 3: "repetition", 6: "converted", 7: "scale", 8: "precision"}
    said.update({number: I32(node[key]) for number, key in numbers.items() if node[key] is not None})
    if node["children"]:
        said[5] = I32(len(node["children"]))
    if node["logical"] is not None:
        said[10] = node["logical"]
    return [said] + [element for child in node["children"] for element in elements(child)]


# Levels and values.


def leaves(node, path=(), level=0, depth=0):
    """Every leaf with its path, and the highest levels that it may have."""
    path += (node["name"],)
    level += node["repetition"] != REQUIRED
    depth += node["repetition"] == REPEATED
    if node["type"] is not None:
        return [(path, node, level, depth)]
    return [found for child in node["children"] for found in leaves(child, path, level, depth)]


def shred(node, value, path, out, level=0, depth=0, again=0):
    """Takes a value apart into its leaves, by the way that Dremel does."""
    path += (node["name"],)
    if node["repetition"] == REPEATED:
        for number, item in enumerate(value or []):
            inside(node, item, path, out, level + 1, depth + 1, depth + 1 if number else again)
        if not value:
            missing(node, path, out, level, again)
    elif node["repetition"] == OPTIONAL and value is None:
        missing(node, path, out, level, again)
    else:
        inside(node, value, path, out, level + (node["repetition"] == OPTIONAL), depth, again)


def inside(node, value, path, out, level, depth, again):
    if node["type"] is not None:
        out[path].append((again, level, value))
    for child in node["children"]:
        shred(child, value[child["name"]], path, out, level, depth, again)


def missing(node, path, out, level, again):
    if node["type"] is not None:
        out[path].append((again, level, None))
    for child in node["children"]:
        missing(child, path + (child["name"],), out, level, again)


def levels(values):
    """Runs of one each: all levels here fit into a byte."""
    runs = b"".join(b"\x02" + bytes([value]) for value in values)
    return len(runs).to_bytes(4, "little") + runs


def plain(type_, values):
    packs = {INT32: "<i", INT64: "<q", FLOAT: "<f", DOUBLE: "<d"}
    if type_ in packs:
        return b"".join(struct.pack(packs[type_], value) for value in values)
    if type_ == BOOLEAN:
        bits = sum(1 << number for number, value in enumerate(values) if value)
        return bits.to_bytes((len(values) + 7) // 8, "little")
    binary = [value.encode() if isinstance(value, str) else value for value in values]
    return b"".join(value if type_ in (FIXED, INT96) else len(value).to_bytes(4, "little") + value for value in binary)


def write(path, columns, rows, groups=2, notes=None, writer=b"a hand"):
    """Writes rows into so many row groups."""
    data, described = b"PAR1", []
    size = max(1, -(-len(rows) // groups))
    for first in range(0, len(rows), size):
        some = rows[first:first + size]
        chunks = []
        for column in columns:
            out = {path_: [] for path_, *_ in leaves(column)}
            for row in some:
                shred(column, row[column["name"]], (), out)
            for path_, node, level, depth in leaves(column):
                found = out[path_]
                page = levels([again for again, _, _ in found]) if depth else b""
                page += levels([there for _, there, _ in found]) if level else b""
                page += plain(node["type"], [value for _, there, value in found if there == level])
                head = fields({1: I32(0), 2: I32(len(page)), 3: I32(len(page)), 5: {1: I32(len(found)), 2: I32(0), 3: I32(3), 4: I32(3)}})
                said = {1: I32(node["type"]), 2: [I32(0), I32(3)], 3: [name.encode() for name in path_], 4: I32(0), 5: len(found),
                        6: len(head + page), 7: len(head + page), 9: len(data)}
                chunks.append({2: len(data), 3: said})
                data += head + page
        described.append({1: chunks, 2: sum(chunk[3][7] for chunk in chunks), 3: len(some)})
    root = {4: b"schema", 5: I32(len(columns))}
    schema = [root] + [element for column in columns for element in elements(column)]
    footer = {1: I32(1), 2: schema, 3: len(rows), 4: described, 6: writer}
    if notes:
        footer[5] = [{1: key.encode(), 2: value.encode()} for key, value in notes.items()]
    footer = fields(footer)
    Path(path).write_bytes(data + footer + len(footer).to_bytes(4, "little") + b"PAR1")


# Cases: columns and rows.

NUMBERS = [[1, 2], [], None, [3], [-4, 5, 6], [7]]


def rows(name, values):
    return [{name: value} for value in values]


def lists_of(inner, wrap):
    """What a list is stored as, for each of NUMBERS."""
    return [None if numbers is None else {inner: [wrap(number) for number in numbers]} for numbers in NUMBERS]


def integer(bits, signed):
    return {10: {1: I8(bits), 2: signed}}


POINT = group("point", leaf("x", DOUBLE, REQUIRED), leaf("y", DOUBLE, REQUIRED))
POINTS = [{"x": 1.5, "y": -2.0}, None, {"x": 0.0, "y": 0.25}, None, None, {"x": 9.0, "y": 8.0}]


def odd(number):
    """Some elements are null."""
    return None if number % 2 == 0 else number


CASES = {
    "int_32": ([leaf("v", INT32, converted=INT_32)], rows("v", [1, None, -(2**31), 2**31 - 1, 5, 6])),
    "int_64": ([leaf("v", INT64, REQUIRED, converted=INT_64)], rows("v", [1, 2, -(2**63), 2**63 - 1, 5, 6])),
    "int_32_logical": ([leaf("v", INT32, logical=integer(32, True))], rows("v", [1, None, 3, 4, 5, 6])),
    "int_8_old": ([leaf("v", INT32, converted=INT_8)], rows("v", [1, None, -128, 127, 5, 6])),
    "uint_16_old": ([leaf("v", INT32, converted=UINT_16)], rows("v", [1, None, 0, 65535, 5, 6])),
    "utf8_old": ([leaf("v", BYTE_ARRAY, converted=UTF8)], rows("v", ["a", None, "", "ø", "b", "c"])),
    "date_old": ([leaf("v", INT32, converted=DATE)], rows("v", [1, None, -1, 19000, 5, 6])),
    "decimal_old": ([leaf("v", INT32, converted=DECIMAL, precision=9, scale=2)], rows("v", [1, None, -1, 999_999_999, 5, 6])),
    "list_two_levels": ([old_list("l", leaf("element", INT32, REPEATED))], rows("l", lists_of("element", int))),
    "list_two_levels_array": ([old_list("l", leaf("array", INT32, REPEATED))], rows("l", lists_of("array", int))),
    "list_two_levels_required": ([old_list("l", leaf("array", INT32, REPEATED), REQUIRED)],
                                 rows("l", [value or {"array": []} for value in lists_of("array", int)])),
    "list_hive": ([old_list("l", group("bag", leaf("array_element", INT32), repetition=REPEATED))],
                  rows("l", lists_of("bag", lambda number: {"array_element": odd(number)}))),
    "list_item": ([old_list("l", group("list", leaf("item", INT32), repetition=REPEATED))],
                  rows("l", lists_of("list", lambda number: {"item": odd(number)}))),
    "list_required_element": ([old_list("l", group("bag", leaf("e", INT32, REQUIRED), repetition=REPEATED))],
                              rows("l", lists_of("bag", lambda number: {"e": number}))),
    "list_element_group": ([old_list("l", group("element", leaf("str", INT32), repetition=REPEATED))],
                           rows("l", lists_of("element", lambda number: {"str": odd(number)}))),
    "list_avro": ([old_list("l", group("array", leaf("a", INT32), leaf("b", BYTE_ARRAY, REQUIRED, UTF8), repetition=REPEATED))],
                  rows("l", lists_of("array", lambda number: {"a": odd(number), "b": str(number)}))),
    "list_avro_one_field": ([old_list("l", group("array", leaf("a", INT32), repetition=REPEATED))],
                            rows("l", lists_of("array", lambda number: {"a": odd(number)}))),
    "list_thrift": ([old_list("l", group("l_tuple", leaf("a", INT32), repetition=REPEATED))],
                    rows("l", lists_of("l_tuple", lambda number: {"a": odd(number)}))),
    "list_hive_of_list": (
        [old_list("l", group("bag", old_list("array", group("bag", leaf("e", INT32), repetition=REPEATED)), repetition=REPEATED))],
        rows("l", lists_of("bag", lambda number: {"array": None if number == 2 else {"bag": [{"e": number}, {"e": odd(number)}]}}))),
    "list_avro_of_list": (
        [old_list("l", group("array", leaf("array", INT32, REPEATED), repetition=REPEATED, converted=LIST))],
        rows("l", lists_of("array", lambda number: {"array": [number] * (abs(number) % 3)}))),
    "list_hive_of_struct": (
        [old_list("l", group("bag", group("array_element", leaf("a", INT32), leaf("b", INT64, REQUIRED)), repetition=REPEATED))],
        rows("l", lists_of("bag", lambda number: {"array_element": None if number == 2 else {"a": odd(number), "b": number}}))),
    "struct_of_hive_list": (
        [group("s", leaf("a", INT32), old_list("l", group("bag", leaf("e", INT32), repetition=REPEATED)))],
        rows("s", [None if number == 3 else {"a": number, "l": value}
                   for number, value in enumerate(lists_of("bag", lambda number: {"e": odd(number)}))])),
    "repeated": ([leaf("v", INT32, REPEATED)], rows("v", [numbers or [] for numbers in NUMBERS])),
    "repeated_text": ([leaf("v", BYTE_ARRAY, REPEATED, UTF8)], rows("v", [[str(number) for number in numbers or []] for numbers in NUMBERS])),
    "repeated_group": ([group("g", leaf("a", INT32), leaf("b", INT32, REQUIRED), repetition=REPEATED)],
                       rows("g", [[{"a": odd(number), "b": number} for number in numbers or []] for numbers in NUMBERS])),
    "repeated_group_one_field": ([group("g", leaf("a", INT32), repetition=REPEATED)],
                                 rows("g", [[{"a": odd(number)} for number in numbers or []] for numbers in NUMBERS])),
    "repeated_in_optional": ([group("g", leaf("v", INT32, REPEATED), leaf("n", INT64))],
                             rows("g", [None if numbers is None else {"v": numbers, "n": len(numbers)} for numbers in NUMBERS])),
    "required_in_optional": ([POINT], rows("point", POINTS)),
    "required_in_required_in_optional": (
        [group("g", group("inner", leaf("a", BYTE_ARRAY, REQUIRED, UTF8), repetition=REQUIRED), leaf("n", INT64))],
        rows("g", [None if point is None else {"inner": {"a": str(point["x"])}, "n": None} for point in POINTS])),
    "required_list_in_optional": (
        [group("g", old_list("l", group("list", leaf("element", INT32, REQUIRED), repetition=REPEATED), REQUIRED))],
        rows("g", [None if numbers is None else {"l": {"list": [{"element": number} for number in numbers]}} for numbers in NUMBERS])),
    "list_of_points": (
        [old_list("l", group("list", group("element", *POINT["children"]), repetition=REPEATED))],
        rows("l", lists_of("list", lambda number: {"element": None if number % 2 == 0 else {"x": number / 2, "y": 1.0}}))),
    "optional_in_optional": (
        [group("g", group("inner", leaf("a", INT64, REQUIRED)), leaf("b", BOOLEAN, REQUIRED))],
        rows("g", [None, {"inner": None, "b": True}, {"inner": {"a": 1}, "b": False}, None, {"inner": {"a": 2}, "b": True}, None])),
    "unknown_type": ([leaf("v", INT64, logical={99: {}}), leaf("w", INT32)], [{"v": number, "w": number} for number in [1, None, 3, 4, 5, 6]]),
    "timestamp_old": ([leaf("v", INT64, converted=TIMESTAMP_MILLIS)], rows("v", [1, None, -1, 1_700_000_000_000, 5, 6])),
    "interval": ([leaf("a", INT32), leaf("v", FIXED, converted=INTERVAL, length=12), leaf("z", INT32)],
                 [{"a": 1, "v": bytes(12), "z": 2}, {"a": None, "v": None, "z": 3}] * 3),
    "map_old": ([group("m", group("map", leaf("key", INT32, REQUIRED), leaf("value", INT32), repetition=REPEATED, converted=MAP_KEY_VALUE),
                       converted=MAP)],
                rows("m", [None if numbers is None else {"map": [{"key": number, "value": odd(number)} for number in numbers]}
                           for numbers in NUMBERS])),
}

if __name__ == "__main__":
    folder = Path(sys.argv[1])
    folder.mkdir(parents=True, exist_ok=True)
    for name in sys.argv[2:] or CASES:
        write(folder / f"{name}.parquet", *CASES[name])
