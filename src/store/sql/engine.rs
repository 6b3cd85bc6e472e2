//! What each database does in its own way where its tables are filled: one implementation for each,
//! in a file of its own.

use std::fmt::Debug;

use futures_util::future::BoxFuture;

use super::catalog::{Cascade, CatalogTable};
use super::resolved_table::ResolvedTable;
use super::target::{TargetColumn, TargetRows};
use crate::connection::types::ColumnType;
use crate::connection::{Dialect, Relation, Session, TableName};
use crate::error::Result;

/// A database, as stores use it.
pub(super) trait WriteEngine: Debug + Send + Sync {
    /// How it writes names and texts.
    fn dialect(&self) -> Dialect;

    /// Sets a session to what statements of hygge's own are written for.
    fn set_own_mode<'a>(&'a self, _: &'a mut Session) -> BoxFuture<'a, Result<()>> {
        Box::pin(async { Ok(()) })
    }

    /// Sets a session that was set up so that SQL which the config has means what the server says;
    /// values stay exact.
    fn set_user_mode<'a>(&'a self, _: &'a mut Session) -> BoxFuture<'a, Result<()>> {
        Box::pin(async { Ok(()) })
    }

    /// How the lock of a table is held.
    fn lock(&self) -> TableLock;

    /// Begins a transaction that writes.
    fn begin_sql(&self) -> &'static str;

    /// Asks for the lock of a table without waiting: 1 where it was given, 0 where another has it.
    /// Nothing where the database as a whole is locked ([`TableLock::Database`]).
    fn try_lock_sql(&self, _: &ResolvedTable) -> Option<String> {
        None
    }

    /// Gives a lock back that the session holds; nothing where the end of the transaction does so.
    fn unlock_sql(&self, _: &ResolvedTable) -> Option<String> {
        None
    }

    /// How a reader finds what a dead writer left; nothing where the database undoes that itself.
    fn dead_writer_probe(&self) -> Option<DeadWriterProbe> {
        None
    }

