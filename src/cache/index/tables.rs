//! The tables of the index, and how an older index becomes one of today.

use sqlx::{Connection, SqliteConnection};

use super::changes::{with_checksum, without_checksum};

/// The version of the tables and of the records in them.
///
/// Version 1: the first. Version 2: stores with the digests of their stats (`witness`), so that a
/// build with nothing to do loads no receipts and no memos. Version 3: receipts say where their
/// folder is, layouts whether a file is encrypted. Version 4: the history of runs and of published
/// sets; receipts say which inputs a part was made from; records are sealed. Version 5: receipts
/// have all their fields, so that they can be read again. Version 6: stores of entities whose loss
/// was accepted. Version 7: receipts say their version, whatever tells it, and whether nulls may come.
/// Version 8: receipts say where columns come from, and the types of those of files that differ.
/// Version 9: receipts say which columns the home has, where others are made of them. Version 10:
/// parts say for which folder of their store they are, receipts which inputs gave no row; tables of
/// databases as they were last listed.
pub(super) const VERSION: i64 = 10;

const TABLES: &str = "
    CREATE TABLE store (path BLOB PRIMARY KEY, project TEXT NOT NULL, flow TEXT NOT NULL, witness BLOB, is_given_up INTEGER NOT NULL DEFAULT 0) WITHOUT ROWID;
    CREATE TABLE receipt (store BLOB PRIMARY KEY, record BLOB NOT NULL) WITHOUT ROWID;
    CREATE TABLE memo (folder BLOB PRIMARY KEY, record BLOB NOT NULL) WITHOUT ROWID;
    CREATE TABLE part (key BLOB PRIMARY KEY, record BLOB NOT NULL) WITHOUT ROWID;
    CREATE TABLE layout (key BLOB PRIMARY KEY, record BLOB NOT NULL) WITHOUT ROWID;
";

/// What version 4 added.
const HISTORY: &str = "
    CREATE TABLE run (id INTEGER PRIMARY KEY AUTOINCREMENT, project TEXT NOT NULL, began TEXT NOT NULL, ended TEXT);
    CREATE TABLE flow_run (run INTEGER NOT NULL, flow TEXT NOT NULL, record TEXT NOT NULL, PRIMARY KEY (run, flow)) WITHOUT ROWID;
    CREATE TABLE past_set (store BLOB NOT NULL, run INTEGER NOT NULL, record BLOB NOT NULL, PRIMARY KEY (store, run)) WITHOUT ROWID;
";

/// What version 10 added.
const TABLE_LISTS: &str = "
    CREATE TABLE table_list (source BLOB PRIMARY KEY, record BLOB NOT NULL) WITHOUT ROWID;
";

/// The same for an index that may have it: how it is written is forgotten.
const ADD_TABLE_LISTS: &str = "CREATE TABLE IF NOT EXISTS table_list (source BLOB PRIMARY KEY, record BLOB NOT NULL) WITHOUT ROWID;";

/// What version 6 added: after it, the statement of the table is the one that makes it today.
const ACCEPTED_LOSS: &str = "ALTER TABLE store ADD COLUMN is_given_up INTEGER NOT NULL DEFAULT 0;";

/// What makes an index of one version one of the next. From versions that are not here nothing is
/// taken over: a new index is begun.
const MIGRATIONS: &[(i64, &[&str])] = &[
    // Receipts are read again where they stand.
    (3, &["DELETE FROM receipt;", HISTORY]),
    (4, &["DELETE FROM receipt;"]),
    (5, &[ACCEPTED_LOSS]),
    (6, &["DELETE FROM receipt;"]),
    (7, &["DELETE FROM receipt;"]),
    (8, &["DELETE FROM receipt;"]),
    (9, &["DELETE FROM receipt;", ADD_TABLE_LISTS]),
];

/// The first version whose parts say their folder.
const FIRST_WITH_FOLDERS: i64 = 10;

/// How the index looks that was opened.
pub(super) enum SchemaState {
    /// It has the tables of today now.
    Ready,
    /// It has the tables of today now, and nothing is known of receipts any more.
    Migrated,
    /// It was empty, and has the tables of today now.
    Empty,
    /// It is so old that nothing can be taken over.
    TooOld(i64),
    /// Its tables are others than those that hygge makes.
    Foreign,
    /// A newer hygge wrote it.
    Newer(i64),
}

/// The first version whose records are sealed.
const FIRST_CHECKSUMMED: i64 = 4;

