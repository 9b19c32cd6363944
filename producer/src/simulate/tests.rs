use std::collections::{BTreeSet, HashMap};

use serde_json::Value;
use vigie::bundle::{Bundle, Kind as FieldKind};
use vigie::config::KeyCheck;
use vigie::engine::batch::Records;
use vigie::engine::decode::{Decoder, Rules, decode};
use vigie::engine::token::TokenKey;

use super::habits::CATEGORIES;
use super::scenarios::Kind;
use super::*;

const DAY: Micros = 86_400_000_000;
/// 2026-04-01.
const START: Micros = 1_775_001_600_000_000;

fn setting() -> Setting {
    Setting {
        seed: 42,
        accounts: 400,
        start: START,
        history: 40 * DAY,
        rate: 0.01,
        fraud_share: 0.02,
        cities: Layout::Card.cities(),
    }
}

struct Sample {
    payment: Payment,
    key: String,
    payload: String,
    home: (f64, f64),
}

fn samples(setting: Setting, layout: Layout, limit: u64) -> Vec<Sample> {
    let mut traffic = Traffic::new(setting.clone());
    let mut samples = Vec::new();
    simulate(&mut traffic, layout, limit, |payment, key, payload| {
        samples.push(Sample {
            payment: payment.clone(),
            key: key.to_owned(),
            payload: String::from_utf8(payload.to_vec()).unwrap(),
            home: (0.0, 0.0),
        });
        Ok(true)
    })
    .unwrap();
    for sample in &mut samples {
        let customer = traffic.customer(&sample.payment);
        sample.home = (customer.lat, customer.long);
    }
    samples
}

/// FNV-1a over all payloads.
fn hash(samples: &[Sample]) -> u64 {
    let bytes = samples.iter().flat_map(|sample| sample.payload.bytes());
    bytes.fold(0xcbf2_9ce4_8422_2325, |hash, byte| {
        (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3)
    })
}

#[test]
fn the_same_arguments_give_the_same_bytes_on_every_machine() {
    let card = samples(setting(), Layout::Card, 2_000);
    let simple = Setting {
        cities: Layout::Simple.cities(),
        ..setting()
    };
    let simple = samples(simple, Layout::Simple, 2_000);
    assert_eq!((hash(&card), hash(&simple)), (CARD, SIMPLE));
    let other = Setting {
        seed: 43,
        ..setting()
    };
    assert_ne!(hash(&samples(other, Layout::Card, 2_000)), CARD);
}

const CARD: u64 = 11_015_105_186_567_291_021;
const SIMPLE: u64 = 2_518_639_223_991_662_107;

#[test]
fn card_events_have_exactly_the_fields_of_the_bundle_and_are_read_without_a_fault() {
    let schema = Bundle::read(Path::new("../models/card")).unwrap().schema;
    let declared: BTreeSet<&str> = schema.fields.iter().map(|f| f.key.as_str()).collect();
    assert!(
        schema
            .fields
            .iter()
            .any(|f| matches!(f.kind, FieldKind::Label))
    );
    let mut records = Records::default();
    let samples = samples(setting(), Layout::Card, 500);
    for (row, sample) in samples.iter().enumerate() {
        let event: HashMap<&str, Value> = serde_json::from_str(&sample.payload).unwrap();
        assert_eq!(event.keys().copied().collect::<BTreeSet<_>>(), declared);
        let (key, payload) = (sample.key.as_bytes(), sample.payload.as_bytes());
        records.push((0, row as i64), START + DAY, Some(key), Some(payload));
    }
    let config = vigie::config::Config::load(None).unwrap();
    let rules = Rules::new(&config.events, KeyCheck::Account).unwrap();
    let tokens = TokenKey::new("a key that only this test knows of").unwrap();
    let (events, dead) = decode(&Decoder::new(schema, tokens, rules), &records);
    assert_eq!(
        (events.len(), dead.len()),
        (samples.len(), 0),
        "{:?}",
        dead.first()
    );
}

#[test]
fn simple_events_have_their_nine_fields() {
    let simple = Setting {
        cities: Layout::Simple.cities(),
        ..setting()
    };
    let samples = samples(simple, Layout::Simple, 500);
    let mut ids = BTreeSet::new();
    for sample in &samples {
        let event: HashMap<String, Value> = serde_json::from_str(&sample.payload).unwrap();
        assert_eq!(event.len(), 9);
        let text = |name: &str| event[name].as_str().unwrap();
        let time: jiff::Timestamp = text("timestamp").parse().unwrap();
        assert_eq!(time.as_millisecond(), sample.payment.time.div_euclid(1_000));
        assert_eq!(text("customer_id"), sample.key);
        assert!(event["amount"].as_f64().unwrap() > 0.0 && text("currency") == "EUR");
        assert!(text("country").len() == 2 && !text("merchant").is_empty());
        assert!(
            CATEGORIES
                .iter()
                .any(|category| category.name == text("category"))
        );
        assert_eq!(event["is_fraud"] == 1, sample.payment.kind.is_fraud());
        assert!(ids.insert(text("transaction_id").to_owned()));
    }
}

