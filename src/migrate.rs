//! The schema's versions: applying them, and refusing to work with another.

use tokio_postgres::Client;
use tokio_postgres::error::SqlState;

use crate::config::Config;
use crate::database::{self, ConnectError, Login, sentence};

/// Every migration in its order; the version is its number.
const MIGRATIONS: &[Migration] = &[
    Migration::new(1, "streams", include_str!("../migrations/0001_streams.sql")),
    Migration::new(
        2,
        "payments",
        include_str!("../migrations/0002_payments.sql"),
    ),
    Migration::new(
        3,
        "dead_letters",
        include_str!("../migrations/0003_dead_letters.sql"),
    ),
    Migration::new(4, "alerts", include_str!("../migrations/0004_alerts.sql")),
    Migration::new(
        10,
        "messages",
        include_str!("../migrations/0010_messages.sql"),
    ),
    Migration::new(11, "origin", include_str!("../migrations/0011_origin.sql")),
    Migration::new(
        12,
        "notices",
        include_str!("../migrations/0012_notices.sql"),
    ),
    Migration::new(
        13,
        "incidents",
        include_str!("../migrations/0013_incidents.sql"),
    ),
    Migration::new(
        14,
        "publishing",
        include_str!("../migrations/0014_publishing.sql"),
    ),
    Migration::new(
        15,
        "figures",
        include_str!("../migrations/0015_figures.sql"),
    ),
    Migration::new(16, "people", include_str!("../migrations/0016_people.sql")),
    Migration::new(
        17,
        "canaries",
        include_str!("../migrations/0017_canaries.sql"),
    ),
    Migration::new(
        18,
        "silenced",
        include_str!("../migrations/0018_silenced.sql"),
    ),
    Migration::new(
        19,
        "counting",
        include_str!("../migrations/0019_counting.sql"),
    ),
    Migration::new(20, "slices", include_str!("../migrations/0020_slices.sql")),
];

/// Made by `scripts/roles.sql`, once per cluster; the migrations grant to them by name.
const ROLES: [&str; 3] = ["vigie_writer", "vigie_desk", "vigie_reader"];

struct Migration {
    version: i32,
    name: &'static str,
    sql: &'static str,
}

impl Migration {
    const fn new(version: i32, name: &'static str, sql: &'static str) -> Self {
        Self { version, name, sql }
    }
}

/// Why the schema cannot be brought up to date, or not be worked with.
#[derive(Debug, thiserror::Error)]
pub enum MigrateError {
    /// No session as the schema's owner.
    #[error(transparent)]
    Connect(#[from] ConnectError),
    /// The schema is older than this program.
    #[error(
        "the schema \"{schema}\" (database.schema) {found}, this vigie needs {wanted}: run `vigie migrate`"
    )]
    Behind {
        /// The schema.
        schema: String,
        /// In words.
        found: String,
        /// The version this program was built for.
        wanted: i32,
    },
    /// The schema is newer than this program.
    #[error(
        "the schema \"{schema}\" (database.schema) is at version {found}, this vigie knows {wanted}: install the vigie that migrated it, or a newer one"
    )]
    Ahead {
        /// The schema.
        schema: String,
        /// Its version.
        found: i32,
        /// The version this program was built for.
        wanted: i32,
    },
    /// The cluster was not prepared.
    #[error(
        "the roles {0} are missing: have a superuser run scripts/roles.sql once on this cluster"
    )]
    Roles(String),
    /// The owner may not make the schema.
    #[error(
        "the user \"{user}\" (migrate.user) may not make the schema \"{schema}\" (database.schema): {problem}"
    )]
    Schema {
        /// The migrator.
        user: String,
        /// The schema.
        schema: String,
        /// What PostgreSQL said.
        problem: String,
    },
    /// It is too late to call it a demo.
    #[error(
        "the schema \"{0}\" (database.schema) has been used and is not marked as a demo: take an empty one"
    )]
    Used(String),
    /// A migration failed, and nothing of it stays.
    #[error("migration {version} ({name}) failed and was undone: {problem}")]
    Failed {
        /// Its number.
        version: i32,
        /// Its name.
        name: &'static str,
        /// What PostgreSQL said.
        problem: String,
    },
    /// Another statement failed.
    #[error("the database failed: {}", sentence(.0))]
    Database(#[from] tokio_postgres::Error),
}

