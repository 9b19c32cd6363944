//! Who may do what. The catalogue is asked which tables there are, so that a new one is covered.

use tokio_postgres::Client;
use vigie::config::{Config, Secret};
use vigie::database::{self, Day, Login};

use crate::support::database::{count, migrated, owner, writer};

/// Everything the desk may do beside reading: a new line here is a new thing people may change.
const DESK_WRITES: [&str; 28] = [
    "attachments: INSERT (content)",
    "attachments: INSERT (content_type)",
    "attachments: INSERT (name)",
    "attachments: INSERT (notice_id)",
    "attachments: INSERT (number)",
    "audit_log: INSERT (action)",
    "audit_log: INSERT (actor)",
    "audit_log: INSERT (subject)",
    "audit_log: INSERT (why)",
    "notices: INSERT (kind)",
    "outbox: INSERT (body_html)",
    "outbox: INSERT (body_text)",
    "outbox: INSERT (channel)",
    "outbox: INSERT (message_id)",
    "outbox: INSERT (notice_id)",
    "outbox: INSERT (payload)",
    "outbox: INSERT (sent_at)",
    "outbox: INSERT (subject)",
    "outbox: INSERT (suppressed_at)",
    "snoozes: INSERT (by)",
    "snoozes: INSERT (key)",
    "snoozes: INSERT (until)",
    "snoozes: INSERT (what)",
    "snoozes: INSERT (why)",
    "snoozes: UPDATE (ended_at)",
    "stream_offsets: UPDATE (held)",
    "stream_offsets: UPDATE (held_at)",
    "stream_offsets: UPDATE (recent_dead)",
];

const REFUSED: &str = "42501";

async fn desk(config: &Config) -> Client {
    database::connect(config, Login::Desk, "vigie test")
        .await
        .unwrap()
}

/// Logged in as the role that dashboards use, which Vigie itself never does.
async fn reader(config: &Config) -> Client {
    let secrets = std::env::var("VIGIE_STACK_SECRETS").expect("a stack: source .stack/NAME/env");
    let password = std::fs::read_to_string(format!("{secrets}/reader_password")).unwrap();
    let mut config = config.clone();
    config.desk.user = "vigie_reader".into();
    config.desk.password = Secret::from(password);
    desk(&config).await
}

/// A schema in which a day is made, so that the partitions are looked at as well.
async fn place() -> Config {
    let config = migrated().await;
    let client = writer(&config).await;
    client
        .query_one("SELECT ensure_days($1)", &[&vec![Day(20_513)]])
        .await
        .unwrap();
    config
}

/// Names of the schema's relations of these kinds (`pg_class.relkind`).
async fn relations(config: &Config, kinds: &str) -> Vec<String> {
    let rows = owner(config)
        .await
        .query(
            "SELECT relname::text FROM pg_class
             WHERE relnamespace = current_schema::regnamespace AND strpos($1, relkind::text) > 0
             ORDER BY relname",
            &[&kinds],
        )
        .await
        .unwrap();
    rows.iter().map(|row| row.get(0)).collect()
}

/// What the role, or everybody, was granted beside reading.
async fn writes_of(config: &Config, role: &str) -> Vec<String> {
    let rows = owner(config)
        .await
        .query(
            "SELECT relation || ': ' || privilege_type || coalesce(' (' || attribute || ')', '')
             FROM (SELECT relname, NULL, (aclexplode(relacl)).* FROM pg_class
                   WHERE relnamespace = current_schema::regnamespace
                   UNION ALL
                   SELECT relname, attname, (aclexplode(attacl)).* FROM pg_attribute
                   JOIN pg_class ON attrelid = pg_class.oid
                   WHERE relnamespace = current_schema::regnamespace) AS granted (relation, attribute)
             WHERE grantee IN (0, $1::text::regrole) AND privilege_type <> 'SELECT'
             ORDER BY 1",
            &[&role],
        )
        .await
        .unwrap();
    rows.iter().map(|row| row.get(0)).collect()
}

