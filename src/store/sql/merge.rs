//! Rows that come into a table beside theirs first: to be cast into its types, or to be merged by
//! their keys.
//!
//! What its types make of a value is compared with it, and what the database says was written with
//! what was sent.

use std::hash::{BuildHasher, Hasher, RandomState};

use super::SqlStore;
use super::engine::WriteEngine;
use super::resolved_table::ResolvedTable;
use super::table_contents::count_rows;
use super::target::{TargetColumn, quoted_list};
use super::{engine_of, json};
use crate::connection::types::ColumnType;
use crate::connection::{Relation, Session};
use crate::error::{Error, ErrorKind, Result};

/// What a load does to the number of a table's rows.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct RowChanges {
    pub(super) added: u64,
    pub(super) removed: u64,
}

/// A table beside another one, which goes with the session.
pub(super) struct TempTable<'a> {
    store: &'a SqlStore,
    targets: &'a [TargetColumn],
    engine: &'static dyn WriteEngine,
    /// Itself.
    pub(super) relation: Relation,
    /// The table that its rows are for, as SQL.
    table: String,
    /// A name of statements that no table or column of anybody has, quoted.
    alias: String,
}

impl<'a> TempTable<'a> {
    /// Makes it, without rows.
    pub(super) async fn create(
        store: &'a SqlStore,
        resolved: &ResolvedTable,
        session: &mut Session,
        targets: &'a [TargetColumn],
    ) -> Result<Self> {
        let engine = engine_of(session);
        let dialect = engine.dialect();
        let table = resolved.relation().source_sql(dialect);
        let relation = Relation::Table(vec![engine.temp_schema(resolved), random_name()]);
        let side = relation.source_sql(dialect);
        let statement = engine.create_temp_sql(&side, &table, targets);
        session
            .execute("make a table beside it", &statement)
            .await?;
        Ok(Self {
            store,
            targets,
            engine,
            relation,
            table,
            alias: dialect.quote_name(&random_name()),
        })
    }

    /// Moves its rows into the table.
    pub(super) async fn insert_rows(
        &self,
        session: &mut Session,
        staged: u64,
    ) -> Result<RowChanges> {
        self.check_casts(session).await?;
        let names = quoted_list(self.engine.dialect(), self.targets);
        let statement = format!(
            "INSERT INTO {} ({names}){} SELECT {names} FROM {} AS {}",
            self.table,
            self.overriding_clause(),
            self.cast_select(),
            self.alias
        );
        let added = session.execute_update("write its rows", &statement).await?;
        self.check_count(staged, added)?;
        self.empty(session).await?;
        Ok(RowChanges { added, removed: 0 })
    }

    /// Rows whose key is there change, others are added; those that meet `delete_where` are
    /// removed.
    pub(super) async fn merge(&self, session: &mut Session, staged: u64) -> Result<RowChanges> {
        self.check_keys(session).await?;
        self.check_casts(session).await?;
        self.check_collated_keys(session).await?;
        if self.store.delete_where.is_some() {
            self.engine.set_user_mode(session).await?;
        }
        let changes = self.apply_merge(session, staged).await?;
        if self.store.delete_where.is_some() {
            self.engine.set_own_mode(session).await?;
        }
        self.empty(session).await?;
        Ok(changes)
    }

    /// What [`TempTable::merge`] does where nothing is wrong with what came.
    async fn apply_merge(&self, session: &mut Session, staged: u64) -> Result<RowChanges> {
        let Self { table, alias, .. } = self;
        let all = self.cast_select();
        let same = self.key_condition();
        let (gone, stays) = match &self.store.delete_where {
            // The line ends, so that a comment at the end of a condition does.
            Some(condition) => (
                Some(format!(
                    "(SELECT * FROM {all} AS {alias} WHERE ({condition}\n))"
                )),
                format!(
                    "(SELECT * FROM {all} AS {alias} WHERE NOT coalesce(({condition}\n), false))"
                ),
            ),
            None => (None, all),
        };
        let (mut removed, mut staying) = (0, staged);
        if let Some(gone) = gone {
            let statement = self.engine.delete_by_key_sql(table, &gone, alias, &same);
            removed = session
                .execute_update("remove rows by their keys", &statement)
                .await?;
            staying = count_rows(&format!("{stays} AS {alias}"), session).await?;
        }
        let changed = self.update(session, &stays, &same).await?;
        let of_side = self
            .quoted_names()
            .iter()
            .map(|name| format!("{alias}.{name}"))
            .collect::<Vec<_>>()
            .join(", ");
        let statement = format!(
            "INSERT INTO {table} ({}){} SELECT {of_side} FROM {stays} AS {alias} \
             LEFT JOIN {table} ON {same} WHERE {table}.{} IS NULL",
            quoted_list(self.engine.dialect(), self.targets),
            self.overriding_clause(),
            self.quoted_key()[0]
        );
        let added = session.execute_update("add rows", &statement).await?;
        // A trigger may leave out changes that change nothing.
        if changed + added < staying && self.has_difference(session, &stays, &same).await?
            || changed + added > staying
        {
            self.check_count(staying, changed + added)?;
        }
        Ok(RowChanges { added, removed })
    }

