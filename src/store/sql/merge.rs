//! Rows that come into a table beside theirs first: to be cast into its types, or to be merged by their keys.

use super::SqlStore;
use super::columns::Target;
use super::load::SIDE;
use super::postgres;
use crate::connection::{Dialect, Session};
use crate::error::{Error, ErrorKind, Result};

/// The statement that makes the table beside it, which goes with the session.
pub(super) fn side(store: &SqlStore, dialect: Dialect, targets: &[Target]) -> String {
    let names: Vec<String> = targets.iter().map(|target| dialect.quoted(&target.name)).collect();
    let side = dialect.quoted(SIDE);
    match dialect {
        Dialect::Postgres => {
            let columns: Vec<String> =
                targets.iter().zip(&names).map(|(target, name)| format!("{name} {}", postgres::side_type(&target.kind))).collect();
            format!("CREATE TEMP TABLE {side} ({}) ON COMMIT DROP", columns.join(", "))
        }
        Dialect::MySql => format!(
            "DROP TEMPORARY TABLE IF EXISTS {side}; CREATE TEMPORARY TABLE {side} AS SELECT {} FROM {} LIMIT 0",
            names.join(", "),
            store.relation.from(dialect)
        ),
        Dialect::Sqlite => format!(
            "DROP TABLE IF EXISTS temp.{side}; CREATE TEMP TABLE {side} AS SELECT {} FROM {} LIMIT 0",
            names.join(", "),
            store.relation.from(dialect)
        ),
    }
}

/// The rows beside the table, cast into its types.
fn cast(dialect: Dialect, targets: &[Target]) -> String {
    let cast = |target: &Target| {
        let name = dialect.quoted(&target.name);
        if dialect == Dialect::Postgres { format!("{name}::{} AS {name}", target.declared) } else { name }
    };
    format!("(SELECT {} FROM {})", targets.iter().map(cast).collect::<Vec<_>>().join(", "), dialect.quoted(SIDE))
}

fn names(dialect: Dialect, targets: &[Target]) -> Vec<String> {
    targets.iter().map(|target| dialect.quoted(&target.name)).collect()
}

/// Moves the rows into the table.
pub(super) async fn move_rows(store: &SqlStore, session: &mut Session, targets: &[Target]) -> Result<()> {
    let dialect = session.database().dialect;
    let names = names(dialect, targets).join(", ");
    let statement = format!("INSERT INTO {} ({names}) SELECT {names} FROM {} AS s", store.relation.from(dialect), cast(dialect, targets));
    session.execute("write its rows", &statement).await?;
    empty(session).await
}

async fn empty(session: &mut Session) -> Result<()> {
    let statement = format!("DELETE FROM {}", session.database().dialect.quoted(SIDE));
    Ok(session.execute("empty the table beside it", &statement).await?)
}

/// Rows whose key is there change, others are added; those that meet `delete_where` are removed.
pub(super) async fn merge(store: &SqlStore, session: &mut Session, targets: &[Target]) -> Result<()> {
    let dialect = session.database().dialect;
    check_keys(store, session).await?;
    let table = store.relation.from(dialect);
    let all = cast(dialect, targets);
    let key: Vec<String> = store.key.iter().map(|column| dialect.quoted(column)).collect();
    let same = key.iter().map(|column| format!("{table}.{column} = s.{column}")).collect::<Vec<_>>().join(" AND ");
    let (gone, stays) = match &store.delete_where {
        // The line ends, so that a comment at the end of a condition does.
        Some(condition) => (
            Some(format!("(SELECT * FROM {all} AS a WHERE ({condition}\n))")),
            format!("(SELECT * FROM {all} AS a WHERE NOT coalesce(({condition}\n), false))"),
        ),
        None => (None, all),
    };
    if let Some(gone) = gone {
        let statement = match dialect {
            Dialect::MySql => format!("DELETE {table} FROM {table} JOIN {gone} AS s ON {same}"),
            _ => format!("DELETE FROM {table} WHERE EXISTS (SELECT 1 FROM {gone} AS s WHERE {same})"),
        };
        session.execute("remove rows by their keys", &statement).await?;
    }
    let others: Vec<String> = names(dialect, targets).into_iter().filter(|name| !key.contains(name)).collect();
    if !others.is_empty() {
        let set = |left: &str| others.iter().map(|name| format!("{left}{name} = s.{name}")).collect::<Vec<_>>().join(", ");
        let statement = match dialect {
            Dialect::MySql => format!("UPDATE {table} JOIN {stays} AS s ON {same} SET {}", set(&format!("{table}."))),
            _ => format!("UPDATE {table} SET {} FROM {stays} AS s WHERE {same}", set("")),
        };
        session.execute("change rows by their keys", &statement).await?;
    }
    let names = names(dialect, targets);
    let of_side = names.iter().map(|name| format!("s.{name}")).collect::<Vec<_>>().join(", ");
    let statement = format!(
        "INSERT INTO {table} ({}) SELECT {of_side} FROM {stays} AS s LEFT JOIN {table} ON {same} WHERE {table}.{} IS NULL",
        names.join(", "),
        key[0]
    );
    session.execute("add rows", &statement).await?;
    empty(session).await
}

/// Each key comes once in a part, and is there.
async fn check_keys(store: &SqlStore, session: &mut Session) -> Result<()> {
    let dialect = session.database().dialect;
    let key: Vec<String> = store.key.iter().map(|column| dialect.quoted(column)).collect();
    let side = dialect.quoted(SIDE);
    let nulls = key.iter().map(|column| format!("{column} IS NULL")).collect::<Vec<_>>().join(" OR ");
    if !session.ask("look at its keys", &format!("SELECT 1 FROM {side} WHERE {nulls} LIMIT 1")).await?.is_empty() {
        let error = format!("a row without a key comes to table {}: {} is null", store.relation, store.key.join(" or "));
        return Err(Error::new(ErrorKind::Flow, error).with_hint("leave such rows out, or choose another key"));
    }
    let list = key.join(", ");
    let twice = format!("SELECT {list} FROM {side} GROUP BY {list} HAVING count(*) > 1 LIMIT 1");
    if let Some(row) = session.ask("look at its keys", &twice).await?.into_iter().next() {
        let shown: Vec<String> =
            store.key.iter().zip(row).map(|(column, value)| format!("{column} = {}", value.unwrap_or_default())).collect();
        let error = format!("two rows of one part come to table {} with the key {}", store.relation, shown.join(", "));
        return Err(Error::new(ErrorKind::Flow, error).with_hint("each key may come once in a part: which of the rows should win?"));
    }
    Ok(())
}
