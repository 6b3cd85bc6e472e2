//! Stepping through the rows of a SQLite statement, and running one for many rows, on the handle of
//! a connection of sqlx's.
//!
//! sqlx sends a message for each row between two threads, which takes six times as long as the
//! whole reading of a row here. So this file, and no other, calls SQLite's own functions; that is
//! why it may be unsafe. What keeps it sound: the handle is locked for as long as a [`SqliteRows`]
//! lives, which is used by one thread at a time; a value is borrowed from the row, so that it
//! cannot outlive the next step; every pointer that SQLite gives is checked.

#![expect(unsafe_code, reason = "SQLite's own functions are called here")]

use std::ffi::{CStr, c_char, c_int, c_void};
use std::panic::catch_unwind;
use std::ptr::{self, NonNull};
use std::slice;

use libsqlite3_sys as ffi;
use sqlx::sqlite::LockedSqliteHandle;

use super::Failure;
use super::failure::TRANSIENT_SQLITE_CODES;

// SQLite has them, and the bindings do not.
unsafe extern "C" {
    fn sqlite3_column_text16(statement: *mut ffi::sqlite3_stmt, column: c_int) -> *const c_void;
    fn sqlite3_column_bytes16(statement: *mut ffi::sqlite3_stmt, column: c_int) -> c_int;
}

/// The rows of a statement.
pub struct SqliteRows<'h, 'g> {
    statement: NonNull<ffi::sqlite3_stmt>,
    columns: c_int,
    /// True where the database keeps its texts as UTF-16, which may hold halves of letters.
    is_utf16: bool,
    handle: &'h mut LockedSqliteHandle<'g>,
}