    /// Changes the rows whose keys are there; gives how many of those that stay it is.
    async fn update(&self, session: &mut Session, stays: &str, same: &str) -> Result<u64> {
        let Self { table, alias, .. } = self;
        let key = self.quoted_key();
        let numbered = |name: &String| {
            self.targets
                .iter()
                .any(|target| target.is_identity && self.quote_name(&target.name) == *name)
        };
        let others: Vec<String> = self
            .quoted_names()
            .into_iter()
            .filter(|name| !key.contains(name))
            .collect();
        if let Some(name) = others.iter().find(|name| numbered(name)) {
            // It is numbered by the database, and cannot be changed.
            let asked = format!(
                "SELECT 1 FROM {stays} AS {alias} JOIN {table} ON {same} \
                 WHERE {table}.{name} <> {alias}.{name} LIMIT 1"
            );
            if !session
                .query_text("compare what it numbers", &asked)
                .await?
                .is_empty()
            {
                let error = format!(
                    "column {name} of table {} is GENERATED ALWAYS, and a row would change in it",
                    self.store.relation
                );
                return Err(Error::new(ErrorKind::Flow, error).with_hint(
                    "leave it out by columns of the home, or make it GENERATED BY DEFAULT",
                ));
            }
        }
        let others: Vec<String> = others.into_iter().filter(|name| !numbered(name)).collect();
        if others.is_empty() {
            return count_rows(
                &format!("{stays} AS {alias} JOIN {table} ON {same}"),
                session,
            )
            .await;
        }
        let statement = self
            .engine
            .update_by_key_sql(table, &others, stays, alias, same);
        Ok(session
            .execute_update("change rows by their keys", &statement)
            .await?)
    }

    /// The rows, cast into the types of the table.
    fn cast_select(&self) -> String {
        let cast = |target: &TargetColumn| self.engine.cast_column(target);
        let columns = self.targets.iter().map(cast).collect::<Vec<_>>().join(", ");
        format!("(SELECT {columns} FROM {})", self.source_sql())
    }

    /// Itself, as statements have it.
    fn source_sql(&self) -> String {
        self.relation.source_sql(self.engine.dialect())
    }

    fn quote_name(&self, name: &str) -> String {
        self.engine.dialect().quote_name(name)
    }

    fn quoted_names(&self) -> Vec<String> {
        self.targets
            .iter()
            .map(|target| self.quote_name(&target.name))
            .collect()
    }

    fn quoted_key(&self) -> Vec<String> {
        self.store
            .key
            .iter()
            .map(|column| self.quote_name(column))
            .collect()
    }

    /// The condition that a row of the table has the key of one beside it.
    fn key_condition(&self) -> String {
        self.quoted_key()
            .iter()
            .map(|column| format!("{}.{column} = {}.{column}", self.table, self.alias))
            .collect::<Vec<_>>()
            .join(" AND ")
    }