#[test]
fn payments_come_in_the_order_of_their_times_and_the_present_is_even() {
    let rate = Setting {
        rate: 20.0,
        ..setting()
    };
    let samples = samples(rate, Layout::Card, 1_000);
    let times: Vec<Micros> = samples.iter().map(|sample| sample.payment.time).collect();
    assert!(times.is_sorted());
    assert!(times[0] >= START - 40 * DAY && times[0] < START - 39 * DAY);
    let live: Vec<Micros> = times
        .iter()
        .copied()
        .filter(|time| *time >= START)
        .collect();
    let expected: Vec<Micros> = (0..1_000).map(|n| START + n * 50_000).collect();
    assert_eq!(live, expected);
    assert!(
        samples
            .iter()
            .any(|s| s.payment.time >= START && s.payment.kind.is_fraud())
    );
}

#[test]
fn every_scenario_happens_and_spares_the_past_s_last_day() {
    let many = Setting {
        accounts: 1_200,
        ..setting()
    };
    let samples = samples(many, Layout::Card, 0);
    let (mut of_kind, mut last) = (HashMap::new(), 0);
    for Sample { payment, .. } in &samples {
        *of_kind.entry(payment.kind).or_insert(0) += 1;
        if payment.kind.is_fraud() {
            last = last.max(payment.time);
        }
    }
    assert_eq!(of_kind.len(), 7, "every scenario: {of_kind:?}");
    assert!(last < START - DAY, "{last}");
}

/// Of a month of past, and of some weeks of these customers' lives after it.
#[test]
fn frauds_have_the_share_that_was_asked_for_whatever_the_seed() {
    for seed in [61, 62, 63] {
        let asked = Setting {
            seed,
            accounts: 3_000,
            history: 30 * DAY,
            rate: 10.0,
            fraud_share: 0.01,
            ..setting()
        };
        let mut traffic = Traffic::new(asked);
        let past: Vec<Payment> = std::iter::from_fn(|| traffic.next_past()).collect();
        let live: Vec<Payment> = (0..150_000).map(|_| traffic.next_live()).collect();
        for payments in [past, live] {
            let frauds = payments.iter().filter(|payment| payment.kind.is_fraud());
            let share = frauds.count() as f64 / payments.len() as f64;
            assert!((0.009..0.011).contains(&share), "seed {seed}: {share}");
        }
    }
}

#[test]
fn people_sleep_and_pay_near_home_and_thieves_do_not() {
    let many = Setting {
        accounts: 800,
        ..setting()
    };
    let samples = samples(many, Layout::Card, 0);
    let share_of = |kind: fn(Kind) -> bool, holds: &dyn Fn(&Sample) -> bool| {
        let chosen = samples.iter().filter(|sample| kind(sample.payment.kind));
        let (count, held) = chosen.fold((0, 0), |(count, held), sample| {
            (count + 1, held + u32::from(holds(sample)))
        });
        f64::from(held) / f64::from(count)
    };
    let night = |sample: &Sample| sample.payment.time.rem_euclid(DAY) / (DAY / 24) < 5;
    let far = |sample: &Sample| {
        let (lat, long) = sample.home;
        (sample.payment.lat - lat).abs() + (sample.payment.long - long).abs() > 5.0
    };
    let dear = |sample: &Sample| sample.payment.cents > 25_000;
    assert!(share_of(|kind| kind == Kind::Everyday, &night) < 0.1);
    assert!(share_of(|kind| kind == Kind::StolenCard, &night) > 0.3);
    assert!(share_of(|kind| kind == Kind::Everyday, &far) < 0.03);
    assert!(share_of(|kind| kind == Kind::DistantPurchase, &far) > 0.99);
    assert!(share_of(|kind| kind == Kind::Everyday, &dear) < 0.01);
    assert!(share_of(|kind| kind == Kind::AccountTakeover, &dear) > 0.8);
    let tiny = |sample: &Sample| sample.payment.cents <= 300;
    assert!(share_of(|kind| kind == Kind::CardTesting, &tiny) > 0.9);
    let round = |sample: &Sample| sample.payment.cents % 1_000 == 0;
    assert!(share_of(|kind| kind == Kind::Mule, &round) > 0.99);
}

#[test]
fn a_distant_purchase_follows_one_at_home() {
    let samples = samples(setting(), Layout::Card, 0);
    let mut last_at: HashMap<u32, &Payment> = HashMap::new();
    let mut seen = 0;
    for Sample { payment, .. } in &samples {
        let before = last_at.insert(payment.account, payment);
        if payment.kind == Kind::DistantPurchase {
            let gap = payment.time - before.unwrap().time;
            assert!(gap <= 81 * 60_000_000, "{gap}");
            seen += 1;
        }
    }
    assert!(seen > 3);
}
