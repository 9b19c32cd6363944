//! A migrated schema per test.

use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, SystemTime};

use tokio_postgres::Client;
use vigie::bundle::Bundle;
use vigie::config::Config;
use vigie::database::{self, Login};
use vigie::migrate;
use vigie::stream::store::{Binding, Store};

static SCHEMAS: AtomicU32 = AtomicU32::new(0);

/// The stack's settings, with a schema that nobody else has.
pub fn config() -> Config {
    let mut config = Config::load(None).expect("settings of a stack: source .stack/NAME/env");
    let now = SystemTime::now()
        .duration_since(SystemTime::UNIX_EPOCH)
        .unwrap();
    config.database.schema = format!(
        "test_{:x}_{}_{}",
        now.as_micros(),
        std::process::id(),
        SCHEMAS.fetch_add(1, Ordering::Relaxed)
    );
    config.incidents.gather = Duration::from_millis(200);
    // A test that wants the canary asks for it: the others count payments.
    config.canary.every = Duration::ZERO;
    config
}

/// The same, with the tables in it.
pub async fn migrated() -> Config {
    let config = config();
    migrate::migrate(&config).await.unwrap();
    config
}

pub fn card() -> Bundle {
    Bundle::read(std::path::Path::new("models/card")).unwrap()
}

/// A store whose stream is bound.
pub async fn store(config: &Config) -> Store {
    let mut store = Store::connect(config, &card().schema, "vigie test lane")
        .await
        .unwrap();
    store.bind(&binding()).await.unwrap();
    store
}

pub fn binding() -> Binding {
    Binding {
        topic_id: "Pi-l4mkQTWeN4hY8p2bZ8g".into(),
        cluster_id: "q1Sh-9_ISia_zwGINzRvyQ".into(),
        partitions: 8,
        token_fingerprint: "5f2c".into(),
    }
}

/// A session of the writer, for looking.
pub async fn writer(config: &Config) -> Client {
    database::connect(config, Login::Writer, "vigie test")
        .await
        .unwrap()
}

/// A session of the schema's owner.
pub async fn owner(config: &Config) -> Client {
    database::connect(config, Login::Migrator, "vigie test")
        .await
        .unwrap()
}

/// One number of the database.
pub async fn count(client: &Client, query: &str) -> i64 {
    client.query_one(query, &[]).await.unwrap().get(0)
}
