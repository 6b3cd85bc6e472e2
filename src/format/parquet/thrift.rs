//! Thrift's compact protocol as a tree that loses nothing: what is not known comes out as it went
//! in.
//!
//! Footers, page headers and indexes of other writers have fields, types and variants that no
//! library of ours knows. The protocol is that of
//! <https://github.com/apache/thrift/blob/master/doc/specs/thrift-compact-protocol.md>. What a
//! field means is not known here.

/// How deep structs and lists may lie in each other; parquet has them six deep.
const MAX_DEPTH: usize = 32;

const TRUE: u8 = 1;
const FALSE: u8 = 2;
const BYTE: u8 = 3;
const I16: u8 = 4;
const I32: u8 = 5;
const I64: u8 = 6;
const DOUBLE: u8 = 7;
const BINARY: u8 = 8;
const LIST: u8 = 9;
const SET: u8 = 10;
const MAP: u8 = 11;
const STRUCT: u8 = 12;
const UUID: u8 = 13;

/// Any value.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum ThriftValue {
    /// A truth, as a field; in lists it is a [`ThriftValue::Byte`].
    Bool(bool),
    /// A byte.
    Byte(u8),
    /// A whole number of 16 bits.
    I16(i16),
    /// A whole number of 32 bits.
    I32(i32),
    /// A whole number of 64 bits.
    I64(i64),
    /// A floating point number, as its bytes.
    Double([u8; 8]),
    /// Text or bytes.
    Binary(Vec<u8>),
    /// A list, with the type that it says its elements have.
    List(u8, Vec<ThriftValue>),
    /// A set, in its order.
    Set(u8, Vec<ThriftValue>),
    /// A map, with the types of keys and values.
    Map(u8, u8, Vec<(ThriftValue, ThriftValue)>),
    /// A struct.
    Struct(ThriftStruct),
    /// Sixteen bytes.
    Uuid([u8; 16]),
}

/// The fields of a struct, by their numbers and in their order.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct ThriftStruct(Vec<(i16, ThriftValue)>);

/// A list of structs.
pub(super) fn struct_list(fields: impl IntoIterator<Item = ThriftStruct>) -> ThriftValue {
    ThriftValue::List(
        STRUCT,
        fields.into_iter().map(ThriftValue::Struct).collect(),
    )
}

/// A list of whole numbers of 32 bits.
pub(super) fn i32_list(numbers: impl IntoIterator<Item = i32>) -> ThriftValue {
    ThriftValue::List(I32, numbers.into_iter().map(ThriftValue::I32).collect())
}

/// A list of whole numbers of 64 bits.
pub(super) fn i64_list(numbers: impl IntoIterator<Item = i64>) -> ThriftValue {
    ThriftValue::List(I64, numbers.into_iter().map(ThriftValue::I64).collect())
}

/// A list of texts.
pub(super) fn binary_list(texts: impl IntoIterator<Item = Vec<u8>>) -> ThriftValue {
    ThriftValue::List(BINARY, texts.into_iter().map(ThriftValue::Binary).collect())
}

/// A list of truths.
pub(super) fn bool_list(truths: impl IntoIterator<Item = bool>) -> ThriftValue {
    ThriftValue::List(
        TRUE,
        truths
            .into_iter()
            .map(|is_true| ThriftValue::Byte(if is_true { TRUE } else { FALSE }))
            .collect(),
    )
}

impl ThriftValue {
    /// A whole number, whatever its width: writers differ in it.
    pub(super) fn as_integer(&self) -> Option<i64> {
        match self {
            Self::Byte(number) => Some(i64::from(number.cast_signed())),
            Self::I16(number) => Some(i64::from(*number)),
            Self::I32(number) => Some(i64::from(*number)),
            Self::I64(number) => Some(*number),
            _ => None,
        }
    }

    /// The fields of a struct.
    pub(super) fn as_struct(&self) -> Option<&ThriftStruct> {
        match self {
            Self::Struct(fields) => Some(fields),
            _ => None,
        }
    }

