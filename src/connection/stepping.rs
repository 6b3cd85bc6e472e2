//! Stepping through the rows of a SQLite statement, and running one for many rows, on the handle of a connection of sqlx's.
//!
//! sqlx sends a message for each row between two threads, which takes six times as long as the whole reading of a row
//! here. So this file, and no other, calls SQLite's own functions; that is why it may be unsafe. What keeps it sound:
//! the handle is locked for as long as a [`Rows`] lives, which is used by one thread at a time; a value is
//! borrowed from the row, so that it cannot outlive the next step; every pointer that SQLite gives is checked.

#![expect(unsafe_code, reason = "SQLite's own functions are called here")]

use std::ffi::{CStr, c_int};
use std::ptr::{self, NonNull};
use std::slice;

use libsqlite3_sys as ffi;
use sqlx::sqlite::LockedSqliteHandle;

use super::Failure;
use super::failure::SQLITE;

/// The rows of a statement.
pub struct Rows<'h, 'g> {
    statement: NonNull<ffi::sqlite3_stmt>,
    columns: c_int,
    handle: &'h mut LockedSqliteHandle<'g>,
}

/// A value as SQLite stores it.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Value<'r> {
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

impl<'h, 'g> Rows<'h, 'g> {
    /// Understands a statement. Nothing is run yet.
    ///
    /// # Errors
    /// SQLite does not understand it.
    pub fn new(handle: &'h mut LockedSqliteHandle<'g>, sql: &str) -> Result<Self, Failure> {
        let length = c_int::try_from(sql.len()).map_err(|_| Failure::of_words("the statement is too long".into(), false))?;
        let mut statement = ptr::null_mut();
        // SAFETY: the handle is locked and open, the text is as long as is said, and the pointer is written to.
        let code = unsafe {
            ffi::sqlite3_prepare_v2(handle.as_raw_handle().as_ptr(), sql.as_ptr().cast(), length, &raw mut statement, ptr::null_mut())
        };
        match NonNull::new(statement) {
            Some(statement) if code == ffi::SQLITE_OK => {
                // SAFETY: the statement was prepared.
                let columns = unsafe { ffi::sqlite3_column_count(statement.as_ptr()) };
                Ok(Self { statement, columns, handle })
            }
            _ if code == ffi::SQLITE_OK => Err(Failure::of_words("the statement is empty".into(), false)),
            _ => Err(failure(handle, code)),
        }
    }

    /// How many columns its rows have.
    pub fn width(&self) -> usize {
        usize::try_from(self.columns).unwrap_or_default()
    }

    /// The next row is there; false behind the last.
    ///
    /// # Errors
    /// What SQLite met.
    pub fn step(&mut self) -> Result<bool, Failure> {
        // SAFETY: the statement was prepared, and nobody else steps it.
        match unsafe { ffi::sqlite3_step(self.statement.as_ptr()) } {
            ffi::SQLITE_ROW => Ok(true),
            ffi::SQLITE_DONE => Ok(false),
            code => Err(failure(self.handle, code)),
        }
    }

