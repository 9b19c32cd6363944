//! Alert rules, dashboards and runbooks speak of metrics that exist.

use std::collections::BTreeSet;

use crate::committed_texts;

/// `vigie_batch_rows` and its likes in a text; what only begins so is none.
fn named(text: &str) -> BTreeSet<String> {
    let is_part = |c: char| c.is_ascii_alphanumeric() || c == '_';
    text.split(|c: char| !is_part(c))
        .filter(|word| word.starts_with("vigie_") && !word.ends_with('_'))
        .map(str::to_owned)
        .collect()
}

/// What the source records: whole names, and those that the lanes' page puts the prefix before.
fn recorded(files: &[(String, String)]) -> BTreeSet<String> {
    let source: String = files
        .iter()
        .filter(|(file, _)| file.starts_with("src/metrics"))
        .map(|(_, text)| text.as_str())
        .collect();
    let stated = source.split("gauge(page, \"").skip(1);
    let prefixed = stated.filter_map(|rest| Some(format!("vigie_{}", rest.split_once('"')?.0)));
    named(&source).into_iter().chain(prefixed).collect()
}

/// The metric that a series of a histogram belongs to, or the name itself.
fn metric(series: &str) -> &str {
    ["_bucket", "_count", "_sum"]
        .iter()
        .find_map(|suffix| series.strip_suffix(suffix))
        .unwrap_or(series)
}

#[test]
fn every_metric_of_rules_dashboards_and_runbooks_is_recorded() {
    let files = committed_texts();
    let recorded = recorded(&files);
    assert!(recorded.contains("vigie_stage_seconds") && recorded.contains("vigie_consumer_lag"));
    let speaks = |file: &str| {
        file.starts_with("prometheus/")
            || file.starts_with("docs/runbooks/")
            || file.starts_with("grafana/dashboards/")
    };
    // Database users and the Python module, not metrics.
    let others = ["vigie_reader", "vigie_dashboards"];
    for (file, text) in files.iter().filter(|(file, _)| speaks(file)) {
        for series in named(text) {
            assert!(
                others.contains(&series.as_str())
                    || recorded.contains(&series)
                    || recorded.contains(metric(&series)),
                "{file} names {series}, which src/metrics.rs does not record"
            );
        }
    }
}