async fn refused(client: &Client, statement: &str) {
    let error = match client.batch_execute(statement).await {
        Err(error) => error,
        Ok(()) => panic!("allowed: {statement}"),
    };
    assert_eq!(error.code().unwrap().code(), REFUSED, "{statement}");
}

#[tokio::test]
async fn the_desk_writes_what_a_person_decides_and_nothing_else() {
    let config = place().await;
    assert_eq!(writes_of(&config, "vigie_desk").await, DESK_WRITES);
    let client = desk(&config).await;
    for table in relations(&config, "rp").await {
        refused(&client, &format!("DELETE FROM {table}")).await;
        refused(&client, &format!("TRUNCATE {table}")).await;
    }
    for statement in [
        "INSERT INTO payments_scored DEFAULT VALUES",
        "UPDATE payments_scored SET decision = 0",
        "UPDATE payments_scored_20260301 SET decision = 0",
        "INSERT INTO labels DEFAULT VALUES",
        "INSERT INTO dead_letters DEFAULT VALUES",
        "UPDATE fraud_alerts SET score = 0",
        "UPDATE stream_offsets SET next_offset = 0",
        "UPDATE audit_log SET why = 'another'",
        "INSERT INTO demo_mark DEFAULT VALUES",
        "CREATE TABLE mine ()",
        "CREATE TEMPORARY TABLE mine ()",
    ] {
        refused(&client, statement).await;
    }
}

#[tokio::test]
async fn the_desk_reads_every_table_and_no_secret() {
    let config = place().await;
    let client = desk(&config).await;
    // Days and months are read through the table that they are parts of.
    let is_part =
        |name: &String| name.starts_with("payments_scored_2") || name.starts_with("labels_2");
    let mut tables = relations(&config, "rp").await;
    tables.retain(|name| !is_part(name));
    assert!(tables.contains(&"payments_scored".to_owned()), "{tables:?}");
    for table in tables {
        count(&client, &format!("SELECT count(*) FROM {table}")).await;
    }
    for statement in [
        "SELECT rolpassword FROM pg_authid",
        "SELECT pg_read_file('postgresql.conf')",
        "COPY streams TO PROGRAM 'cat'",
        "SET ROLE vigie_writer",
        "SET ROLE vigie_migrator",
    ] {
        refused(&client, statement).await;
    }
}

#[tokio::test]
async fn the_reader_sees_every_view_and_no_table() {
    let config = place().await;
    assert_eq!(
        writes_of(&config, "vigie_reader").await,
        Vec::<String>::new()
    );
    let client = reader(&config).await;
    let views = relations(&config, "vm").await;
    assert!(views.contains(&"payments".to_owned()), "{views:?}");
    for view in views {
        let look = format!("SELECT * FROM {view} LIMIT 1");
        if let Err(error) = client.query(&look, &[]).await {
            panic!("{view}: {}", database::sentence(&error));
        }
    }
    let tables = relations(&config, "rp").await;
    assert!(
        tables.contains(&"payments_scored_20260301".to_owned()),
        "{tables:?}"
    );
    for table in tables {
        refused(&client, &format!("SELECT FROM {table}")).await;
        refused(&client, &format!("DELETE FROM {table}")).await;
    }
}

#[tokio::test]
async fn the_writer_deletes_from_no_table_and_marks_no_demo() {
    let config = place().await;
    let client = writer(&config).await;
    for table in relations(&config, "rp").await {
        refused(&client, &format!("DELETE FROM {table}")).await;
        refused(&client, &format!("TRUNCATE {table}")).await;
        refused(&client, &format!("DROP TABLE {table}")).await;
    }
    refused(&client, "INSERT INTO demo_mark DEFAULT VALUES").await;
    refused(&client, "UPDATE demo_mark SET marked_at = now()").await;
    refused(&client, "UPDATE audit_log SET why = 'another'").await;
}
