//! Encrypted sessions with the stack's own servers: who is trusted, who is let in, and what is
//! said where not.

use std::io::{Read, Write};
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;
use std::time::{Duration, Instant};

use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use vigie::config::{Config, DatabaseTls, KafkaConfig, KafkaSecurity, SaslMechanism, Secret};
use vigie::database::{self, ConnectError, Login};
use vigie::kafka::KafkaError;
use vigie::kafka::admin::{ensure_topic, facts, offsets};
use vigie::kafka::producer::{Acknowledged, Compression, Producer};

use crate::support::database::config;
use crate::support::event::{Event, account, recently};
use crate::support::proxy::Proxy;
use crate::support::topic::{self, Record};
use crate::support::vigie::{LONG, Place, consumed};

const WAIT: Duration = Duration::from_secs(60);

/// An address that the servers' certificate does not have.
const ELSEWHERE: &str = "127.0.0.2";

fn variable(name: &str) -> String {
    std::env::var(name).unwrap_or_else(|_| panic!("{name}: source .stack/NAME/env"))
}

fn certificates() -> PathBuf {
    variable("VIGIE_STACK_TLS").into()
}

fn text(path: &Path) -> String {
    path.display().to_string()
}

fn kafka_password() -> String {
    std::fs::read_to_string(variable("VIGIE_STACK_KAFKA_PASSWORD_FILE")).unwrap()
}

/// Over the listener that asks for user and password.
fn with_password() -> KafkaConfig {
    KafkaConfig {
        brokers: variable("VIGIE_STACK_KAFKA_TLS"),
        security: KafkaSecurity::SaslSsl,
        ca_file: certificates().join("ca.pem"),
        user: variable("VIGIE_STACK_KAFKA_USER"),
        password: Secret::from(kafka_password()),
        ..Config::load(None).unwrap().kafka
    }
}

/// Over the listener that asks for a certificate.
fn with_certificate() -> KafkaConfig {
    KafkaConfig {
        brokers: variable("VIGIE_STACK_KAFKA_MTLS"),
        security: KafkaSecurity::Ssl,
        ca_file: certificates().join("ca.pem"),
        certificate_file: certificates().join("client.pem"),
        certificate_key_file: certificates().join("client-key.pem"),
        ..Config::load(None).unwrap().kafka
    }
}

/// What the database says to a session of everybody who has one.
async fn refused(config: &Config) -> String {
    let mut said = Vec::new();
    for login in [Login::Writer, Login::Desk, Login::Migrator] {
        match database::connect(config, login, "vigie test").await {
            Err(ConnectError::Refused(sentence)) => said.push(sentence),
            other => panic!("expected a refusal, found {:?}", other.map(|_| "a session")),
        }
    }
    assert!(said.iter().all(|sentence| *sentence == said[0]), "{said:?}");
    said.remove(0)
}

fn verified() -> Config {
    let mut config = config();
    config.database.tls = DatabaseTls::Verify;
    config.database.ca_file = certificates().join("ca.pem");
    config
}

#[tokio::test]
async fn everybody_s_session_with_the_database_is_encrypted_where_it_is_wanted() {
    let encrypted = "SELECT ssl, version FROM pg_stat_ssl WHERE pid = pg_backend_pid()";
    for login in [Login::Writer, Login::Desk, Login::Migrator] {
        let client = database::connect(&verified(), login, "vigie test")
            .await
            .unwrap();
        let row = client.query_one(encrypted, &[]).await.unwrap();
        assert!(row.get::<_, bool>(0), "{login:?}");
        assert_eq!(row.get::<_, String>(1), "TLSv1.3");
        // On the loopback nobody must.
        let client = database::connect(&config(), login, "vigie test")
            .await
            .unwrap();
        let row = client.query_one(encrypted, &[]).await.unwrap();
        assert!(!row.get::<_, bool>(0), "{login:?}");
    }
}