/// A value as SQLite stores it.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum SqliteValue<'r> {
    /// None.
    Null,
    /// A whole number.
    Integer(i64),
    /// A number with a point.
    Real(f64),
    /// A text; it need not be UTF-8.
    Text(&'r [u8]),
    /// Bytes.
    Blob(&'r [u8]),
}

impl<'h, 'g> SqliteRows<'h, 'g> {
    /// Understands a statement whose rows are read. Nothing is run yet.
    ///
    /// # Errors
    /// SQLite does not understand it, or there is another one behind it.
    pub fn new(handle: &'h mut LockedSqliteHandle<'g>, sql: &str) -> Result<Self, Failure> {
        let is_wide = {
            let (mut asked, _) = SqliteRows::prepare(&mut *handle, "PRAGMA encoding")?;
            asked.step()?
                && matches!(asked.value(0)?, SqliteValue::Text(name) if name.starts_with(b"UTF-16"))
        };
        let (mut rows, used) = Self::prepare(handle, sql)?;
        rows.is_utf16 = is_wide;
        let rest = sql.get(used..).unwrap_or_default();
        if !rest.trim().is_empty() {
            // What is behind it may be a comment, of which SQLite makes no statement.
            match SqliteRows::prepare(&mut *rows.handle, rest) {
                Err(Failure { code: None, .. }) => {}
                _ => {
                    let shown: String = rest.trim().chars().take(60).collect();
                    let words = format!(
                        "behind its first statement there is another one, which would never be \
                         run: {shown}"
                    );
                    return Err(Failure::from_message(words, false));
                }
            }
        }
        Ok(rows)
    }

    /// Understands the first statement of a text; gives how many bytes it has.
    fn prepare(
        handle: &'h mut LockedSqliteHandle<'g>,
        sql: &str,
    ) -> Result<(Self, usize), Failure> {
        let length = c_int::try_from(sql.len())
            .map_err(|_| Failure::from_message("the statement is too long".into(), false))?;
        let (mut statement, mut tail) = (ptr::null_mut(), ptr::null());
        // SAFETY: the handle is locked and open, the text is as long as is said, and the pointers
        // are written to.
        let code = unsafe {
            ffi::sqlite3_prepare_v2(
                handle.as_raw_handle().as_ptr(),
                sql.as_ptr().cast(),
                length,
                &raw mut statement,
                &raw mut tail,
            )
        };
        match NonNull::new(statement) {
            Some(statement) if code == ffi::SQLITE_OK => {
                // SAFETY: the statement was prepared.
                let columns = unsafe { ffi::sqlite3_column_count(statement.as_ptr()) };
                let used = (tail.addr()).saturating_sub(sql.as_ptr().addr());
                Ok((
                    Self {
                        statement,
                        columns,
                        is_utf16: false,
                        handle,
                    },
                    used,
                ))
            }
            _ if code == ffi::SQLITE_OK => Err(Failure::from_message(
                "the statement is empty".into(),
                false,
            )),
            _ => Err(last_failure(handle, code)),
        }
    }

    /// How many columns its rows have.
    pub fn column_count(&self) -> usize {
        usize::try_from(self.columns).unwrap_or_default()
    }

    /// The next row is there; false behind the last.
    ///
    /// # Errors
    /// What SQLite met, or a text of UTF-16 has half a letter in it.
    pub fn step(&mut self) -> Result<bool, Failure> {
        // SAFETY: the statement was prepared, and nobody else steps it.
        match unsafe { ffi::sqlite3_step(self.statement.as_ptr()) } {
            ffi::SQLITE_ROW => {
                // Before a value is borrowed, whose place this may change.
                if self.is_utf16 {
                    (0..self.columns).try_for_each(|column| self.check_utf16(column))?;
                }
                Ok(true)
            }
            ffi::SQLITE_DONE => Ok(false),
            code => Err(last_failure(self.handle, code)),
        }
    }

    /// A value of the row that the last step gave.
    ///
    /// # Errors
    /// SQLite has no memory for it.
    pub fn value(&self, column: usize) -> Result<SqliteValue<'_>, Failure> {
        let Some(column) = self.column_index(column) else {
            return Ok(SqliteValue::Null);
        };
        let statement = self.statement.as_ptr();
        // SAFETY: the column is one of the statement's. The bytes stay where they are until the
        // next step, for which the borrow must have ended; their length is asked for behind the
        // pointer, as SQLite wants it.
        unsafe {
            Ok(match ffi::sqlite3_column_type(statement, column) {
                ffi::SQLITE_INTEGER => {
                    SqliteValue::Integer(ffi::sqlite3_column_int64(statement, column))
                }
                ffi::SQLITE_FLOAT => {
                    SqliteValue::Real(ffi::sqlite3_column_double(statement, column))
                }
                ffi::SQLITE_TEXT => {
                    let start = ffi::sqlite3_column_text(statement, column);
                    // An empty text has a place too.
                    if start.is_null() {
                        return Err(no_memory());
                    }
                    SqliteValue::Text(bytes(start, ffi::sqlite3_column_bytes(statement, column)))
                }
                ffi::SQLITE_BLOB => {
                    let start = ffi::sqlite3_column_blob(statement, column);
                    let length = ffi::sqlite3_column_bytes(statement, column);
                    let is_full = ffi::sqlite3_errcode(ffi::sqlite3_db_handle(statement))
                        == ffi::SQLITE_NOMEM;
                    // An empty one has no place.
                    if start.is_null() && (length > 0 || is_full) {
                        return Err(no_memory());
                    }
                    SqliteValue::Blob(bytes(start.cast(), length))
                }
                _ => SqliteValue::Null,
            })
        }
    }

    /// A text of UTF-16 has no half of a letter, of which SQLite would make another letter.
    fn check_utf16(&mut self, column: c_int) -> Result<(), Failure> {
        let statement = self.statement.as_ptr();
        // SAFETY: as for a value, of which none is borrowed. SQLite gives a place that fits 16
        // bits, and what is taken from it is gone before it is asked again.
        let units = unsafe {
            if ffi::sqlite3_column_type(statement, column) != ffi::SQLITE_TEXT {
                return Ok(());
            }
            let start = sqlite3_column_text16(statement, column);
            if start.is_null() {
                return Err(no_memory());
            }
            let length =
                usize::try_from(sqlite3_column_bytes16(statement, column)).unwrap_or_default() / 2;
            if length == 0 {
                &[]
            } else {
                slice::from_raw_parts(start.cast::<u16>(), length)
            }
        };
        match char::decode_utf16(units.iter().copied()).find_map(std::result::Result::err) {
            None => Ok(()),
            Some(half) => {
                let name = self.name(usize::try_from(column).unwrap_or_default())?;
                let words = format!(
                    "column {name} has a text with half a letter of UTF-16 in it, 0x{:04x}",
                    half.unpaired_surrogate()
                );
                Err(Failure::from_message(words, false))
            }
        }
    }

    /// The name of a column.
    ///
    /// # Errors
    /// It is not UTF-8.
    pub fn name(&self, column: usize) -> Result<String, Failure> {
        let Some(number) = self.column_index(column) else {
            return Ok(String::new());
        };
        // SAFETY: the column is one of the statement's; what is given is a text of C or nothing,
        // and stays until the next question.
        let name = unsafe {
            let start = ffi::sqlite3_column_name(self.statement.as_ptr(), number);
            if start.is_null() {
                return Err(no_memory());
            }
            CStr::from_ptr(start)
        };
        let name = name.to_str().map(String::from);
        name.map_err(|_| {
            // SAFETY: as above.
            let shown = text(unsafe { ffi::sqlite3_column_name(self.statement.as_ptr(), number) });
            let words = format!(
                "the name of column {}, {shown}, is not UTF-8: give it another one, as in select a \
                 as b",
                column + 1
            );
            Failure::from_message(words, false)
        })
    }

    /// The type that a column was declared with; empty for an expression.
    pub fn declared(&self, column: usize) -> String {
        // SAFETY: the column is one of the statement's; what is given is a text of C or nothing.
        self.column_index(column)
            .map_or_else(String::new, |column| {
                text(unsafe { ffi::sqlite3_column_decltype(self.statement.as_ptr(), column) })
            })
    }

    fn column_index(&self, column: usize) -> Option<c_int> {
        c_int::try_from(column)
            .ok()
            .filter(|column| *column < self.columns)
    }
}

