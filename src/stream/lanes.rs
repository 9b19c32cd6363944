//! Starting the lanes of this process and waiting for their end.

use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};

use super::publisher::Publisher;
use super::source::Source;
use super::store::{Binding, Store, StoreError, Versions};
use super::watch::Watch;
use super::{Lane, LaneError, Setup, Stop, single_threaded};
use crate::bundle::Bundle;
use crate::config::{Config, ConfigError};
use crate::engine::batch::{Micros, Records, Token};
use crate::engine::decode::{Decoder, Rules};
use crate::engine::features::Plan;
use crate::engine::origin::OriginRule;
use crate::engine::policy::Policy;
use crate::engine::score::{OnnxModel, Runtime};
use crate::engine::token::TokenKey;
use crate::engine::{Engine, Preparation, golden};
use crate::health::{Health, Part};
use crate::kafka::admin::{TopicFacts, facts};
use crate::kafka::{KafkaError, consumer::Consumer};
use crate::metrics;

/// How long one question to Kafka may take while starting.
const ASK_KAFKA: Duration = Duration::from_secs(5);

/// Pause between two questions while something is away at the start.
const START_PAUSE: Duration = Duration::from_secs(2);

/// How often what waits while starting looks whether it should stop.
const LOOK_UP: Duration = Duration::from_millis(50);

/// A lane that has not come round for this long is stuck: longer than a commit may take.
const LANE_PATIENCE: Duration = Duration::from_secs(120);

/// Runs the lanes until `stop` is requested or one of them fails; blocks.
///
/// # Errors
/// When anything a person must mend stands in the way.
pub fn run(config: &Config, health: &Arc<Health>, stop: &Stop) -> Result<()> {
    let starting = health.join("start", LANE_PATIENCE, "starting");
    let mut setup = setup(config)?;
    let runtime = Runtime::load(&config.model.onnxruntime)?;
    let mut first_model = OnnxModel::load(&runtime, &setup.bundle)?;
    let rows = golden::check(&setup.bundle, &mut first_model)?;
    let policy = Policy::of_bundle(&setup.bundle.version, setup.bundle.policy);
    metrics::model(&setup.bundle.name, &setup.bundle.version);
    metrics::policy(&policy.version);
    tracing::info!(
        bundle = setup.bundle.name,
        version = setup.bundle.version,
        golden_rows = rows,
        "the bundle does what it promises"
    );
    let input = (config.stream.topic.as_str(), "stream.topic");
    let Some(topic) = wait_for_topic(config, input, &starting, stop)? else {
        return Ok(());
    };
    let output = (config.output.topic.as_str(), "output.topic");
    if !output.0.is_empty() && wait_for_topic(config, output, &starting, stop)?.is_none() {
        return Ok(());
    }
    setup.partitions = topic.partitions;
    bind(&setup, topic, &starting, stop)?;
    let mut models = vec![first_model];
    for _ in 1..config.stream.lanes {
        models.push(OnnxModel::load(&runtime, &setup.bundle)?);
    }
    starting.ended();
    start(&Arc::new(setup), models, &policy, health, stop)
}

fn start(
    setup: &Arc<Setup>,
    models: Vec<OnnxModel>,
    policy: &Policy,
    health: &Arc<Health>,
    stop: &Stop,
) -> Result<()> {
    let mut threads = Vec::new();
    for (number, model) in models.into_iter().enumerate() {
        let part = health.join(&format!("lane {number}"), LANE_PATIENCE, "starting");
        let watch = Watch::new(number, part);
        let (setup, policy, stop) = (Arc::clone(setup), policy.clone(), stop.clone());
        let thread = std::thread::Builder::new()
            .name(format!("lane {number}"))
            .spawn(move || {
                let ended = run_lane(number, setup, model, policy, watch, &stop);
                // Whatever ended this lane ends the process: its partitions are in no hands.
                stop.request();
                ended
            })
            .context("cannot start a lane")?;
        threads.push(thread);
    }
    let mut first_error = Ok(());
    for (number, thread) in threads.into_iter().enumerate() {
        let ended = match thread.join() {
            Ok(ended) => ended.with_context(|| format!("lane {number} stopped")),
            Err(_) => bail!("lane {number} ended in a bug; its batch was not stored"),
        };
        first_error = first_error.and(ended);
    }
    first_error
}

fn setup(config: &Config) -> Result<Setup> {
    let bundle = Bundle::read(&config.stream.bundle)?;
    let key = TokenKey::new(config.tokens.key.reveal())
        .context("tokens.key or tokens.key_file: no usable key")?;
    let plan = Plan::new(&bundle, config.events.lateness.as_micros() as Micros);
    let kept = i64::from(config.storage.retention_days) * 86_400_000_000;
    let needed = bundle.longest_window() + config.events.lateness.as_micros() as Micros;
    if kept <= needed {
        let problem = format!(
            "{} days are kept, but windows and events.lateness look back {} days: histories could \
             not be rebuilt",
            config.storage.retention_days,
            (needed + 86_399_999_999) / 86_400_000_000
        );
        return Err(ConfigError::Wrong {
            setting: "storage.retention_days",
            problem,
        }
        .into());
    }
    Ok(Setup {
        config: config.clone(),
        bundle,
        plan,
        key,
        partitions: 0,
    })
}