#[tokio::test]
async fn a_database_that_cannot_show_who_it_is_is_refused_by_what_to_change() {
    let mut nobody_known = verified();
    nobody_known.database.ca_file = PathBuf::new();
    let sentence = refused(&nobody_known).await;
    assert!(
        sentence.contains("not signed by an authority") && sentence.contains("database.ca_file"),
        "{sentence}"
    );

    let mut another = verified();
    let way = Proxy::under(ELSEWHERE, &format!("127.0.0.1:{}", another.database.port));
    another.database.host = ELSEWHERE.to_owned();
    another.database.port = way.port();
    // Anywhere but on the loopback is verified without being asked for; this is the loopback.
    let sentence = refused(&another).await;
    assert!(
        sentence.contains("is for another name") && sentence.contains("database.host"),
        "{sentence}"
    );

    for (path, words) in [
        (certificates().join("nowhere.pem"), "cannot read"),
        (certificates().join("key.pem"), "holds no certificate"),
    ] {
        let mut unreadable = verified();
        unreadable.database.ca_file = path;
        let sentence = refused(&unreadable).await;
        assert!(
            sentence.starts_with("database.ca_file: ") && sentence.contains(words),
            "{sentence}"
        );
    }
}

/// Answers the question for encryption, and shows this certificate if there is one. PostgreSQL
/// itself would have to be restarted for that, under everybody else.
fn answering(certificate: Option<(&Path, &Path)>) -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    let settings = certificate.map(|(certificate, key)| {
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let chain: Vec<CertificateDer<'static>> = CertificateDer::pem_file_iter(certificate)
            .unwrap()
            .map(Result::unwrap)
            .collect();
        let settings = rustls::ServerConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_no_client_auth()
            .with_single_cert(chain, PrivateKeyDer::from_pem_file(key).unwrap())
            .unwrap();
        Arc::new(settings)
    });
    std::thread::spawn(move || {
        for socket in listener.incoming() {
            let mut socket = socket.unwrap();
            let mut question = [0; 8];
            socket.read_exact(&mut question).unwrap();
            match &settings {
                None => socket.write_all(b"N").unwrap(),
                Some(settings) => {
                    socket.write_all(b"S").unwrap();
                    let mut session = rustls::ServerConnection::new(settings.clone()).unwrap();
                    // It ends in the client's refusal.
                    let _ = session.complete_io(&mut socket);
                }
            }
        }
    });
    port
}

/// A certificate of the stack's authority that was good for a month, long ago.
fn expired(folder: &Path) -> (PathBuf, PathBuf) {
    let made = certificates();
    let file = |name: &str| text(&folder.join(name));
    std::fs::write(folder.join("index"), "").unwrap();
    let settings = format!(
        "[ca]\ndefault_ca = a\n[a]\ndatabase = {}\nnew_certs_dir = {}\nserial = {}\n\
         default_md = sha256\npolicy = p\nx509_extensions = e\n[p]\ncommonName = supplied\n\
         [e]\nsubjectAltName = IP:127.0.0.1\n",
        file("index"),
        text(folder),
        file("serial"),
    );
    std::fs::write(folder.join("settings"), settings).unwrap();
    let openssl = |arguments: &[&str]| {
        let done = Command::new("openssl").args(arguments).output().unwrap();
        assert!(done.status.success(), "{done:?}");
    };
    openssl(&[
        "req",
        "-newkey",
        "ec",
        "-pkeyopt",
        "ec_paramgen_curve:prime256v1",
        "-nodes",
        "-batch",
        "-subj",
        "/CN=old",
        "-keyout",
        &file("key.pem"),
        "-out",
        &file("request.pem"),
    ]);
    openssl(&[
        "ca",
        "-batch",
        "-config",
        &file("settings"),
        "-rand_serial",
        "-notext",
        "-startdate",
        "20200101000000Z",
        "-enddate",
        "20200201000000Z",
        "-cert",
        &text(&made.join("ca.pem")),
        "-keyfile",
        &text(&made.join("ca-key.pem")),
        "-in",
        &file("request.pem"),
        "-out",
        &file("cert.pem"),
    ]);
    (folder.join("cert.pem"), folder.join("key.pem"))
}

