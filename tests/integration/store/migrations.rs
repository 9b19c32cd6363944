//! Migrations, roles, and what is said when the database is not as it should be.

use vigie::config::Secret;
use vigie::database::{self, ConnectError, Login};
use vigie::migrate::{self, MigrateError};
use vigie::stream::store::{Store, StoreError};

use crate::support::database::{card, config, count, migrated, owner, writer};

#[tokio::test]
async fn migrating_twice_changes_nothing_and_says_so() {
    let config = config();
    let first = migrate::migrate(&config).await.unwrap();
    assert_eq!(first.applied.first().unwrap(), "1 streams");
    let second = migrate::migrate(&config).await.unwrap();
    assert_eq!(second.applied, Vec::<String>::new());
    assert_eq!(second.version, migrate::newest());
    migrate::check_current(&writer(&config).await)
        .await
        .unwrap();
}

#[tokio::test]
async fn two_at_once_apply_each_migration_once() {
    let config = config();
    let (one, two) = tokio::join!(migrate::migrate(&config), migrate::migrate(&config));
    let applied = one.unwrap().applied.len() + two.unwrap().applied.len();
    let kept = "SELECT count(*) FROM schema_migrations";
    assert_eq!(applied as i64, count(&writer(&config).await, kept).await);
}

#[tokio::test]
async fn a_schema_that_is_behind_or_ahead_is_refused_with_what_to_do() {
    let missing = config();
    let refused = Store::connect(&missing, &card().schema, "vigie test lane").await;
    let Err(StoreError::Refused(sentence)) = refused else {
        panic!("a missing schema was accepted")
    };
    assert!(sentence.contains("run `vigie migrate`"), "{sentence}");

    let config = migrated().await;
    let owner = owner(&config).await;
    owner
        .batch_execute("INSERT INTO schema_migrations VALUES (9999, 'tomorrow')")
        .await
        .unwrap();
    let client = writer(&config).await;
    let refused = migrate::check_current(&client).await.unwrap_err();
    assert!(matches!(refused, MigrateError::Ahead { .. }), "{refused}");
    assert!(migrate::migrate(&config).await.is_err());
}

#[tokio::test]
async fn the_writer_may_not_delete_nor_make_tables() {
    let config = migrated().await;
    let client = writer(&config).await;
    for statement in [
        "DELETE FROM payments_scored",
        "DELETE FROM stream_offsets",
        "DELETE FROM dead_letters",
        "DELETE FROM fraud_alerts",
        "TRUNCATE payments_scored",
        "UPDATE payments_scored SET amount = 0",
        "UPDATE fraud_alerts SET score = 0",
        "CREATE TABLE mine ()",
    ] {
        let error = client.batch_execute(statement).await.unwrap_err();
        assert_eq!(error.code().unwrap().code(), "42501", "{statement}");
    }
}

#[tokio::test]
async fn a_wrong_login_is_refused_by_the_name_of_its_setting() {
    let config = config();
    let refused = |config, login| async move {
        match database::connect(&config, login, "vigie test").await {
            Err(ConnectError::Refused(sentence)) => sentence,
            other => panic!("expected a refusal, found {:?}", other.map(|_| "a session")),
        }
    };
    let mut wrong = config.clone();
    wrong.database.password = Secret::from("wrong".to_owned());
    let sentence = refused(wrong, Login::Writer).await;
    assert!(sentence.contains("database.password"), "{sentence}");
    assert!(!sentence.contains("wrong"), "{sentence}");

    let mut none = config.clone();
    none.migrate.password = Secret::default();
    let sentence = refused(none, Login::Migrator).await;
    assert!(sentence.contains("set migrate.password"), "{sentence}");

    let mut unknown = config.clone();
    unknown.database.name = "nowhere".into();
    let sentence = refused(unknown, Login::Writer).await;
    assert!(sentence.contains("database.name"), "{sentence}");
}

#[tokio::test]
async fn a_database_that_is_away_can_be_tried_again() {
    let mut config = config();
    // Bound and closed again: nobody listens there.
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    config.database.port = listener.local_addr().unwrap().port();
    drop(listener);
    let error = match database::connect(&config, Login::Writer, "vigie test").await {
        Err(error) => error,
        Ok(_) => panic!("somebody answered"),
    };
    assert!(matches!(error, ConnectError::Away { .. }), "{error}");
    assert!(error.to_string().contains("database.port"), "{error}");
    let error = Store::connect(&config, &card().schema, "vigie test lane").await;
    assert!(matches!(error, Err(StoreError::Unavailable(_))));
}