    /// What a name means at this moment.
    fn resolve<'a>(
        &'a self,
        table: TableName<'a>,
        session: &'a mut Session,
    ) -> BoxFuture<'a, Result<ResolvedTable>>;

    /// The query that gives a row where there is a table of this name.
    fn table_exists_sql(&self, table: TableName<'_>) -> String;

    /// What is there in the place of a table; `None` where nothing is.
    fn read_table<'a>(
        &'a self,
        resolved: &'a ResolvedTable,
        session: &'a mut Session,
    ) -> BoxFuture<'a, Result<Option<CatalogTable>>>;

    /// What is in a scratch table.
    fn read_scratch_table<'a>(
        &'a self,
        resolved: &'a ResolvedTable,
        session: &'a mut Session,
    ) -> BoxFuture<'a, Result<Option<CatalogTable>>> {
        self.read_table(resolved, session)
    }

    /// What other tables would lose or change with rows of this one, each in words.
    fn cascades<'a>(
        &'a self,
        resolved: &'a ResolvedTable,
        session: &'a mut Session,
    ) -> BoxFuture<'a, Result<Vec<Cascade>>>;

    /// The type of a column that holds the values exactly; `None` where there is none.
    fn declared_type(&self, kind: &ColumnType, is_key: bool) -> Option<String>;

    /// True where a type is held by a wider one, which is said.
    fn widens(&self, _: &ColumnType) -> bool {
        false
    }

    /// The collation of tables that are made, where there is one to be named: texts are compared by
    /// their bytes, blanks at their end among them where the server has such a one.
    fn table_collation<'a>(&'a self, _: &'a mut Session) -> BoxFuture<'a, Result<Option<String>>> {
        Box::pin(async { Ok(None) })
    }

    /// The statement that gives a column a wider type, and leaves what else is said of it; `None`
    /// where there is none.
    fn widen_column_sql(
        &self,
        _table: &str,
        _column: &str,
        _declared: &str,
        _is_nullable: bool,
    ) -> Option<String> {
        None
    }

    /// The query that gives a row where a column has something that [`Self::widen_column_sql`] would
    /// lose; nothing where it loses nothing.
    fn lost_attributes_sql(&self, _: &ResolvedTable, _column: &str) -> Option<String> {
        None
    }

    /// What stands behind the columns of a table that is made.
    fn table_options(&self, _collation: Option<&str>) -> String {
        String::new()
    }

    /// True where names that differ by case are two columns.
    fn has_case_sensitive_names(&self) -> bool {
        false
    }

    /// How many bytes of a name are kept, where that is said.
    fn longest_name(&self) -> Option<usize> {
        None
    }

    /// A null that stands for a column of this type in a condition that is tried. It has the type
    /// where the database would not find it out.
    fn typed_null(&self, _declared: &str) -> String {
        "NULL".into()
    }

    /// A table that a session makes for itself, to see what the database makes of its columns.
    fn scratch_table(&self, stem: &str) -> ScratchTable;

    /// Removes a scratch table; nothing where it goes by itself.
    fn drop_scratch_sql(&self, _: &str) -> Option<String> {
        None
    }

    /// The statement that makes a scratch table, from that which makes the real one.
    fn scratch_statement(&self, statement: String) -> String {
        statement
    }

    /// The query for the schemas that have a table of receipts, and whether a name without a schema
    /// may mean a table of that.
    fn receipt_tables_sql(&self) -> String;

    /// The types of short and of long texts in the table of receipts, and what stands behind its
    /// columns.
    fn receipt_types(&self) -> (&'static str, &'static str, &'static str) {
        ("text", "text", "")
    }

    /// The statement that makes the table of receipts, guarded where two who make it at once would
    /// be in each other's way.
    fn guarded_creation(&self, statement: String) -> String {
        statement
    }

    /// The query for the schema of a receipt of an earlier version, which stands where the user's
    /// search path led to.
    fn stray_receipt_sql(&self, _: &ResolvedTable) -> Option<String> {
        None
    }

    /// The query whose answer changes when something else is published to a table of this name.
    fn publication_probe(&self, table: TableName<'_>) -> String;

    /// True where a value is cast from a text into the column's own type, in a table beside it.
    fn casts_from_text(&self, _: &TargetColumn) -> bool {
        false
    }

    /// Writes rows into a table, or into the one beside it; gives how many the database took.
    fn write<'a>(
        &'a self,
        session: &'a mut Session,
        into: &'a Relation,
        rows: &'a TargetRows<'a>,
        is_temp: bool,
    ) -> BoxFuture<'a, Result<u64>>;

    /// The schema of tables that go with the session.
    fn temp_schema(&self, resolved: &ResolvedTable) -> String;

    /// Makes a table beside another one, with the columns that come.
    fn create_temp_sql(&self, temp: &str, table: &str, targets: &[TargetColumn]) -> String;

    /// A column of the table beside it, in the type of the table.
    fn cast_column(&self, target: &TargetColumn) -> String {
        self.dialect().quote_name(&target.name)
    }

    /// A column of the table beside it, cast into the column's own type and back into a text: where
    /// it is another text then, the value would change. `None` where nothing is compared.
    fn cast_back(&self, _: &TargetColumn) -> Option<String> {
        None
    }

    /// Removes the rows of a table that have the keys of others.
    fn delete_by_key_sql(&self, table: &str, rows: &str, alias: &str, same: &str) -> String {
        format!("DELETE FROM {table} WHERE EXISTS (SELECT 1 FROM {rows} AS {alias} WHERE {same})")
    }

    /// Changes the rows of a table that have the keys of others.
    fn update_by_key_sql(
        &self,
        table: &str,
        columns: &[String],
        rows: &str,
        alias: &str,
        same: &str,
    ) -> String {
        format!(
            "UPDATE {table} SET {} FROM {rows} AS {alias} WHERE {same}",
            assignments("", columns, alias)
        )
    }

    /// True for values that are the same, nulls too.
    fn equal_sql(&self, one: &str, other: &str) -> String;

    /// True for keys that a collation takes for one, and which are two.
    fn differing_key_sql(&self, old: &str, new: &str, target: &TargetColumn) -> String;
}

/// How the lock of a table is held.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum TableLock {
    /// The transaction locks the whole database: one writer at a time.
    Database,
    /// It is taken in a transaction, and the end of that gives it back.
    Transaction,
    /// The session holds it until it is given back; the transaction begins after it, and after
    /// tables were made, which would end it.
    Session,
}

/// A table that a session makes for itself.
#[derive(Debug)]
pub(super) struct ScratchTable {
    /// Where the catalog has it.
    pub schema: String,
    /// What the catalog calls it.
    pub name: String,
    /// What statements call it.
    pub relation: Relation,
    /// What begins the transaction that it goes with, where it does.
    pub begin: Option<&'static str>,
    /// True where it lies in a database of its own, in memory.
    pub is_in_memory: bool,
}

/// How a session that only reads finds out that a process died while it wrote, and that only a
/// session that writes can undo what that left.
#[derive(Clone, Copy, Debug)]
pub(super) struct DeadWriterProbe {
    /// A query, which fails then.
    pub query: &'static str,
    /// The code of that failure.
    pub failure_code: &'static str,
}

/// What such a table is called where it could meet others.
pub(super) const SCRATCH_TABLE: &str = "hygge_check";

/// Columns that take the values of others, as SQL.
pub(super) fn assignments(left: &str, columns: &[String], alias: &str) -> String {
    columns
        .iter()
        .map(|name| format!("{left}{name} = {alias}.{name}"))
        .collect::<Vec<_>>()
        .join(", ")
}