    /// A value of the row that the last step gave.
    pub fn value(&self, column: usize) -> Value<'_> {
        let Some(column) = self.checked(column) else { return Value::Null };
        let statement = self.statement.as_ptr();
        // SAFETY: the column is one of the statement's. The bytes stay where they are until the next step, for which the
        // borrow must have ended; their length is asked for behind the pointer, as SQLite wants it.
        unsafe {
            match ffi::sqlite3_column_type(statement, column) {
                ffi::SQLITE_INTEGER => Value::Integer(ffi::sqlite3_column_int64(statement, column)),
                ffi::SQLITE_FLOAT => Value::Real(ffi::sqlite3_column_double(statement, column)),
                ffi::SQLITE_TEXT => {
                    let start = ffi::sqlite3_column_text(statement, column);
                    Value::Text(bytes(start, ffi::sqlite3_column_bytes(statement, column)))
                }
                ffi::SQLITE_BLOB => {
                    let start = ffi::sqlite3_column_blob(statement, column);
                    Value::Blob(bytes(start.cast(), ffi::sqlite3_column_bytes(statement, column)))
                }
                _ => Value::Null,
            }
        }
    }

    /// The name of a column.
    pub fn name(&self, column: usize) -> String {
        // SAFETY: the column is one of the statement's; what is given is a text of C or nothing.
        self.checked(column).map_or_else(String::new, |column| text(unsafe { ffi::sqlite3_column_name(self.statement.as_ptr(), column) }))
    }

    /// The type that a column was declared with; empty for an expression.
    pub fn declared(&self, column: usize) -> String {
        // SAFETY: as above.
        self.checked(column)
            .map_or_else(String::new, |column| text(unsafe { ffi::sqlite3_column_decltype(self.statement.as_ptr(), column) }))
    }

    fn checked(&self, column: usize) -> Option<c_int> {
        c_int::try_from(column).ok().filter(|column| *column < self.columns)
    }
}

/// A statement without rows that is run many times.
pub struct Insert<'h, 'g>(Rows<'h, 'g>);

impl<'h, 'g> Insert<'h, 'g> {
    /// Understands a statement. Nothing is run yet.
    ///
    /// # Errors
    /// SQLite does not understand it.
    pub fn new(handle: &'h mut LockedSqliteHandle<'g>, sql: &str) -> Result<Self, Failure> {
        Rows::new(handle, sql).map(Self)
    }

    /// Sets what stands for the mark of this number, from 0, at the next run.
    ///
    /// # Errors
    /// There is no such mark, or the value is too long.
    pub fn bind(&mut self, mark: usize, value: Value<'_>) -> Result<(), Failure> {
        let too_long = |_| Failure::of_words("the value is too long".into(), false);
        let mark = c_int::try_from(mark + 1).map_err(too_long)?;
        let statement = self.0.statement.as_ptr();
        // SAFETY: the statement was prepared, SQLite checks the mark, and copies texts and bytes before it returns.
        let code = unsafe {
            match value {
                Value::Null => ffi::sqlite3_bind_null(statement, mark),
                Value::Integer(number) => ffi::sqlite3_bind_int64(statement, mark, number),
                Value::Real(number) => ffi::sqlite3_bind_double(statement, mark, number),
                Value::Text(bytes) => {
                    let length = c_int::try_from(bytes.len()).map_err(too_long)?;
                    ffi::sqlite3_bind_text(statement, mark, bytes.as_ptr().cast(), length, ffi::SQLITE_TRANSIENT())
                }
                Value::Blob(bytes) => {
                    let length = c_int::try_from(bytes.len()).map_err(too_long)?;
                    ffi::sqlite3_bind_blob(statement, mark, bytes.as_ptr().cast(), length, ffi::SQLITE_TRANSIENT())
                }
            }
        };
        if code == ffi::SQLITE_OK { Ok(()) } else { Err(failure(self.0.handle, code)) }
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

impl Drop for Rows<'_, '_> {
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

fn text(start: *const std::ffi::c_char) -> String {
    if start.is_null() {
        return String::new();
    }
    // SAFETY: SQLite ends its names with a zero; they stay as long as the statement.
    unsafe { CStr::from_ptr(start) }.to_string_lossy().into_owned()
}

/// What SQLite said last.
fn failure(handle: &mut LockedSqliteHandle<'_>, code: c_int) -> Failure {
    // SAFETY: the handle is locked and open; its words are copied at once.
    let words = text(unsafe { ffi::sqlite3_errmsg(handle.as_raw_handle().as_ptr()) });
    let is_transient = SQLITE.contains(&(code & 0xff));
    Failure { words: format!("{words} (code {code})"), code: Some(code.to_string()), is_transient }
}