    /// The fields of a struct, which is taken apart.
    pub(super) fn into_struct(self) -> Option<ThriftStruct> {
        match self {
            Self::Struct(fields) => Some(fields),
            _ => None,
        }
    }

    /// The elements of a list, which is taken apart.
    pub(super) fn into_list(self) -> Option<Vec<ThriftValue>> {
        match self {
            Self::List(_, elements) => Some(elements),
            _ => None,
        }
    }

    /// The elements of a list.
    pub(super) fn as_list(&self) -> Option<&[ThriftValue]> {
        match self {
            Self::List(_, elements) => Some(elements),
            _ => None,
        }
    }
}

impl ThriftStruct {
    /// The field of this number; the last, where there are several.
    pub(super) fn get(&self, id: i16) -> Option<&ThriftValue> {
        self.0
            .iter()
            .rev()
            .find(|(number, _)| *number == id)
            .map(|(_, value)| value)
    }

    /// The same, to be changed.
    pub(super) fn get_mut(&mut self, id: i16) -> Option<&mut ThriftValue> {
        self.0
            .iter_mut()
            .rev()
            .find(|(number, _)| *number == id)
            .map(|(_, value)| value)
    }

    /// Gives a field a value, at its place.
    pub(super) fn set(&mut self, id: i16, value: ThriftValue) -> &mut Self {
        match self.get_mut(id) {
            Some(there) => *there = value,
            None => {
                let place = self
                    .0
                    .iter()
                    .position(|(number, _)| *number > id)
                    .unwrap_or(self.0.len());
                self.0.insert(place, (id, value));
            }
        }
        self
    }

    /// Gives a field a value, or takes it away.
    pub(super) fn set_or_remove(&mut self, id: i16, value: Option<ThriftValue>) -> &mut Self {
        match value {
            Some(value) => self.set(id, value),
            None => self.remove(id),
        }
    }

    /// Takes a field away.
    pub(super) fn remove(&mut self, id: i16) -> &mut Self {
        self.0.retain(|(number, _)| *number != id);
        self
    }

    /// Takes a field away, and gives it.
    pub(super) fn take(&mut self, id: i16) -> Option<ThriftValue> {
        let place = self.0.iter().rposition(|(number, _)| *number == id)?;
        let (_, value) = self.0.remove(place);
        self.remove(id);
        Some(value)
    }

    /// All fields.
    pub(super) fn iter(&self) -> impl Iterator<Item = (i16, &ThriftValue)> {
        self.0.iter().map(|(id, value)| (*id, value))
    }

    /// A whole number of 32 or of 64 bits; a field of another type is none, as for other readers.
    pub(super) fn get_integer(&self, id: i16) -> Option<i64> {
        match self.get(id)? {
            ThriftValue::I32(number) => Some(i64::from(*number)),
            ThriftValue::I64(number) => Some(*number),
            _ => None,
        }
    }

    /// A whole number of 32 bits.
    pub(super) fn get_i32(&self, id: i16) -> Option<i64> {
        self.get_integer(id)
            .filter(|_| matches!(self.get(id), Some(ThriftValue::I32(_))))
    }

    /// A whole number of 64 bits.
    pub(super) fn get_i64(&self, id: i16) -> Option<i64> {
        self.get_integer(id)
            .filter(|_| matches!(self.get(id), Some(ThriftValue::I64(_))))
    }

    /// Text or bytes.
    pub(super) fn binary(&self, id: i16) -> Option<&[u8]> {
        match self.get(id)? {
            ThriftValue::Binary(bytes) => Some(bytes),
            _ => None,
        }
    }

    /// A truth.
    pub(super) fn get_bool(&self, id: i16) -> Option<bool> {
        match self.get(id)? {
            ThriftValue::Bool(truth) => Some(*truth),
            _ => None,
        }
    }

    /// A struct.
    pub(super) fn get_struct(&self, id: i16) -> Option<&Self> {
        self.get(id)?.as_struct()
    }