    /// Columns that PostgreSQL always numbers take what comes.
    fn overriding_clause(&self) -> &'static str {
        if self.targets.iter().any(|target| target.is_identity) {
            " OVERRIDING SYSTEM VALUE"
        } else {
            ""
        }
    }

    async fn empty(&self, session: &mut Session) -> Result<()> {
        let statement = format!("DELETE FROM {}", self.source_sql());
        Ok(session
            .execute("empty the table beside it", &statement)
            .await?)
    }

    fn check_count(&self, sent: u64, written: u64) -> Result<()> {
        if sent == written {
            return Ok(());
        }
        let error = format!(
            "table {} does not keep what it is given: {sent} rows were sent, and the database says \
             that it wrote {written}",
            self.store.relation
        );
        let hint = if written > sent {
            "look for keys that stand in it twice; nothing was published"
        } else {
            "look for triggers and rules of the table; nothing was published"
        };
        Err(Error::new(ErrorKind::Flow, error).with_hint(hint))
    }

    /// True where a row that stays is not in the table as it came.
    async fn has_difference(&self, session: &mut Session, stays: &str, same: &str) -> Result<bool> {
        let Self { table, alias, .. } = self;
        let is_equal = |name: &String| {
            self.engine
                .equal_sql(&format!("{table}.{name}"), &format!("{alias}.{name}"))
        };
        let equal = self
            .quoted_names()
            .iter()
            .map(is_equal)
            .collect::<Vec<_>>()
            .join(" AND ");
        let asked = format!(
            "SELECT 1 FROM {stays} AS {alias} WHERE NOT EXISTS (SELECT 1 FROM {table} \
             WHERE {same} AND {equal}) LIMIT 1"
        );
        Ok(!session
            .query_text("compare its rows", &asked)
            .await?
            .is_empty())
    }

    /// What types of the database's own make of texts is the text itself.
    async fn check_casts(&self, session: &mut Session) -> Result<()> {
        let side = self.source_sql();
        for target in self.targets {
            let Some(back) = self.engine.cast_back(target) else {
                continue;
            };
            let (name, declared) = (self.quote_name(&target.name), &target.declared_type);
            let asked = format!(
                "SELECT {name}::text, ({back})::text FROM {side} WHERE {back} IS DISTINCT \
                 FROM {name} LIMIT 1"
            );
            let Some(row) = session
                .query_text("compare what it makes of values", &asked)
                .await?
                .into_iter()
                .next()
            else {
                continue;
            };
            let error = format!(
                "column {}: {} would be {} in table {}, whose column is {declared}",
                target.name,
                quoted_value(&row, 0),
                quoted_value(&row, 1),
                self.store.relation
            );
            return Err(Error::new(ErrorKind::Flow, error).with_hint(
                "nothing was published; change the value or the column, or leave the column out",
            ));
        }
        Ok(())
    }

    /// Each key comes once in a part, and is there.
    async fn check_keys(&self, session: &mut Session) -> Result<()> {
        let (key, side, table) = (self.quoted_key(), self.source_sql(), &self.store.relation);
        let nulls = key
            .iter()
            .map(|column| format!("{column} IS NULL"))
            .collect::<Vec<_>>()
            .join(" OR ");
        if !session
            .query_text(
                "look at its keys",
                &format!("SELECT 1 FROM {side} WHERE {nulls} LIMIT 1"),
            )
            .await?
            .is_empty()
        {
            let error = format!(
                "a row without a key comes to table {table}: {} is null",
                self.store.key.join(" or ")
            );
            return Err(Error::new(ErrorKind::Flow, error)
                .with_hint("leave such rows out, or choose another key"));
        }
        let list = key.join(", ");
        let twice = format!(
            "SELECT {list} FROM {} AS {} GROUP BY {list} HAVING count(*) > 1 LIMIT 1",
            self.cast_select(),
            self.alias
        );
        if let Some(row) = session
            .query_text("look at its keys", &twice)
            .await?
            .into_iter()
            .next()
        {
            let shown: Vec<String> = self
                .store
                .key
                .iter()
                .zip(row)
                .map(|(column, value)| format!("{column} = {}", value.unwrap_or_default()))
                .collect();
            let error = format!(
                "two rows of one part come to table {table} with the key {}",
                shown.join(", ")
            );
            return Err(Error::new(ErrorKind::Flow, error)
                .with_hint("each key may come once in a part: which of the rows should win?"));
        }
        Ok(())
    }

    /// No row has another key that the table takes for the same.
    async fn check_collated_keys(&self, session: &mut Session) -> Result<()> {
        let Self { table, alias, .. } = self;
        let is_key = |target: &&TargetColumn| {
            self.store
                .key
                .iter()
                .any(|key| key.to_lowercase() == target.name.to_lowercase())
        };
        let folded: Vec<&TargetColumn> = self
            .targets
            .iter()
            .filter(is_key)
            .filter(|target| target.has_loose_collation && target.kind == ColumnType::Text)
            .collect();
        for target in folded {
            let name = self.quote_name(&target.name);
            let (old, new) = (format!("{table}.{name}"), format!("{alias}.{name}"));
            let differs = self.engine.differing_key_sql(&old, &new, target);
            let asked = format!(
                "SELECT {old}, {new} FROM {} AS {alias} JOIN {table} ON {} WHERE {differs} LIMIT 1",
                self.cast_select(),
                self.key_condition()
            );
            let Some(row) = session
                .query_text("compare its keys", &asked)
                .await?
                .into_iter()
                .next()
            else {
                continue;
            };
            let error = format!(
                "a row comes to table {} with {} = {}, which its collation takes for {}, the key \
                 of another row",
                self.store.relation,
                target.name,
                quoted_value(&row, 1),
                quoted_value(&row, 0)
            );
            return Err(Error::new(ErrorKind::Flow, error).with_hint(
                "give the column a collation that tells them apart, or choose another key",
            ));
        }
        Ok(())
    }
}

/// A value of an answer, in quotes.
fn quoted_value(row: &[Option<String>], place: usize) -> String {
    row.get(place)
        .and_then(Option::as_deref)
        .map_or_else(|| "null".into(), json::quote_short)
}

/// A name that nobody else has.
fn random_name() -> String {
    let random = || RandomState::new().build_hasher().finish();
    format!("hygge_{:016x}{:016x}", random(), random())
}