/// Seals the records of an older index. Done again after it was interrupted, it would seal some
/// twice, which then are as good as none.
async fn add_checksums(connection: &mut SqliteConnection) -> Result<(), sqlx::Error> {
    for (select, update) in [
        (
            "SELECT folder, record FROM memo",
            "UPDATE memo SET record = ? WHERE folder = ?",
        ),
        (
            "SELECT key, record FROM part",
            "UPDATE part SET record = ? WHERE key = ?",
        ),
        (
            "SELECT key, record FROM layout",
            "UPDATE layout SET record = ? WHERE key = ?",
        ),
    ] {
        let rows: Vec<(Vec<u8>, Vec<u8>)> =
            sqlx::query_as(select).fetch_all(&mut *connection).await?;
        let mut transaction = connection.begin().await?;
        for (key, record) in rows {
            sqlx::query(update)
                .bind(with_checksum(record))
                .bind(key)
                .execute(&mut *transaction)
                .await?;
        }
        transaction.commit().await?;
    }
    Ok(())
}

/// Parts of an older index are for the folder of their store itself. Done again after it was
/// interrupted, it adds to records what nobody reads.
async fn add_folders(connection: &mut SqliteConnection) -> Result<(), sqlx::Error> {
    let rows: Vec<(Vec<u8>, Vec<u8>)> = sqlx::query_as("SELECT key, record FROM part")
        .fetch_all(&mut *connection)
        .await?;
    let mut transaction = connection.begin().await?;
    for (key, record) in rows {
        // One that is not as it was written stays so.
        let Some(record) = without_checksum(&record) else {
            continue;
        };
        let record = [record, &[0]].concat();
        sqlx::query("UPDATE part SET record = ? WHERE key = ?")
            .bind(with_checksum(record))
            .bind(key)
            .execute(&mut *transaction)
            .await?;
    }
    transaction.commit().await
}

/// The version of an index, and what its tables are by the statements that made them.
const READ_SCHEMA: &str = "SELECT (SELECT user_version FROM pragma_user_version), (SELECT group_concat(sql || ';', ' ') FROM sqlite_schema \
     WHERE name NOT LIKE 'sqlite!_%' ESCAPE '!')";

async fn read_schema(connection: &mut SqliteConnection) -> Result<(i64, Vec<String>), sqlx::Error> {
    let (version, statements): (i64, Option<String>) = sqlx::query_as(READ_SCHEMA)
        .fetch_one(&mut *connection)
        .await?;
    Ok((
        version,
        sorted_statements(statements.as_deref().unwrap_or_default()),
    ))
}

/// Statements that stand one behind the other, in an order that says nothing.
fn sorted_statements(statements: &str) -> Vec<String> {
    let mut statements: Vec<String> = statements
        .split(';')
        .map(|one| one.trim().to_string())
        .filter(|one| !one.is_empty())
        .collect();
    statements.sort();
    statements
}

fn is_current(statements: &[String]) -> bool {
    sorted_statements(&format!("{TABLES}{HISTORY}{TABLE_LISTS}")) == statements
}

/// Says whether an index is of today, and changes nothing.
pub(super) async fn check_schema(
    connection: &mut SqliteConnection,
) -> Result<SchemaState, sqlx::Error> {
    let (found, statements) = read_schema(connection).await?;
    Ok(if found > VERSION {
        SchemaState::Newer(found)
    } else if found < VERSION {
        SchemaState::TooOld(found)
    } else if is_current(&statements) {
        SchemaState::Ready
    } else {
        SchemaState::Foreign
    })
}

/// Makes the tables, or brings them to the version of today: all of it or nothing.
pub(super) async fn set_up(connection: &mut SqliteConnection) -> Result<SchemaState, sqlx::Error> {
    let (found, there) = read_schema(connection).await?;
    let statements = match found {
        VERSION if is_current(&there) => return Ok(SchemaState::Ready),
        VERSION => return Ok(SchemaState::Foreign),
        0 if there.is_empty() => format!("{TABLES}{HISTORY}{TABLE_LISTS}"),
        0 => return Ok(SchemaState::Foreign),
        newer if newer > VERSION => return Ok(SchemaState::Newer(newer)),
        old => {
            let steps: Vec<_> = MIGRATIONS.iter().filter(|(from, _)| *from >= old).collect();
            if i64::try_from(steps.len()) != Ok(VERSION - old) {
                return Ok(SchemaState::TooOld(old));
            }
            if old < FIRST_CHECKSUMMED {
                add_checksums(connection).await?;
            }
            if old < FIRST_WITH_FOLDERS {
                add_folders(connection).await?;
            }
            steps
                .into_iter()
                .flat_map(|(_, statements)| statements.iter().copied())
                .collect()
        }
    };
    let all = format!("BEGIN IMMEDIATE; {statements} PRAGMA user_version = {VERSION}; COMMIT");
    sqlx::raw_sql(sqlx::AssertSqlSafe(all))
        .execute(&mut *connection)
        .await?;
    Ok(if found == 0 {
        SchemaState::Empty
    } else {
        SchemaState::Migrated
    })
}
