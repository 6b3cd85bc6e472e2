"""Values that come to columns of other types than theirs: writes them as files, and judges what a database made of them.

    targets.py write FOLDER          writes FOLDER/N/v.parquet with columns k and v for each value, prints their kinds as JSON
    targets.py judge                 reads lines "NUMBER|FAMILY|ANSWER", prints those whose answer is another value
"""
import datetime as dt
import decimal
import json
import os
import sys

import pyarrow as pa
import pyarrow.parquet as pq

D = decimal.Decimal
decimal.getcontext().prec = 80
UTC = dt.timezone.utc


def moments(kind, zone):
    texts = ['1970-01-02T00:00:00', '2024-02-29T23:59:59.600000', '2024-01-01T00:00:00.123456', '2024-01-01T12:00:00.123000', '2037-12-31T23:59:59']
    return [(kind, pa.timestamp('us', zone), dt.datetime.fromisoformat(text)) for text in texts]


WHOLE = {'int8': pa.int8(), 'int16': pa.int16(), 'int32': pa.int32(), 'int64': pa.int64(),
         'uint8': pa.uint8(), 'uint16': pa.uint16(), 'uint32': pa.uint32(), 'uint64': pa.uint64()}
EDGES = [-2**63, -2**31, -129, -128, -1, 0, 1, 70, 127, 128, 255, 256, 1999, 32768, 65536, 2**31 - 1, 2**31, 2**32, 2**53 + 1, 2**63 - 1, 2**64 - 1]
TEXTS = ['', 'a', 'A', 'a ', ' ', 'ab', 'abc', 'abcd', 'abc ', 'äöü', 'äöüß', '00501', '501', '1e3', '1.0', ' 5', '-7', 'true', 'NULL', 'null',
         '2024-02-29', '12:34:56', '2024-02-29 12:00:00', '{"a": 1}', '{"a":1,"b":[1.50]}', '{"a": 1, "a": 2}', '[1, 2]', '"x"',
         'a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11', 'A0EEBC99-9C0B-4EF8-BB6D-6BB9BD380A11', '101', '1011', '10.0.0.1', '10.0.0.1/32', '10.0.0.0/8',
         '::1', '0:0:0:0:0:0:0:1', 'n' * 63, 'n' * 64, 'x' * 255, 'x' * 256, 'x' * 70000, '\U0001d11e', 'a\0b', "it's \\ \"", '$1.00', '1 day', 'P1D',
         '<a/>', '<?xml version="1.0" encoding="latin1"?><a>ä</a>', '{1,2}', '{a,b}', 'red', 'RED', 'red ', 'blue', 'blue,red', 'red,blue', '1', '2', '(1,2)', '[1,5)']
VALUES = [(kind, dtype, value) for kind, dtype in WHOLE.items() for value in EDGES
          if (0 if kind[0] == 'u' else -2**(int(kind.lstrip('uint')) - 1)) <= value < 2**(int(kind.lstrip('uint')) - (kind[0] != 'u'))]
VALUES += [('decimal', pa.decimal128(9, 2), D(text)) for text in ['0.00', '1.50', '-1.50', '1234567.89', '0.01', '100.00', '99999.00']]
VALUES += [('decimal', pa.decimal128(18, 0), D(text)) for text in ['5', '123456789012345678', '-9900']]
VALUES += [('decimal', pa.decimal128(20, 4), D(text)) for text in ['1.0000', '1.0001', '1234567890123456.7800', '1234567890123456.0000']]
VALUES += [('decimal', pa.decimal128(38, 10), D(text)) for text in ['9999999999999999999999999999.9999999999', '0.0000000001']]
VALUES += [('float32', pa.float32(), value) for value in [0.5, 1.25, -3.4028234663852886e38, float('inf'), float('nan'), 16777216.0]]
VALUES += [('float64', pa.float64(), value) for value in [0.1, 1.25, 1.255, -999999.99, 1e300, 2.0**53 + 2, float('-inf'), float('nan'), 3.0]]
VALUES += [('bool', pa.bool_(), value) for value in [True, False]]
VALUES += [('text', pa.string(), value) for value in TEXTS]
VALUES += [('bytes', pa.binary(), value) for value in [b'', b'a', b'\0', b'ab\0', b'abc', b'abcd', b'\x05', b'\0\x05', b'\3\xff', bytes(range(16)), b'x' * 300]]
VALUES += [('date', pa.date32(), value) for value in [dt.date(1970, 1, 1), dt.date(1000, 1, 1), dt.date(9999, 12, 31), dt.date(2024, 2, 29)]]
VALUES += [('time', pa.time64('us'), dt.time.fromisoformat(text)) for text in ['00:00:00', '23:59:59.600000', '23:59:59.999999', '12:34:56', '12:34:56.125000']]
VALUES += moments('timestamp', None) + moments('timestamp_utc', 'UTC')
VALUES += [('list_text', pa.list_(pa.string()), value) for value in [['a', None, 'abcd'], [], ['ab', ''], ['1', '2'], ['red'], ['a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11']]]
VALUES += [('list_int', pa.list_(pa.int64()), value) for value in [[1, None, 2], [], [2**40], [5]]]
VALUES += [('list_timestamp', pa.list_(pa.timestamp('us')), [dt.datetime(2024, 1, 1, 0, 0, 0, 600000)])]
VALUES += [(kind, dtype, None) for kind, dtype in [('int64', pa.int64()), ('text', pa.string()), ('timestamp_utc', pa.timestamp('us', 'UTC')), ('bytes', pa.binary()), ('decimal', pa.decimal128(9, 2))]]