/// Asks Kafka for the topic of this setting until it is there; `None` when the process stops first.
fn wait_for_topic(
    config: &Config,
    (topic, setting): (&str, &str),
    part: &Part,
    stop: &Stop,
) -> Result<Option<TopicFacts>> {
    while !stop.is_requested() {
        part.tick();
        match facts(&config.kafka, topic, ASK_KAFKA) {
            Ok(topic) => return Ok(Some(topic)),
            Err(problem @ (KafkaError::Away { .. } | KafkaError::NoTopic { .. })) => {
                tracing::warn!(%problem, "waiting for Kafka (kafka.brokers, {setting})");
                pause(START_PAUSE, stop);
            }
            Err(error) => return Err(error).context("kafka.brokers"),
        }
    }
    Ok(None)
}

/// Binds the stream's number to its topic in the database, once that answers.
fn bind(setup: &Setup, topic: TopicFacts, part: &Part, stop: &Stop) -> Result<()> {
    let binding = Binding {
        topic_id: topic.topic_id.unwrap_or_default(),
        cluster_id: topic.cluster_id,
        partitions: topic.partitions,
        token_fingerprint: hexadecimal(&setup.key.fingerprint()),
    };
    let runtime = single_threaded()?;
    while !stop.is_requested() {
        part.tick();
        let work = async {
            let name = "vigie start";
            let mut store = Store::connect(&setup.config, &setup.bundle.schema, name).await?;
            store.bind(&binding).await
        };
        match runtime.block_on(unless_stopped(stop, work)) {
            Some(Ok(())) => return Ok(()),
            Some(Err(StoreError::Unavailable(problem))) => {
                tracing::warn!(%problem, "waiting for PostgreSQL (database.host, database.port)");
                pause(START_PAUSE, stop);
            }
            Some(Err(error)) => return Err(error.into()),
            None => {}
        }
    }
    Ok(())
}

fn run_lane(
    number: usize,
    setup: Arc<Setup>,
    model: OnnxModel,
    policy: Policy,
    watch: Watch,
    stop: &Stop,
) -> Result<(), LaneError> {
    let runtime = single_threaded()?;
    runtime.block_on(async {
        let Some(store) = connect(&setup, number, stop).await? else {
            return Ok(());
        };
        let config = &setup.config;
        let consumer = Consumer::join(
            &config.kafka,
            &config.stream.topic,
            &config.stream.group,
            config.stream.lanes,
        )?;
        let versions = Versions {
            model: setup.bundle.model_version(),
            policy: policy.version.clone(),
        };
        let mut lane = Lane {
            number,
            source: Source::new(consumer, &setup, stop.clone()),
            engine: engine(&setup, model, &policy)?,
            store,
            publisher: Publisher::new(&setup, &versions),
            versions,
            batch: Records::default(),
            warm_ups: Vec::new(),
            watch,
            stop: stop.clone(),
            take_from: Instant::now(),
            held_from: Instant::now(),
            published: Instant::now(),
            settled: Instant::now(),
            setup,
        };
        let ended = lane.run().await;
        lane.source.leave();
        ended
    })
}

async fn connect(setup: &Setup, number: usize, stop: &Stop) -> Result<Option<Store>, LaneError> {
    let name = format!("vigie lane {number}");
    while !stop.is_requested() {
        let work = Store::connect(&setup.config, &setup.bundle.schema, &name);
        match unless_stopped(stop, work).await {
            Some(Ok(store)) => return Ok(Some(store)),
            Some(Err(StoreError::Unavailable(problem))) => {
                tracing::warn!(lane = number, %problem, "waiting for PostgreSQL");
                unless_stopped(stop, tokio::time::sleep(START_PAUSE)).await;
            }
            Some(Err(error)) => return Err(error.into()),
            None => {}
        }
    }
    Ok(None)
}

fn engine(setup: &Setup, model: OnnxModel, policy: &Policy) -> Result<Engine, LaneError> {
    let config = &setup.config;
    let rules = Rules::new(&config.events, config.stream.key_check)
        .map_err(|error| LaneError::Refused(error.to_string()))?;
    let decoder = Decoder::new(setup.bundle.schema.clone(), setup.key.clone(), rules);
    let preparation = Preparation::new(decoder, setup.plan.clone());
    let origin = OriginRule {
        canary: canary(setup),
    };
    Ok(Engine::new(preparation, model, policy.clone(), origin))
}

/// The account of the canary. It is so also when none is sent: some may still be in the topic.
fn canary(setup: &Setup) -> Option<Token> {
    let (name, schema) = (&setup.config.canary.account, &setup.bundle.schema);
    let account = schema.field(schema.roles.account);
    (!name.is_empty()).then(|| setup.key.of_field(account, name))
}

/// Does `work` unless the process is to stop first: a database that says nothing is waited for
/// longer than a stop may take.
async fn unless_stopped<T>(stop: &Stop, work: impl Future<Output = T>) -> Option<T> {
    let mut work = std::pin::pin!(work);
    loop {
        if let Ok(done) = tokio::time::timeout(LOOK_UP, &mut work).await {
            return Some(done);
        }
        if stop.is_requested() {
            return None;
        }
    }
}

fn pause(time: Duration, stop: &Stop) {
    let until = Instant::now() + time;
    while Instant::now() < until && !stop.is_requested() {
        std::thread::sleep(LOOK_UP);
    }
}

fn hexadecimal(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}