/// What the schema is for.
#[derive(Debug, Clone, Default, clap::Args)]
pub struct MigrateArgs {
    /// Mark the schema as a demo's: `vigie reset` may empty it. One that was ever used is refused
    #[arg(long)]
    pub demo: bool,
}

/// What a run of [`migrate`] did.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Migrated {
    /// Applied now, in order: for instance `2 payments`.
    pub applied: Vec<String>,
    /// The schema's version afterwards.
    pub version: i32,
}

/// `vigie migrate`; what it prints.
///
/// # Errors
/// See [`migrate`] and [`mark_as_demo`].
pub async fn command(config: &Config, args: &MigrateArgs) -> anyhow::Result<String> {
    let done = migrate(config).await?;
    let schema = &config.database.schema;
    let mut text = String::new();
    for migration in &done.applied {
        text += &format!("applied {migration}\n");
    }
    text += &format!("schema {schema} is at version {}\n", done.version);
    if args.demo {
        mark_as_demo(config).await?;
        text += &format!("schema {schema} is a demo's: `vigie reset` may empty it\n");
    }
    Ok(text)
}

/// Marks the schema as a demo's, once and for all.
///
/// # Errors
/// When a stream was bound in it before it was marked: what it holds may be somebody's.
pub async fn mark_as_demo(config: &Config) -> Result<(), MigrateError> {
    let mut client = database::connect(config, Login::Migrator, "vigie migrate").await?;
    let transaction = client.transaction().await?;
    transaction
        .batch_execute("LOCK TABLE streams IN SHARE MODE")
        .await?;
    let row = transaction
        .query_one(
            "SELECT EXISTS (SELECT FROM demo_mark), EXISTS (SELECT FROM streams)",
            &[],
        )
        .await?;
    let (marked, used): (bool, bool) = (row.get(0), row.get(1));
    if used && !marked {
        return Err(MigrateError::Used(config.database.schema.clone()));
    }
    transaction
        .execute(
            "INSERT INTO demo_mark DEFAULT VALUES ON CONFLICT DO NOTHING",
            &[],
        )
        .await?;
    Ok(transaction.commit().await?)
}

/// Brings the configured schema up to date as its owner, making it first when there is none.
///
/// Each migration is one transaction; several calls at once wait for each other.
///
/// # Errors
/// When the owner cannot log in, a role is missing, the schema is newer, or a statement fails.
pub async fn migrate(config: &Config) -> Result<Migrated, MigrateError> {
    let mut client = database::connect(config, Login::Migrator, "vigie migrate").await?;
    refuse_missing_roles(&client).await?;
    let schema = &config.database.schema;
    client
        .query_one(
            "SELECT pg_advisory_lock(hashtextextended('vigie migrate ' || $1::text, 0))",
            &[schema],
        )
        .await?;
    make_schema(&client, config).await?;
    let found = version_of(&client).await?.unwrap_or(0);
    if found > newest() {
        return Err(ahead(schema, found));
    }
    let mut applied = Vec::new();
    for migration in MIGRATIONS.iter().filter(|m| m.version > found) {
        apply(&mut client, migration).await?;
        applied.push(format!("{} {}", migration.version, migration.name));
    }
    Ok(Migrated {
        applied,
        version: newest(),
    })
}

/// Refuses a schema that is behind or ahead of this program. The search path of `client` tells
/// which schema.
///
/// # Errors
/// [`MigrateError::Behind`], [`MigrateError::Ahead`], or what the database said.
pub async fn check_current(client: &Client) -> Result<(), MigrateError> {
    let row = client
        .query_one(
            "SELECT trim('\"' FROM split_part(current_setting('search_path'), ',', 1))",
            &[],
        )
        .await?;
    let schema: String = row.get(0);
    let behind = |found: String| MigrateError::Behind {
        schema: schema.clone(),
        found,
        wanted: newest(),
    };
    match version_of(client).await? {
        None => Err(behind("does not exist, or not for this user".into())),
        Some(found) if found < newest() => Err(behind(format!("is at version {found}"))),
        Some(found) if found > newest() => Err(ahead(&schema, found)),
        Some(_) => Ok(()),
    }
}