    /// A list; empty where there is none.
    pub(super) fn list(&self, id: i16) -> &[ThriftValue] {
        self.get(id)
            .and_then(ThriftValue::as_list)
            .unwrap_or_default()
    }

    /// A struct, to be changed.
    pub(super) fn get_struct_mut(&mut self, id: i16) -> Option<&mut Self> {
        match self.get_mut(id)? {
            ThriftValue::Struct(fields) => Some(fields),
            _ => None,
        }
    }

    /// Adds its bytes to `out`.
    pub(super) fn write(&self, out: &mut Vec<u8>) {
        let mut last = 0;
        for (id, value) in &self.0 {
            let kind = type_code(value);
            match id.checked_sub(last) {
                Some(step @ 1..=15) => out.push(u8::try_from(step).unwrap_or_default() << 4 | kind),
                _ => {
                    out.push(kind);
                    write_zigzag(i64::from(*id), out);
                }
            }
            last = *id;
            if !matches!(value, ThriftValue::Bool(_)) {
                write_value(value, out);
            }
        }
        out.push(0);
    }

    /// Its bytes.
    pub(super) fn to_bytes(&self) -> Vec<u8> {
        let mut out = Vec::new();
        self.write(&mut out);
        out
    }
}

/// Reads the struct with which some bytes begin; gives how many bytes it had.
///
/// Nothing is allocated that is not there: a list has no more elements than there are bytes left.
pub(super) fn read(bytes: &[u8]) -> Result<(ThriftStruct, usize), String> {
    let mut reader = ThriftReader { bytes, at: 0 };
    let fields = reader.fields(0)?;
    Ok((fields, reader.at))
}

struct ThriftReader<'a> {
    bytes: &'a [u8],
    at: usize,
}