/// A statement without rows that is run many times.
pub struct PreparedInsert<'h, 'g>(SqliteRows<'h, 'g>);

impl<'h, 'g> PreparedInsert<'h, 'g> {
    /// Understands a statement. Nothing is run yet.
    ///
    /// # Errors
    /// SQLite does not understand it.
    pub fn new(handle: &'h mut LockedSqliteHandle<'g>, sql: &str) -> Result<Self, Failure> {
        SqliteRows::prepare(handle, sql).map(|(rows, _)| Self(rows))
    }

    /// Sets what stands for the mark of this number, from 0, at the next run.
    ///
    /// # Errors
    /// There is no such mark, or the value is too long.
    pub fn bind(&mut self, mark: usize, value: SqliteValue<'_>) -> Result<(), Failure> {
        let too_long = |_| Failure::from_message("the value is too long".into(), false);
        let mark = c_int::try_from(mark + 1).map_err(too_long)?;
        let statement = self.0.statement.as_ptr();
        // SAFETY: the statement was prepared, SQLite checks the mark, and copies texts and bytes
        // before it returns.
        let code = unsafe {
            match value {
                SqliteValue::Null => ffi::sqlite3_bind_null(statement, mark),
                SqliteValue::Integer(number) => ffi::sqlite3_bind_int64(statement, mark, number),
                SqliteValue::Real(number) => ffi::sqlite3_bind_double(statement, mark, number),
                SqliteValue::Text(bytes) => {
                    let length = c_int::try_from(bytes.len()).map_err(too_long)?;
                    ffi::sqlite3_bind_text(
                        statement,
                        mark,
                        bytes.as_ptr().cast(),
                        length,
                        ffi::SQLITE_TRANSIENT(),
                    )
                }
                SqliteValue::Blob(bytes) => {
                    let length = c_int::try_from(bytes.len()).map_err(too_long)?;
                    ffi::sqlite3_bind_blob(
                        statement,
                        mark,
                        bytes.as_ptr().cast(),
                        length,
                        ffi::SQLITE_TRANSIENT(),
                    )
                }
            }
        };
        if code == ffi::SQLITE_OK {
            Ok(())
        } else {
            Err(last_failure(self.0.handle, code))
        }
    }

    /// Runs the statement with what was set; gives how many rows it changed by itself.
    ///
    /// # Errors
    /// What SQLite met.
    pub fn run(&mut self) -> Result<u64, Failure> {
        let stepped = self.0.step().map(drop);
        // SAFETY: the statement was prepared. What it gives is what the step gave.
        unsafe { ffi::sqlite3_reset(self.0.statement.as_ptr()) };
        // SAFETY: the handle is locked and open.
        let changed = unsafe { ffi::sqlite3_changes(self.0.handle.as_raw_handle().as_ptr()) };
        stepped.map(|()| u64::try_from(changed).unwrap_or_default())
    }
}

