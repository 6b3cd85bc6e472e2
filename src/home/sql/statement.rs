//! Statements that read: which columns of which rows, in which order.

use super::SqlHome;
use super::description::{RowRange, TableDescription};
use super::engine::ReadEngine;
use crate::connection::Relation;

impl SqlHome {
    /// The SELECT of a range. What is asked for is in the order of the described columns.
    pub(super) fn statement(
        &self,
        engine: &dyn ReadEngine,
        described: &TableDescription,
        range: &RowRange,
    ) -> String {
        let is_whole =
            self.columns.is_none() && self.condition.is_none() && range.condition.is_none();
        let is_plain = described
            .columns
            .iter()
            .all(|column| !engine.casts_to_text() || !column.is_read_as_text);
        // A query has its own order, which some databases forget where it stands in another one.
        if let (Relation::Query(query), true, true) = (&self.relation, is_whole, is_plain) {
            return query.clone();
        }
        let mut columns: Vec<String> = described
            .columns
            .iter()
            .map(|column| engine.select_expression(column))
            .collect();
        // For errors, which name the row.
        columns.extend(described.rowid.clone());
        let mut statement = format!(
            "SELECT {} FROM {}",
            columns.join(", "),
            self.relation.source_sql(engine.dialect())
        );
        statement.push_str(&self.where_clause(range.condition.as_deref()));
        if !described.order_by.is_empty() {
            statement.push_str(" ORDER BY ");
            statement.push_str(&described.order_by.join(", "));
        }
        statement
    }

    /// The conditions of the home, of its flow and of a range, from WHERE on.
    pub(super) fn where_clause(&self, condition: Option<&str>) -> String {
        // The line ends, so that a comment at the end of a condition does.
        let own = self
            .condition
            .as_deref()
            .map(|condition| format!("({condition}\n)"));
        let others = [self.pushed.as_deref(), condition].into_iter().flatten();
        let conditions: Vec<String> = own
            .into_iter()
            .chain(others.map(|condition| format!("({condition})")))
            .collect();
        if conditions.is_empty() {
            String::new()
        } else {
            format!(" WHERE {}", conditions.join(" AND "))
        }
    }
}