impl ThriftReader<'_> {
    fn fields(&mut self, depth: usize) -> Result<ThriftStruct, String> {
        if depth > MAX_DEPTH {
            return Err(format!("it is more than {MAX_DEPTH} levels deep"));
        }
        let mut fields = Vec::new();
        let mut last = 0_i16;
        loop {
            let head = self.byte()?;
            let kind = head & 15;
            if kind == 0 {
                return Ok(ThriftStruct(fields));
            }
            let step = i16::from(head >> 4);
            last = match step {
                0 => i16::try_from(self.zigzag()?)
                    .map_err(|_| "a field has no number".to_string())?,
                step => last.checked_add(step).ok_or("a field has no number")?,
            };
            let value = match kind {
                TRUE | FALSE => ThriftValue::Bool(kind == TRUE),
                kind => self.value(kind, depth)?,
            };
            fields.push((last, value));
        }
    }

    fn value(&mut self, kind: u8, depth: usize) -> Result<ThriftValue, String> {
        let narrow = |kind: &str| format!("a number is none of {kind}");
        Ok(match kind {
            TRUE | FALSE | BYTE => ThriftValue::Byte(self.byte()?),
            I16 => ThriftValue::I16(i16::try_from(self.zigzag()?).map_err(|_| narrow("16 bits"))?),
            I32 => ThriftValue::I32(i32::try_from(self.zigzag()?).map_err(|_| narrow("32 bits"))?),
            I64 => ThriftValue::I64(self.zigzag()?),
            DOUBLE => ThriftValue::Double(self.array()?),
            BINARY => {
                let length = self.length()?;
                ThriftValue::Binary(self.take(length)?.to_vec())
            }
            LIST | SET => {
                let (element, elements) = self.elements(depth)?;
                if kind == LIST {
                    ThriftValue::List(element, elements)
                } else {
                    ThriftValue::Set(element, elements)
                }
            }
            MAP => self.map(depth)?,
            STRUCT => ThriftValue::Struct(self.fields(depth + 1)?),
            UUID => ThriftValue::Uuid(self.array()?),
            other => return Err(format!("a field has the type {other}, which is none")),
        })
    }

    fn elements(&mut self, depth: usize) -> Result<(u8, Vec<ThriftValue>), String> {
        if depth > MAX_DEPTH {
            return Err(format!("it is more than {MAX_DEPTH} levels deep"));
        }
        let head = self.byte()?;
        let count = if head >> 4 == 15 {
            self.length()?
        } else {
            self.at_most(usize::from(head >> 4))?
        };
        let kind = head & 15;
        if kind > UUID {
            return Err(format!(
                "a list has elements of the type {kind}, which is none"
            ));
        }
        let mut elements = Vec::new();
        for _ in 0..count {
            elements.push(self.value(kind, depth + 1)?);
        }
        Ok((kind, elements))
    }

    fn map(&mut self, depth: usize) -> Result<ThriftValue, String> {
        if depth > MAX_DEPTH {
            return Err(format!("it is more than {MAX_DEPTH} levels deep"));
        }
        let count = self.length()?;
        if count == 0 {
            return Ok(ThriftValue::Map(0, 0, Vec::new()));
        }
        let kinds = self.byte()?;
        let mut pairs = Vec::new();
        for _ in 0..count {
            pairs.push((
                self.value(kinds >> 4, depth + 1)?,
                self.value(kinds & 15, depth + 1)?,
            ));
        }
        Ok(ThriftValue::Map(kinds >> 4, kinds & 15, pairs))
    }

    fn byte(&mut self) -> Result<u8, String> {
        Ok(self.take(1)?[0])
    }

    fn take(&mut self, count: usize) -> Result<&[u8], String> {
        let end = self
            .at
            .checked_add(count)
            .filter(|end| *end <= self.bytes.len())
            .ok_or("it ends too early")?;
        let taken = &self.bytes[self.at..end];
        self.at = end;
        Ok(taken)
    }

    fn array<const N: usize>(&mut self) -> Result<[u8; N], String> {
        let mut array = [0; N];
        array.copy_from_slice(self.take(N)?);
        Ok(array)
    }

    /// A number of bytes or elements, of which each has a byte at least.
    fn length(&mut self) -> Result<usize, String> {
        let length = self.varint()?;
        self.at_most(usize::try_from(length).unwrap_or(usize::MAX))
    }

    fn at_most(&self, length: usize) -> Result<usize, String> {
        if length > self.bytes.len() - self.at {
            return Err(format!(
                "something in it should have {length} elements, and {} bytes are left",
                self.bytes.len() - self.at
            ));
        }
        Ok(length)
    }

    fn zigzag(&mut self) -> Result<i64, String> {
        let number = self.varint()?;
        Ok((number >> 1).cast_signed() ^ -(number & 1).cast_signed())
    }

    fn varint(&mut self) -> Result<u64, String> {
        let mut number = 0_u64;
        for shift in (0..70).step_by(7) {
            let byte = self.byte()?;
            if shift == 63 && byte > 1 {
                break;
            }
            number |= u64::from(byte & 127) << shift;
            if byte < 128 {
                return Ok(number);
            }
        }
        Err("a number has too many bytes".into())
    }
}

fn type_code(value: &ThriftValue) -> u8 {
    match value {
        ThriftValue::Bool(true) => TRUE,
        ThriftValue::Bool(false) => FALSE,
        ThriftValue::Byte(_) => BYTE,
        ThriftValue::I16(_) => I16,
        ThriftValue::I32(_) => I32,
        ThriftValue::I64(_) => I64,
        ThriftValue::Double(_) => DOUBLE,
        ThriftValue::Binary(_) => BINARY,
        ThriftValue::List(..) => LIST,
        ThriftValue::Set(..) => SET,
        ThriftValue::Map(..) => MAP,
        ThriftValue::Struct(_) => STRUCT,
        ThriftValue::Uuid(_) => UUID,
    }
}

