"""Random expressions over random rows, with what DuckDB makes of each.

    expressions.py SEED EXPRESSIONS ROWS FOLDER

writes FOLDER/rows.parquet, FOLDER/expected-N.parquet with the columns x0, x1, .. (values) and f0, f1, .. (true where
DuckDB fails), and FOLDER/expressions.json with the expressions and how each is compared.
"""

import decimal
import json
import random
import struct
import sys

import duckdb
import pyarrow as pa
import pyarrow.parquet as pq

SEED, COUNT, ROWS, FOLDER = int(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3]), sys.argv[4]
BATCH = 50
chance = random.Random(SEED)

# kind -> (columns, DuckDB's type of them)
INTEGERS = {"int8": (8, True), "int16": (16, True), "int32": (32, True), "int64": (64, True), "uint8": (8, False), "uint16": (16, False), "uint32": (32, False), "uint64": (64, False)}
DUCK = {"int8": "TINYINT", "int16": "SMALLINT", "int32": "INTEGER", "int64": "BIGINT", "uint8": "UTINYINT", "uint16": "USMALLINT", "uint32": "UINTEGER", "uint64": "UBIGINT"}
DECIMALS = {"dec4": (4, 2), "dec18": (18, 6), "dec38": (38, 10)}
LETTERS = ["a", "b", "A", "B", "%", "_", " ", "é", "É", "я", "日", "'", "\\", "\n", "ab", "name"]
COLUMNS = {}


def add(name, dtype, value):
    COLUMNS[name] = (dtype, [None if chance.random() < 0.15 else value() for _ in range(ROWS)])


def integer(bits, signed):
    low, high = (-(1 << (bits - 1)), (1 << (bits - 1)) - 1) if signed else (0, (1 << bits) - 1)
    return lambda: chance.choice([low, high, 0, 1, low + 1, high - 1, chance.randint(low, high), chance.randint(max(low, -5), 5)])


def number(precision, scale):
    most = 10**precision - 1
    def value():
        found = chance.choice([most, -most, 0, 1, 10**scale, chance.randint(-most, most), chance.randint(-500, 500)])
        return decimal.Decimal(found).scaleb(-scale, decimal.Context(prec=60))
    return value


def floating(code):
    def value():
        special = [0.0, -0.0, 1.0, 1.5, -2.25, 0.1, float("nan"), float("inf"), float("-inf"), 1e30, 1e-30]
        found = chance.choice(special + [chance.uniform(-1000, 1000)])
        return struct.unpack(code, struct.pack(code, found))[0]
    return value


def text():
    return "".join(chance.choice(LETTERS) for _ in range(chance.choice([0, 1, 1, 2, 3, 20])))


for twin in ("", "_2"):
    for name, shape in INTEGERS.items():
        add(name + twin, getattr(pa, name)(), integer(*shape))
    for name, (precision, scale) in DECIMALS.items():
        add(name + twin, pa.decimal128(precision, scale), number(precision, scale))
    add("float32" + twin, pa.float32(), floating("f"))
    add("float64" + twin, pa.float64(), floating("d"))
    add("text" + twin, pa.string(), text)
    add("flag" + twin, pa.bool_(), lambda: chance.random() < 0.5)
    add("day" + twin, pa.date32(), lambda: chance.choice([0, -1, 19000, chance.randint(-20000, 40000), chance.randint(0, 3)]))
    add("local" + twin, pa.timestamp("us"), lambda: chance.choice([0, -1, 86_400_000_000, chance.randint(-(10**15), 2 * 10**15), chance.randint(0, 3) * 86_400_000_000]))
    add("instant" + twin, pa.timestamp("us", "UTC"), lambda: chance.choice([0, -1, chance.randint(-(10**15), 2 * 10**15)]))
    add("clock" + twin, pa.time64("us"), lambda: chance.choice([0, 86_399_999_999, chance.randint(0, 86_399_999_999)]))

KINDS = list(INTEGERS) + list(DECIMALS) + ["float32", "float64", "text", "flag", "day", "local", "instant", "clock"]


def both(one, other=None):
    """What hygge and what DuckDB is given."""
    return (one, one if other is None else other)


def column(kind):
    name = kind + chance.choice(["", "_2"])
    return both(name, f'"{name}"')


def quoted(value):
    return "'" + value.replace("'", "''") + "'"


def literal(kind):
    if kind.startswith("uint"):
        # A number as it is written has a sign in one of the two, and none in the other.
        return column(kind)
    if kind in INTEGERS:
        value = chance.choice([0, 1, 2, 3, 100, 127, 70000, -1, 2147483647, -2147483648, 3000000000])
        typed = "INTEGER" if -(2**31) <= value < 2**31 else "BIGINT"
        return both(f"({value})", f"(({value})::{typed})")
    if kind in DECIMALS:
        value = chance.choice(["0.5", "1.25", "-3.75", "100.0", "12345.678"])
        return both(f"({value})")
    if kind.startswith("float"):
        value = chance.choice(["0.1", "1.5", "-2.25", "3"])
        return both(f"({value})", f"({value})::{'FLOAT' if kind == 'float32' else 'DOUBLE'}")
    if kind == "text":
        return both(quoted(text()))
    if kind == "flag":
        return both(chance.choice(["true", "false", "null"]), None) if chance.random() < 0.8 else both("(null)", "(null::BOOLEAN)")
    if kind == "day":
        return both(chance.choice(["date '1970-01-01'", "'2022-01-08'"]))
    if kind == "local":
        return both(chance.choice(["timestamp '1970-01-01 00:00:00'", "'2001-09-09 01:46:40.5'"]))
    if kind == "instant":
        return both("'2001-09-09 01:46:40.5Z'")
    return both(chance.choice(["time '12:00:00'", "'23:59:59.999999'"]))