/// The version this program was built for.
pub fn newest() -> i32 {
    MIGRATIONS.last().map_or(0, |migration| migration.version)
}

fn ahead(schema: &str, found: i32) -> MigrateError {
    MigrateError::Ahead {
        schema: schema.to_owned(),
        found,
        wanted: newest(),
    }
}

/// The schema's version; `None` without one.
async fn version_of(client: &Client) -> Result<Option<i32>, tokio_postgres::Error> {
    match client
        .query_one(
            "SELECT coalesce(max(version), 0) FROM schema_migrations",
            &[],
        )
        .await
    {
        Ok(row) => Ok(Some(row.get(0))),
        Err(error) if error.code() == Some(&SqlState::UNDEFINED_TABLE) => Ok(None),
        Err(error) => Err(error),
    }
}

async fn refuse_missing_roles(client: &Client) -> Result<(), MigrateError> {
    let rows = client
        .query(
            "SELECT wanted FROM unnest($1::text[]) AS wanted \
             WHERE NOT EXISTS (SELECT FROM pg_roles WHERE rolname = wanted)",
            &[&ROLES.as_slice()],
        )
        .await?;
    if rows.is_empty() {
        return Ok(());
    }
    let missing: Vec<String> = rows.iter().map(|row| row.get(0)).collect();
    Err(MigrateError::Roles(missing.join(", ")))
}

/// Makes the schema and the list of its migrations. The schema's name is of a-z, 0-9 and _ only
/// (the configuration sees to that) and quoted, since it may begin with a digit.
async fn make_schema(client: &Client, config: &Config) -> Result<(), MigrateError> {
    let schema = &config.database.schema;
    // CREATE SCHEMA IF NOT EXISTS wants the right to create one even where there is one.
    let exists = client
        .query_opt("SELECT FROM pg_namespace WHERE nspname = $1", &[schema])
        .await?
        .is_some();
    let refused = |error: tokio_postgres::Error| MigrateError::Schema {
        user: config.migrate.user.clone(),
        schema: schema.clone(),
        problem: sentence(&error),
    };
    if !exists {
        let make = format!("CREATE SCHEMA \"{schema}\"");
        client.batch_execute(&make).await.map_err(refused)?;
    }
    let prepare = format!(
        "GRANT USAGE ON SCHEMA \"{schema}\" TO vigie_writer, vigie_desk, vigie_reader; \
         CREATE TABLE IF NOT EXISTS schema_migrations ( \
             version integer PRIMARY KEY, \
             name text NOT NULL, \
             applied_at timestamptz NOT NULL DEFAULT now()); \
         GRANT SELECT ON schema_migrations TO vigie_writer, vigie_desk"
    );
    client.batch_execute(&prepare).await.map_err(refused)
}

async fn apply(client: &mut Client, migration: &Migration) -> Result<(), MigrateError> {
    let failed = |error: tokio_postgres::Error| MigrateError::Failed {
        version: migration.version,
        name: migration.name,
        problem: sentence(&error),
    };
    let transaction = client.transaction().await?;
    transaction
        .batch_execute(migration.sql)
        .await
        .map_err(failed)?;
    transaction
        .execute(
            "INSERT INTO schema_migrations (version, name) VALUES ($1, $2)",
            &[&migration.version, &migration.name],
        )
        .await
        .map_err(failed)?;
    transaction.commit().await.map_err(failed)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_file_of_migrations_is_applied_in_the_order_of_its_number() {
        let mut files: Vec<String> = std::fs::read_dir("migrations")
            .unwrap()
            .map(|entry| entry.unwrap().file_name().into_string().unwrap())
            .collect();
        files.sort();
        let known: Vec<String> = MIGRATIONS
            .iter()
            .map(|m| format!("{:04}_{}.sql", m.version, m.name))
            .collect();
        assert_eq!(files, known);
    }

    #[test]
    fn every_migration_says_whether_it_locks() {
        for migration in MIGRATIONS {
            assert!(migration.sql.contains("-- Locks: "), "{}", migration.name);
        }
    }
}