fn write_value(value: &ThriftValue, out: &mut Vec<u8>) {
    match value {
        ThriftValue::Bool(truth) => out.push(if *truth { TRUE } else { FALSE }),
        ThriftValue::Byte(byte) => out.push(*byte),
        ThriftValue::I16(number) => write_zigzag(i64::from(*number), out),
        ThriftValue::I32(number) => write_zigzag(i64::from(*number), out),
        ThriftValue::I64(number) => write_zigzag(*number, out),
        ThriftValue::Double(bytes) => out.extend_from_slice(bytes),
        ThriftValue::Binary(bytes) => {
            write_varint(bytes.len() as u64, out);
            out.extend_from_slice(bytes);
        }
        ThriftValue::List(kind, elements) | ThriftValue::Set(kind, elements) => {
            match u8::try_from(elements.len()) {
                Ok(count @ 0..=14) => out.push(count << 4 | kind),
                _ => {
                    out.push(15 << 4 | kind);
                    write_varint(elements.len() as u64, out);
                }
            }
            elements
                .iter()
                .for_each(|element| write_value(element, out));
        }
        ThriftValue::Map(key, value, pairs) => {
            write_varint(pairs.len() as u64, out);
            if !pairs.is_empty() {
                out.push(key << 4 | value);
            }
            for (key, value) in pairs {
                write_value(key, out);
                write_value(value, out);
            }
        }
        ThriftValue::Struct(fields) => fields.write(out),
        ThriftValue::Uuid(bytes) => out.extend_from_slice(bytes),
    }
}

fn write_zigzag(number: i64, out: &mut Vec<u8>) {
    write_varint((number << 1 ^ number >> 63).cast_unsigned(), out);
}

fn write_varint(mut number: u64, out: &mut Vec<u8>) {
    while number > 127 {
        out.push(u8::try_from(number & 127).unwrap_or_default() | 128);
        number >>= 7;
    }
    out.push(u8::try_from(number).unwrap_or_default());
}

#[cfg(test)]
mod tests {
    use super::{
        ThriftStruct, ThriftValue, binary_list, bool_list, i32_list, i64_list, read, struct_list,
    };

    #[test]
    fn what_is_read_is_written_again() {
        let mut inner = ThriftStruct::default();
        inner
            .set(3, ThriftValue::Bool(false))
            .set(1, ThriftValue::Bool(true))
            .set(300, ThriftValue::I64(i64::MIN))
            .set(301, ThriftValue::I64(i64::MAX));
        let mut all = ThriftStruct::default();
        all.set(1, struct_list([inner.clone(), ThriftStruct::default()]))
            .set(2, i32_list(-9..9))
            .set(4, i64_list([0, -1]))
            .set(5, binary_list([b"a".to_vec()]));
        all.set(6, bool_list([true, false]))
            .set(7, ThriftValue::Double([1; 8]))
            .set(9, ThriftValue::Uuid([7; 16]))
            .set(40, ThriftValue::I16(-5));
        all.set(
            41,
            ThriftValue::Map(
                8,
                5,
                vec![(ThriftValue::Binary(b"k".to_vec()), ThriftValue::I32(1))],
            ),
        )
        .set(42, ThriftValue::Map(0, 0, Vec::new()));
        all.set(43, ThriftValue::Set(3, vec![ThriftValue::Byte(200)]))
            .set(-7, ThriftValue::Struct(inner));
        let bytes = all.to_bytes();
        let (again, used) = read(&bytes).expect("a struct");
        assert_eq!((again.to_bytes(), used), (bytes.clone(), bytes.len()));
        assert_eq!(again, all);
        for end in 0..bytes.len() {
            assert!(read(&bytes[..end]).is_err(), "cut off at {end}");
        }
    }

    #[test]
    fn nothing_is_allocated_that_is_not_there() {
        // A list of 2^60 structs, and structs that lie in each other without end.
        assert!(
            read(&[
                0x19, 0xFC, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0x0F
            ])
            .is_err()
        );
        assert!(read(&[0x1C; 100_000]).is_err());
        assert!(read(&[0x19; 100_000]).is_err());
        assert!(read(&[0x1F]).is_err(), "a type that is none");
    }
}