def join(parts, form):
    return tuple(form.format(*[part[side] for part in parts]) for side in (0, 1))


def value(kind, depth):
    """An expression of a kind with a column somewhere; none where a literal shall stand there."""
    if depth == 0 or chance.random() < 0.25:
        return column(kind) if chance.random() < 0.75 else None
    if kind in INTEGERS or kind in DECIMALS or kind.startswith("float"):
        choice = chance.random()
        if choice < 0.6:
            # DuckDB's product of two numbers of 64 bits without sign has more digits than a decimal.
            signs = "+-" if kind == "uint64" else "+-*"
            return join([typed(kind, depth), operand(kind, depth)], "({} " + chance.choice(signs) + " {})")
        if choice < 0.7 and not kind.startswith("uint"):
            return join([typed(kind, depth)], "(-{})")
        return join([typed(kind, depth), operand(kind, depth)], "coalesce({}, {})")
    if kind == "text":
        choice = chance.random()
        if choice < 0.3:
            return join([typed(kind, depth), operand(kind, depth)], "({} || {})")
        if choice < 0.8:
            return join([typed(kind, depth)], chance.choice(["lower", "upper", "trim"]) + "({})")
        return join([typed(kind, depth), operand(kind, depth)], "coalesce({}, {})")
    if kind == "flag":
        return condition(depth)
    return join([typed(kind, depth), operand(kind, depth)], "coalesce({}, {})")


def operand(kind, depth):
    found = value(kind, depth - 1)
    return literal(kind) if found is None else found


def beside(kind):
    """A kind that compares with another, and widens to it."""
    if kind in INTEGERS:
        return chance.choice([kind] + list(INTEGERS) + (list(DECIMALS) if kind not in ("int64", "uint64") else []))
    if kind == "dec4":
        return chance.choice(["dec4", "dec18", "int8", "int32"])
    if kind == "float32":
        return chance.choice(["float32", "float64"])
    if kind == "day":
        return chance.choice(["day", "local"])
    return kind


def typed(kind, depth):
    """One of which the type is known where a literal stands beside it."""
    found = value(kind, depth - 1)
    return column(kind) if found is None else found


def condition(depth):
    choice = chance.random()
    if depth <= 0:
        return column("flag")
    if choice < 0.35:
        kind = chance.choice(KINDS)
        other = beside(kind)
        right = operand(other, depth) if other == kind else typed(other, depth)
        return join([typed(kind, depth), right], "({} " + chance.choice(["=", "<>", "<", "<=", ">", ">="]) + " {})")
    if choice < 0.55:
        word = chance.choice(["and", "or"])
        return join([condition(depth - 1) for _ in range(chance.randint(2, 3))][:2], "({} " + word + " {})")
    if choice < 0.62:
        return join([condition(depth - 1)], "(not {})")
    if choice < 0.70:
        return join([typed(chance.choice(KINDS), depth)], "({} is " + chance.choice(["", "not "]) + "null)")
    if choice < 0.75:
        return join([condition(depth - 1)], "({} is " + chance.choice(["true", "false", "not true", "not false"]) + ")")
    if choice < 0.82:
        kind = chance.choice(KINDS)
        return join([typed(kind, depth), operand(kind, depth), operand(kind, depth)], "({} " + chance.choice(["", "not "]) + "between {} and {})")
    if choice < 0.90:
        kind = chance.choice(KINDS)
        parts = [typed(kind, depth)] + [operand(kind, depth) for _ in range(3)]
        return join(parts, "({} " + chance.choice(["", "not "]) + "in ({}, {}, {}))")
    pattern = "".join(chance.choice(["%", "_", "a", "A", "b", "é", " ", "!", "n"]) for _ in range(chance.randint(0, 4)))
    escape = ""
    if chance.random() < 0.3:
        pattern, escape = pattern.replace("!", "!!") + "!%", " escape '!'"
    return join([typed("text", depth)], "({} " + chance.choice(["", "not "]) + "like " + quoted(pattern) + escape + ")")


def main():
    table = pa.table({name: pa.array(values, dtype) for name, (dtype, values) in COLUMNS.items()})
    pq.write_table(table, f"{FOLDER}/rows.parquet")
    connection = duckdb.connect()
    connection.execute("set timezone = 'UTC'")
    # It puts the factors of products into another order, and then others do not fit.
    connection.execute("pragma disable_optimizer")
    connection.register("rows", table)
    written, columns = [], {}
    while len(written) < COUNT:
        kind = chance.choice(KINDS + ["flag"] * 10)
        found = condition(4) if kind == "flag" else value(kind, 3)
        if found is None:
            continue
        exact = kind in ("flag", "instant") or kind.startswith("float")
        shown = f"try({found[1]})" if exact else f"try({found[1]})::VARCHAR"
        try:
            # Apart, as what two columns have in common is computed outside of both.
            values, fails = (connection.execute(f"select {shown} from rows").to_arrow_table() for shown in (shown, f"try([{found[1]}]) is null"))
        except (duckdb.BinderException, duckdb.OutOfRangeException, duckdb.ConversionException):
            # What is constant fails before a row is read, and some types go together here only.
            continue
        number = len(written)
        columns[f"x{number}"], columns[f"f{number}"] = values.column(0), fails.column(0)
        written.append({"text": found[0], "compared": "value" if exact else "text"})
        if len(written) % BATCH == 0 or len(written) == COUNT:
            pq.write_table(pa.table(columns), f"{FOLDER}/expected-{number // BATCH}.parquet")
            columns = {}
    with open(f"{FOLDER}/expressions.json", "w") as out:
        json.dump(written, out)


main()