def write(folder):
    for number, (_, dtype, value) in enumerate(VALUES):
        place = os.path.join(folder, str(number))
        os.makedirs(place)
        pq.write_table(pa.table({'k': pa.array([number], pa.int64()), 'v': pa.array([value], dtype)}), os.path.join(place, 'v.parquet'))
    print(json.dumps([kind for kind, _, _ in VALUES]))


def unique(pairs):
    assert len({name for name, _ in pairs}) == len(pairs), 'a name stands twice'
    return dict(pairs)


def as_moment(text):
    return dt.datetime.fromisoformat(text.strip().replace('Z', '').replace('+00:00', '').removesuffix('+00').ljust(1)[:26]).replace(tzinfo=None)


def same(kind, dtype, value, family, answer):
    if value is None:
        return answer == 'none'
    if answer == 'none':
        return False
    if family == 'number':
        if kind == 'bool':
            return D(answer) == int(value)
        if kind in ('float32', 'float64'):
            return float(answer) == value or (value != value and answer.lower() == 'nan')
        return D(answer) == D(value)
    if family == 'single':
        return pa.scalar(float(answer), pa.float32()).as_py() == pa.scalar(value, pa.float32()).as_py() or (value != value and answer.lower() == 'nan')
    if family == 'bool':
        return (answer in ('t', 'true', '1')) == bool(value) and kind in ('bool', 'int8')
    if family == 'bytes':
        return bytes.fromhex(answer) == (value.encode() if kind == 'text' else value)
    if family == 'json':
        found = bytes.fromhex(answer).decode()
        return kind == 'text' and json.loads(found, object_pairs_hook=unique) == json.loads(value, object_pairs_hook=unique)
    if family == 'uuid':
        digits = lambda text: text.lower().replace('-', '').strip('{}')
        return kind == 'text' and digits(bytes.fromhex(answer).decode()) == digits(value)
    if family == 'date':
        return answer == value.isoformat()
    if family == 'time':
        return dt.time.fromisoformat(answer[:15]) == value
    if family == 'moment':
        return as_moment(answer) == value
    if family == 'list':
        found = json.loads(bytes.fromhex(answer).decode())
        wanted = [item.isoformat() if isinstance(item, dt.datetime) else item for item in value]
        if found and isinstance(found[0], str) and kind == 'list_timestamp':
            return [as_moment(item) for item in found] == [as_moment(item) for item in wanted]
        return found == wanted
    if family.startswith('sqlite'):
        storage, _, rest = answer.partition(':')
        if kind == 'text':
            return storage == 'text' and bytes.fromhex(rest).decode() == value
        if kind == 'bytes':
            return storage == 'blob' and bytes.fromhex(rest) == value
        text = bytes.fromhex(rest).decode() if storage == 'text' else rest
        if kind in WHOLE or kind == 'bool':
            return storage == ('text' if family == 'sqlite_text' else 'integer') and int(text) == int(value)
        if kind == 'decimal':
            # A number with a point is its shortest form.
            return float(text) == float(value) if storage == 'real' else storage in ('integer', 'text') and D(text) == value
        if kind in ('float32', 'float64'):
            return storage in ('real', 'integer') and float(text) == value
        if storage != 'text':
            return False
        if kind == 'date':
            return text == value.isoformat()
        if kind == 'time':
            return dt.time.fromisoformat(text) == value
        return as_moment(text) == value
    raise ValueError(family)


def judge():
    wrong = 0
    for line in sys.stdin.read().splitlines():
        number, family, answer = line.split('|', 2)
        kind, dtype, value = VALUES[int(number)]
        try:
            is_same = same(kind, dtype, value, family, answer)
        except Exception as error:
            is_same, answer = False, f'{answer} ({error})'
        if not is_same:
            wrong += 1
            print(f'{number} {kind} {str(value)[:60]!r} came to {family}: {answer[:120]}')
    sys.exit(1 if wrong else 0)


if sys.argv[1] == 'write':
    write(sys.argv[2])
else:
    judge()
