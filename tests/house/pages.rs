//! Which settings the pages may speak of.

use std::collections::BTreeSet;

use crate::{committed_texts, root};

/// Names of settings and other variables in a text.
fn variables(text: &str) -> BTreeSet<String> {
    let is_part = |c: char| c.is_ascii_uppercase() || c.is_ascii_digit() || c == '_';
    text.split(|c: char| !is_part(c))
        .filter(|word| word.starts_with("VIGIE_") && !word.ends_with('_'))
        .map(str::to_owned)
        .collect()
}

/// `VIGIE_KAFKA__BROKERS` for every key of the reference.
fn settings() -> BTreeSet<String> {
    let reference = std::fs::read_to_string(root().join("src/config.default.toml")).unwrap();
    let reference: toml::Table = reference.parse().unwrap();
    let name = |section: &str, key: &str| format!("VIGIE_{section}__{key}").to_uppercase();
    reference
        .iter()
        .flat_map(|(section, keys)| {
            keys.as_table()
                .unwrap()
                .keys()
                .map(move |key| name(section, key))
        })
        .collect()
}

#[test]
fn every_setting_that_a_page_names_exists() {
    let settings = settings();
    assert!(settings.contains("VIGIE_KAFKA__BROKERS"));
    let files = committed_texts();
    let elsewhere: String = files
        .iter()
        .filter(|(file, _)| !file.ends_with(".md"))
        .map(|(_, text)| text.as_str())
        .collect();
    let elsewhere = variables(&elsewhere);
    for (file, text) in files.iter().filter(|(file, _)| file.ends_with(".md")) {
        for variable in variables(text) {
            let known = if variable.contains("__") {
                &settings
            } else {
                &elsewhere
            };
            assert!(
                known.contains(&variable),
                "{file} names {variable}, which does not exist"
            );
        }
    }
}

#[test]
fn variables_are_found_in_prose() {
    let found = variables("`VIGIE_LOG__FILTER=debug vigie`, VIGIE_… and VIGIE_CONFIG.");
    let expected = ["VIGIE_CONFIG", "VIGIE_LOG__FILTER"].map(str::to_owned);
    assert_eq!(found, BTreeSet::from(expected));
}
