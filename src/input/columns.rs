//! Columns that a file names once for all its rows.

use super::Change;
use super::error::{Place, Problem};
use super::json::JsonColumn;
use crate::bundle::{Field, Schema};

/// The columns of a file and where the roles stand among them.
pub(super) struct Columns {
    columns: Vec<JsonColumn>,
    pub(super) id: usize,
    pub(super) time: usize,
    pub(super) account: usize,
}

impl Columns {
    /// Checks the names against the schema. They stand in the `header`, where the file has one.
    ///
    /// # Errors
    /// When a required field has no column, or a name stands twice.
    pub(super) fn new(
        names: &[&str],
        schema: &Schema,
        header: Option<Place>,
    ) -> Result<Self, Problem> {
        let unfit = |name: &str, problem: String| match header {
            Some(place) => Problem::Cell(place, name.to_owned(), format!("the header {problem}")),
            None => Problem::Header(format!("column `{name}`: the file {problem}")),
        };
        for (index, name) in names.iter().enumerate() {
            if names[..index].contains(name) {
                return Err(unfit(name, "names it twice".into()));
            }
        }
        let position = |key: &str| names.iter().position(|name| *name == key);
        for field in schema.fields.iter().filter(|field| field.required) {
            if position(&field.key).is_none() {
                let problem = format!(
                    "has no such column, which the bundle's field `{}` requires",
                    field.name
                );
                return Err(unfit(&field.key, problem));
            }
        }
        let role = |field: usize| {
            let key = &schema.field(field).key;
            position(key).ok_or_else(|| unfit(key, "has no such column".into()))
        };
        Ok(Self {
            columns: names
                .iter()
                .map(|name| JsonColumn::new(name, declared(schema, name)))
                .collect(),
            id: role(schema.roles.id)?,
            time: role(schema.roles.time)?,
            account: role(schema.roles.account)?,
        })
    }

    /// The name of a column.
    pub(super) fn name(&self, column: usize) -> &str {
        self.columns[column].key()
    }

    /// Writes a row as a JSON object, changed as it is to be.
    pub(super) fn write<'a>(
        &self,
        cells: impl Iterator<Item = &'a str>,
        change: &Change<'_>,
        out: &mut Vec<u8>,
    ) {
        for (index, (column, cell)) in self.columns.iter().zip(cells).enumerate() {
            column.begin(out, index == 0);
            if index == self.time {
                column.value(out, change.time);
            } else if index == self.id {
                column.joined(out, cell, change.suffix);
            } else {
                column.value(out, cell);
            }
        }
        out.push(b'}');
    }
}

/// Writes an event of cells by name as a JSON object, as a row of a file would be written. What the
/// schema does not declare is left out.
pub fn write_event<'a>(
    schema: &Schema,
    cells: impl IntoIterator<Item = (&'a str, &'a str)>,
    out: &mut Vec<u8>,
) {
    let mut first = true;
    for (name, cell) in cells {
        if let Some(field) = declared(schema, name) {
            let column = JsonColumn::new(name, Some(field));
            column.begin(out, first);
            column.value(out, cell);
            first = false;
        }
    }
    out.extend_from_slice(if first { b"{}" } else { b"}" });
}

/// The field that is read from a column of that name.
pub(super) fn declared<'a>(schema: &'a Schema, name: &str) -> Option<&'a Field> {
    schema.fields.iter().find(|field| field.key == name)
}