#[tokio::test]
async fn a_certificate_out_of_date_and_a_server_without_encryption_are_told_apart() {
    let folder = std::env::temp_dir().join(topic::unused("expired"));
    std::fs::create_dir(&folder).unwrap();
    let (certificate, key) = expired(&folder);
    let mut old = verified();
    old.database.port = answering(Some((&certificate, &key)));
    let sentence = refused(&old).await;
    std::fs::remove_dir_all(&folder).unwrap();
    assert!(sentence.contains("is out of date"), "{sentence}");

    let mut bare = verified();
    bare.database.port = answering(None);
    let sentence = refused(&bare).await;
    assert!(
        sentence.contains("has no encrypted sessions") && sentence.contains("database.tls"),
        "{sentence}"
    );
}

#[tokio::test]
async fn payments_are_scored_over_encrypted_sessions_and_no_secret_is_told() {
    let place = Place::new("encrypted", 2).await;
    let authority = text(&certificates().join("ca.pem"));
    let secured = [
        ("VIGIE_KAFKA__BROKERS", variable("VIGIE_STACK_KAFKA_TLS")),
        ("VIGIE_KAFKA__SECURITY", "sasl_ssl".into()),
        ("VIGIE_KAFKA__CA_FILE", authority.clone()),
        ("VIGIE_KAFKA__USER", variable("VIGIE_STACK_KAFKA_USER")),
        (
            "VIGIE_KAFKA__PASSWORD_FILE",
            variable("VIGIE_STACK_KAFKA_PASSWORD_FILE"),
        ),
        ("VIGIE_DATABASE__TLS", "verify".into()),
        ("VIGIE_DATABASE__CA_FILE", authority),
        ("VIGIE_LOG__FILTER", "debug".into()),
    ];
    let secured: Vec<(&str, &str)> = secured.iter().map(|(k, v)| (*k, v.as_str())).collect();
    let records: Vec<Record> = (0..20)
        .map(|n| {
            let event = Event::new(&format!("t{n}"), &account(n), recently());
            Record::payment((n % 2) as i32, &event)
        })
        .collect();
    place.send(&records).await;
    let mut vigie = place.run(&secured);
    let client = place.look().await;
    let totals = consumed(&client, 20).await;
    assert_eq!(totals.scored, 20);
    let lanes = "SELECT count(*) FROM stream_offsets AS o JOIN pg_stat_ssl AS s ON s.pid = o.owner_pid \
                 WHERE s.ssl";
    assert_eq!(
        client.query_one(lanes, &[]).await.unwrap().get::<_, i64>(0),
        2
    );

    // Whoever takes over looks for the owner's session, and ends it: over encrypted ones too.
    let mut check = place.command(&["check"]);
    check.envs(secured.iter().copied());
    let check = check.output().unwrap();
    let page = String::from_utf8(check.stdout).unwrap();
    assert!(page.contains("ok    kafka"), "{page}");
    assert!(vigie.stopped(LONG).await.success());
    let everything = vigie.said() + &page + &String::from_utf8(check.stderr).unwrap();
    let writer = std::fs::read_to_string(variable("VIGIE_DATABASE__PASSWORD_FILE")).unwrap();
    for secret in [kafka_password(), writer] {
        assert!(secret.len() >= 32 && !everything.contains(secret.trim()));
    }
}

#[tokio::test]
async fn a_wrong_login_to_kafka_ends_the_process_at_once_with_its_settings() {
    let place = Place::new("wrong-login", 1).await;
    let authority = text(&certificates().join("ca.pem"));
    let brokers = variable("VIGIE_STACK_KAFKA_TLS");
    let run = |verb: &str, more: &[(&str, &str)]| {
        let mut command = place.command(&[verb]);
        command
            .env("VIGIE_KAFKA__BROKERS", &brokers)
            .env("VIGIE_KAFKA__SECURITY", "sasl_ssl")
            .env("VIGIE_KAFKA__CA_FILE", &authority)
            .env("VIGIE_KAFKA__USER", "vigie")
            .env("VIGIE_KAFKA__PASSWORD", "hunter2-and-more")
            .envs(more.iter().copied());
        let began = Instant::now();
        let output = command.output().unwrap();
        let said = [output.stdout, output.stderr].concat();
        let said = String::from_utf8(said).unwrap();
        assert_eq!(output.status.code(), Some(2), "{said}");
        assert!(
            began.elapsed() < LONG && !said.contains("hunter2"),
            "{said}"
        );
        said
    };
    for mechanism in ["SCRAM-SHA-512", "PLAIN"] {
        for verb in ["run", "check"] {
            let said = run(verb, &[("VIGIE_KAFKA__SASL_MECHANISM", mechanism)]);
            assert!(said.contains("kafka.password_file"), "{said}");
        }
    }
    let said = run("run", &[("VIGIE_KAFKA__SASL_MECHANISM", "SCRAM-SHA-256")]);
    assert!(said.contains("kafka.sasl_mechanism"), "{said}");
    let said = run("run", &[("VIGIE_KAFKA__CA_FILE", "")]);
    assert!(said.contains("kafka.ca_file"), "{said}");
}

