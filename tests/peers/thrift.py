"""Writes structs in Thrift's compact protocol: dictionaries of field numbers, lists, bytes, booleans and whole numbers."""


class I8(int):
    """A byte."""


class I16(int):
    """A whole number of 16 bits."""


class I32(int):
    """A whole number of 32 bits; whole numbers have 64 unless they say so."""


def varint(number):
    out = b""
    while number > 127:
        out += bytes([number & 127 | 128])
        number >>= 7
    return out + bytes([number])


def zigzag(number):
    return varint(number << 1 if number >= 0 else (-number << 1) - 1)


def kind(value):
    return {I8: 3, I16: 4, I32: 5, int: 6, bytes: 8, list: 9, dict: 12}[type(value)]


def body(value):
    if isinstance(value, I8):
        return bytes([value & 255])
    if isinstance(value, int):
        return zigzag(value)
    if isinstance(value, bytes):
        return varint(len(value)) + value
    if isinstance(value, dict):
        return fields(value)
    inner = kind(value[0]) if value else 12
    head = bytes([len(value) << 4 | inner]) if len(value) < 15 else bytes([0xF0 | inner]) + varint(len(value))
    return head + b"".join(map(body, value))


def fields(struct_):
    out, last = b"", 0
    for number in sorted(struct_):
        value = struct_[number]
        is_bool = isinstance(value, bool)
        code = (1 if value else 2) if is_bool else kind(value)
        out += bytes([number - last << 4 | code]) if number - last < 16 else bytes([code]) + zigzag(number)
        out += b"" if is_bool else body(value)
        last = number
    return out + b"\0"
