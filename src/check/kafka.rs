//! What `vigie check` asks the brokers.

use std::time::Duration;

use super::Report;
use crate::config::Config;
use crate::kafka::KafkaError;
use crate::kafka::admin::{self, TopicFacts};

/// How long the brokers are waited for.
const TIMEOUT: Duration = Duration::from_secs(5);

/// What a stream was bound to when it was first read.
pub(super) struct Bound {
    pub(super) topic: String,
    pub(super) topic_id: String,
    pub(super) cluster_id: String,
    pub(super) partitions: i32,
}

/// Looks at the topic, and compares it with what the stream is `bound` to.
pub(super) async fn look(report: &mut Report, config: &Config, bound: Option<Bound>) {
    let (kafka, topic) = (config.kafka.clone(), config.stream.topic.clone());
    let asked = tokio::task::spawn_blocking(move || admin::facts(&kafka, &topic, TIMEOUT)).await;
    let facts = match asked {
        Ok(Ok(facts)) => facts,
        Ok(Err(problem @ KafkaError::NoTopic { .. })) => {
            report.wrong(
                "kafka",
                problem.to_string(),
                "create it, or correct stream.topic",
            );
            return;
        }
        Ok(Err(problem @ KafkaError::Refused { .. })) => {
            report.wrong("kafka", problem.to_string(), "change that setting");
            return;
        }
        Ok(Err(problem)) => {
            report.fail(
                "kafka",
                problem.to_string(),
                "check kafka.brokers, start Kafka",
            );
            return;
        }
        Err(problem) => {
            report.fail("kafka", problem.to_string(), "try again");
            return;
        }
    };
    let partitions = facts.partitions;
    report.ok(
        "kafka",
        format!("topic {} with {partitions} partitions", config.stream.topic),
    );
    if let Some(bound) = bound {
        let differences = differences(config, &facts, &bound);
        if differences.is_empty() {
            report.ok(
                "binding",
                format!("stream {} is bound to this topic", config.stream.id),
            );
        } else {
            let action = "correct the settings, or give the new topic a stream.id of its own";
            report.wrong("binding", differences.join("; "), action);
        }
    }
}

/// Where decisions go.
pub(super) async fn output(report: &mut Report, config: &Config) {
    if config.output.topic.is_empty() {
        return;
    }
    let (kafka, topic) = (config.kafka.clone(), config.output.topic.clone());
    let asked = tokio::task::spawn_blocking(move || admin::facts(&kafka, &topic, TIMEOUT)).await;
    match asked {
        Ok(Ok(facts)) => report.ok(
            "output",
            format!(
                "topic {} with {} partitions",
                config.output.topic, facts.partitions
            ),
        ),
        Ok(Err(problem @ KafkaError::NoTopic { .. })) => report.wrong(
            "output",
            problem.to_string(),
            "create it, or correct output.topic",
        ),
        Ok(Err(problem)) => report.fail("output", problem.to_string(), "try again"),
        Err(problem) => report.fail("output", problem.to_string(), "try again"),
    }
}

fn differences(config: &Config, facts: &TopicFacts, bound: &Bound) -> Vec<String> {
    let pairs = [
        ("topic", &bound.topic, Some(&config.stream.topic)),
        ("cluster", &bound.cluster_id, Some(&facts.cluster_id)),
        ("topic id", &bound.topic_id, facts.topic_id.as_ref()),
    ];
    let mut differences: Vec<String> = pairs
        .into_iter()
        .filter_map(|(what, bound, found)| match found {
            Some(found) if found != bound => Some(format!("{what} is {found}, was {bound}")),
            _ => None,
        })
        .collect();
    if facts.partitions != bound.partitions {
        differences.push(format!(
            "{} partitions, were {}",
            facts.partitions, bound.partitions
        ));
    }
    differences
}