fn refusal(kafka: &KafkaConfig) -> String {
    match facts(kafka, "any", WAIT) {
        Err(error @ KafkaError::Refused { .. }) => error.to_string(),
        other => panic!("expected a refusal, found {other:?}"),
    }
}

#[test]
fn brokers_that_cannot_show_who_they_are_are_refused() {
    let way = Proxy::under(ELSEWHERE, &variable("VIGIE_STACK_KAFKA_TLS"));
    let mut elsewhere = with_password();
    elsewhere.brokers = format!("{ELSEWHERE}:{}", way.port());
    let problem = refusal(&elsewhere);
    assert!(
        problem.contains("kafka.ca_file") && problem.contains("name in kafka.brokers"),
        "{problem}"
    );
    let mut missing = with_password();
    missing.ca_file = certificates().join("nowhere.pem");
    let problem = refusal(&missing);
    assert!(problem.contains("kafka.ca_file: cannot read"), "{problem}");
    let mut malformed = with_password();
    malformed.ca_file = certificates().join("extensions");
    let problem = refusal(&malformed);
    assert!(problem.contains("kafka.ca_file failed"), "{problem}");
}

#[test]
fn a_client_shows_its_certificate_where_the_brokers_ask_for_one() {
    let error = facts(&with_certificate(), "any", WAIT).unwrap_err();
    assert!(matches!(error, KafkaError::NoTopic { .. }), "{error}");
    let without = KafkaConfig {
        certificate_file: PathBuf::new(),
        certificate_key_file: PathBuf::new(),
        ..with_certificate()
    };
    let problem = refusal(&without);
    assert!(problem.contains("kafka.certificate_file"), "{problem}");
}

#[test]
fn a_listener_of_another_kind_is_hinted_at_while_it_is_waited_for() {
    let plain = Config::load(None).unwrap().kafka;
    let to_encrypted = KafkaConfig {
        brokers: variable("VIGIE_STACK_KAFKA_TLS"),
        ..plain.clone()
    };
    let to_plain = KafkaConfig {
        brokers: plain.brokers,
        ..with_password()
    };
    for kafka in [to_encrypted, to_plain] {
        let error = facts(&kafka, "any", Duration::from_secs(3)).unwrap_err();
        assert!(matches!(error, KafkaError::Away { .. }), "{error}");
        assert!(
            error.to_string().contains("is kafka.security what"),
            "{error}"
        );
    }
}

#[tokio::test]
async fn a_topic_is_made_and_filled_by_either_login() {
    for (kafka, name) in [(with_password(), "scram"), (with_certificate(), "mtls")] {
        let plain = KafkaConfig {
            sasl_mechanism: SaslMechanism::Plain,
            ..kafka.clone()
        };
        let topic = topic::unused(name);
        ensure_topic(&kafka, &topic, 1, WAIT).await.unwrap();
        let producer: Producer<()> =
            Producer::new(&plain, &topic, Compression::None, WAIT).unwrap();
        producer.hand_over(b"k", b"v", Box::new(())).unwrap();
        let mut acknowledged: Vec<Acknowledged<()>> = Vec::new();
        let deadline = Instant::now() + WAIT;
        while acknowledged.is_empty() {
            assert!(Instant::now() < deadline, "{:?}", producer.trouble());
            producer.poll(Duration::from_millis(10));
            producer.acknowledged(&mut acknowledged).unwrap();
        }
        assert_eq!(offsets(&kafka, &topic, 1, WAIT).unwrap()[0].latest, 1);
    }
}