/// What a function of SQL makes of a value: a whole number, or nothing.
pub type SqlFunction = fn(SqliteValue<'_>) -> Option<i64>;

/// Adds a function of one value, for the connection whose handle it is. The same value gives the
/// same number always.
///
/// # Errors
/// What SQLite met.
pub fn add_function(
    handle: &mut LockedSqliteHandle<'_>,
    name: &CStr,
    function: SqlFunction,
) -> Result<(), Failure> {
    let flags = ffi::SQLITE_UTF8 | ffi::SQLITE_DETERMINISTIC | ffi::SQLITE_DIRECTONLY;
    // SAFETY: the handle is locked and open; the name ends with a zero; a function has a place that
    // never goes.
    let code = unsafe {
        ffi::sqlite3_create_function_v2(
            handle.as_raw_handle().as_ptr(),
            name.as_ptr(),
            1,
            flags,
            function as *mut c_void,
            Some(call),
            None,
            None,
            None,
        )
    };
    if code == ffi::SQLITE_OK {
        Ok(())
    } else {
        Err(last_failure(handle, code))
    }
}

/// Calls a function that was added.
///
/// # Safety
/// SQLite calls it with a context of [`add_function`]'s, and one value.
unsafe extern "C" fn call(
    context: *mut ffi::sqlite3_context,
    count: c_int,
    values: *mut *mut ffi::sqlite3_value,
) {
    // SAFETY: what is kept with the context is the function, and there are as many values as are
    // said. They stay until this ends.
    unsafe {
        let function: SqlFunction = std::mem::transmute(ffi::sqlite3_user_data(context));
        let value = if count == 1 {
            *values
        } else {
            return ffi::sqlite3_result_null(context);
        };
        let value = match ffi::sqlite3_value_type(value) {
            ffi::SQLITE_INTEGER => SqliteValue::Integer(ffi::sqlite3_value_int64(value)),
            ffi::SQLITE_FLOAT => SqliteValue::Real(ffi::sqlite3_value_double(value)),
            ffi::SQLITE_TEXT => {
                let start = ffi::sqlite3_value_text(value);
                if start.is_null() {
                    return ffi::sqlite3_result_error_nomem(context);
                }
                SqliteValue::Text(bytes(start, ffi::sqlite3_value_bytes(value)))
            }
            ffi::SQLITE_BLOB => SqliteValue::Blob(bytes(
                ffi::sqlite3_value_blob(value).cast(),
                ffi::sqlite3_value_bytes(value),
            )),
            _ => SqliteValue::Null,
        };
        // Nothing may unwind through SQLite.
        match catch_unwind(|| function(value)) {
            Ok(Some(number)) => ffi::sqlite3_result_int64(context, number),
            Ok(None) => ffi::sqlite3_result_null(context),
            Err(_) => {
                ffi::sqlite3_result_error(context, c"a function of hygge's gave up".as_ptr(), -1)
            }
        }
    }
}

impl Drop for SqliteRows<'_, '_> {
    fn drop(&mut self) {
        // SAFETY: the statement was prepared, and is used no more.
        unsafe { ffi::sqlite3_finalize(self.statement.as_ptr()) };
    }
}

/// Bytes of SQLite's; none where it gives no pointer.
///
/// # Safety
/// `start` is null, or `length` bytes are there for as long as the lifetime.
unsafe fn bytes<'r>(start: *const u8, length: c_int) -> &'r [u8] {
    let length = usize::try_from(length).unwrap_or_default();
    if start.is_null() || length == 0 {
        return &[];
    }
    // SAFETY: as is said above.
    unsafe { slice::from_raw_parts(start, length) }
}

fn no_memory() -> Failure {
    Failure::from_message("there is no memory for a value".into(), false)
}

fn text(start: *const c_char) -> String {
    if start.is_null() {
        return String::new();
    }
    // SAFETY: SQLite ends its names with a zero; they stay as long as the statement.
    unsafe { CStr::from_ptr(start) }
        .to_string_lossy()
        .into_owned()
}

/// What SQLite said last.
fn last_failure(handle: &mut LockedSqliteHandle<'_>, code: c_int) -> Failure {
    // SAFETY: the handle is locked and open; its words are copied at once.
    let words = text(unsafe { ffi::sqlite3_errmsg(handle.as_raw_handle().as_ptr()) });
    let is_transient = TRANSIENT_SQLITE_CODES.contains(&(code & 0xff));
    Failure {
        message: format!("{words} (code {code})"),
        code: Some(code.to_string()),
        is_transient,
    }
}
