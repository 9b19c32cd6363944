//! Fraud, as it is known from the files of banks; each payment of it is labelled.

use std::fmt;

use super::habits::CATEGORIES;
use super::random::Dice;

/// What a payment is part of.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Kind {
    /// The customer's own life.
    Everyday,
    /// A list of stolen numbers is tried out: many tiny amounts, fast.
    CardTesting,
    /// A card in other hands: high amounts at new merchants until it is blocked.
    StolenCard,
    /// Somebody else orders: another category, another place, higher amounts.
    AccountTakeover,
    /// A copy of the card is used far away, shortly after a payment at home.
    DistantPurchase,
    /// Money passes through: round amounts in and out.
    Mule,
    /// A merchant lost its customers' cards: many of them are hit in the days after.
    LeakingMerchant,
}

/// All kinds, in the order of the summary.
pub const KINDS: [Kind; 7] = [
    Kind::Everyday,
    Kind::CardTesting,
    Kind::StolenCard,
    Kind::AccountTakeover,
    Kind::DistantPurchase,
    Kind::Mule,
    Kind::LeakingMerchant,
];

impl Kind {
    /// Whether such payments are labelled as fraud.
    pub fn is_fraud(self) -> bool {
        self != Self::Everyday
    }

    /// Its share among fraudulent payments, and payments of one occurrence in the mean.
    pub fn mix(self) -> (f64, f64) {
        match self {
            Self::Everyday => (0.0, 1.0),
            Self::CardTesting => (0.12, 19.5),
            Self::StolenCard => (0.33, 8.0),
            Self::AccountTakeover => (0.19, 5.5),
            Self::DistantPurchase => (0.07, 2.0),
            Self::Mule => (0.09, 14.0),
            Self::LeakingMerchant => (0.20, 84.0),
        }
    }
}

impl fmt::Display for Kind {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.pad(match self {
            Self::Everyday => "everyday",
            Self::CardTesting => "card testing",
            Self::StolenCard => "stolen card",
            Self::AccountTakeover => "account takeover",
            Self::DistantPurchase => "distant purchase",
            Self::Mule => "mule",
            Self::LeakingMerchant => "leaking merchant",
        })
    }
}

/// A payment of a scenario, before it is somebody's.
#[derive(Debug, Clone, PartialEq)]
pub struct Step {
    /// Seconds after the scenario's beginning.
    pub after: f64,
    /// Whether it is the customer's own.
    pub everyday: bool,
    /// What is bought.
    pub purchase: Purchase,
}

/// What is bought, for how much, and where.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Purchase {
    /// Index of the category.
    pub category: usize,
    /// In minor units; none is the customer's usual.
    pub cents: Option<i64>,
    /// Where.
    pub place: Place,
    /// Number of the merchant there.
    pub merchant: usize,
}

/// Where something is bought.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Place {
    /// In the customer's city.
    Home,
    /// In another city, which is far.
    Away,
    /// Ordered; handed over at home.
    Online,
    /// Ordered; handed over in another city.
    OnlineAway,
}

const MINUTE: f64 = 60.0;
const HOUR: f64 = 3_600.0;

/// The steps of one occurrence for one customer.
pub fn steps(kind: Kind, dice: &mut Dice) -> Vec<Step> {
    match kind {
        Kind::Everyday => Vec::new(),
        Kind::CardTesting => card_testing(dice),
        Kind::StolenCard => stolen_card(dice),
        Kind::AccountTakeover => account_takeover(dice),
        Kind::DistantPurchase => distant_purchase(dice),
        Kind::Mule => mule(dice),
        Kind::LeakingMerchant => leaked_card(dice),
    }
}

/// At what time of day it begins: offences that need the owner asleep begin by night.
pub fn hours_until_start(kind: Kind, hour: usize, dice: &mut Dice) -> f64 {
    let by_night = match kind {
        Kind::StolenCard | Kind::LeakingMerchant => 0.75,
        Kind::AccountTakeover => 0.65,
        Kind::CardTesting | Kind::DistantPurchase => 0.5,
        Kind::Everyday | Kind::Mule => 0.0,
    };
    if dice.chance(by_night) {
        let start = 21 + dice.below(6);
        ((start + 48 - hour) % 24) as f64 + dice.share()
    } else {
        dice.between(0.0, 12.0)
    }
}

fn card_testing(dice: &mut Dice) -> Vec<Step> {
    let merchant = dice.below(1_000);
    let category = index_of("misc_net");
    let mut after = 0.0;
    let mut steps: Vec<Step> = (0..dice.count(8, 30))
        .map(|_| {
            after += dice.between(3.0, 25.0);
            let cents = dice.between(30.0, 300.0) as i64;
            step(after, category, cents, Place::Online, merchant)
        })
        .collect();
    // A number that works is used at once, or sold.
    if dice.chance(0.4) {
        after += dice.between(2.0, 20.0) * MINUTE;
        let (category, cents) = dear(dice, &ONLINE_LOOT);
        steps.push(step(
            after,
            category,
            cents,
            Place::OnlineAway,
            dice.below(1_000),
        ));
    }
    steps
}

fn stolen_card(dice: &mut Dice) -> Vec<Step> {
    let mut after = 0.0;
    (0..dice.count(5, 11))
        .map(|_| {
            after += dice.between(4.0, 45.0) * MINUTE;
            let (category, cents) = dear(dice, &SHOP_LOOT);
            let place = match CATEGORIES[category].online {
                true => Place::OnlineAway,
                false => Place::Home,
            };
            step(after, category, cents, place, dice.below(1_000))
        })
        .collect()
}

fn account_takeover(dice: &mut Dice) -> Vec<Step> {
    let mut after = 0.0;
    (0..dice.count(3, 8))
        .map(|_| {
            after += dice.between(5.0, 70.0) * MINUTE;
            let (category, cents) = dear(dice, &ONLINE_LOOT);
            step(after, category, cents, Place::OnlineAway, dice.below(1_000))
        })
        .collect()
}

fn distant_purchase(dice: &mut Dice) -> Vec<Step> {
    let own = Step {
        after: 0.0,
        everyday: true,
        purchase: Purchase {
            category: index_of("food_dining"),
            cents: None,
            place: Place::Home,
            merchant: dice.below(3),
        },
    };
    let mut after = 0.0;
    let far = (0..dice.count(1, 3)).map(|_| {
        after += dice.between(15.0, 80.0) * MINUTE;
        let (category, cents) = dear(dice, &COPY_LOOT);
        step(after, category, cents, Place::Away, dice.below(1_000))
    });
    std::iter::once(own).chain(far).collect()
}

fn mule(dice: &mut Dice) -> Vec<Step> {
    const NOTES: [i64; 5] = [10_000, 20_000, 25_000, 50_000, 90_000];
    let mut after = 0.0;
    (0..dice.count(8, 20))
        .map(|number| {
            after += dice.between(0.3, 3.0) * HOUR;
            let note = NOTES[dice.below(NOTES.len())];
            // What comes in goes out again, less what the mule may keep.
            let cents = if number % 2 == 0 {
                note
            } else {
                note - 1_000 * dice.count(0, 2) as i64
            };
            step(
                after,
                index_of("misc_net"),
                cents,
                Place::Online,
                number % 2,
            )
        })
        .collect()
}

fn leaked_card(dice: &mut Dice) -> Vec<Step> {
    let mut after = 0.0;
    (0..dice.count(2, 4))
        .map(|_| {
            after += dice.between(5.0, 60.0) * MINUTE;
            let (category, cents) = dear(dice, &ONLINE_LOOT);
            step(after, category, cents, Place::OnlineAway, dice.below(1_000))
        })
        .collect()
}

fn step(after: f64, category: usize, cents: i64, place: Place, merchant: usize) -> Step {
    Step {
        after,
        everyday: false,
        purchase: Purchase {
            category,
            cents: Some(cents),
            place,
            merchant,
        },
    }
}

/// What thieves buy: category, how often, the amounts' median and spread.
type Loot = [(&'static str, f64, f64, f64)];

const SHOP_LOOT: [(&str, f64, f64, f64); 6] = [
    ("shopping_pos", 0.34, 850.0, 0.22),
    ("grocery_pos", 0.30, 310.0, 0.12),
    ("gas_transport", 0.12, 11.0, 0.35),
    ("shopping_net", 0.12, 980.0, 0.18),
    ("entertainment", 0.06, 480.0, 0.2),
    ("misc_pos", 0.06, 700.0, 0.3),
];
const ONLINE_LOOT: [(&str, f64, f64, f64); 4] = [
    ("shopping_net", 0.55, 960.0, 0.2),
    ("misc_net", 0.32, 770.0, 0.2),
    ("travel", 0.08, 900.0, 0.3),
    ("grocery_net", 0.05, 12.0, 0.3),
];
const COPY_LOOT: [(&str, f64, f64, f64); 4] = [
    ("shopping_pos", 0.5, 780.0, 0.3),
    ("grocery_pos", 0.25, 300.0, 0.15),
    ("home", 0.15, 260.0, 0.2),
    ("gas_transport", 0.1, 14.0, 0.4),
];

fn dear(dice: &mut Dice, loot: &Loot) -> (usize, i64) {
    let mut left = dice.share() * loot.iter().map(|item| item.1).sum::<f64>();
    let mut chosen = &loot[0];
    for item in loot {
        chosen = item;
        left -= item.1;
        if left < 0.0 {
            break;
        }
    }
    let (name, _, median, spread) = chosen;
    let amount = dice.lognormal(*median, *spread);
    (index_of(name), ((amount * 100.0) as i64).max(1))
}

/// The category of that name.
fn index_of(name: &str) -> usize {
    CATEGORIES
        .iter()
        .position(|category| category.name == name)
        .unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::super::random::Purpose;
    use super::*;

    #[test]
    fn an_occurrence_has_about_as_many_payments_as_the_mix_counts_on() {
        let mut dice = Dice::new(5, Purpose::Traffic, 0, 0);
        for kind in KINDS.into_iter().filter(|kind| kind.is_fraud()) {
            let labelled = |steps: Vec<Step>| steps.iter().filter(|step| !step.everyday).count();
            let total: usize = (0..4_000).map(|_| labelled(steps(kind, &mut dice))).sum();
            let mean = total as f64 / 4_000.0;
            // A merchant that leaks hits 28 customers in the mean.
            let expected = match kind {
                Kind::LeakingMerchant => kind.mix().1 / 28.0,
                _ => kind.mix().1,
            };
            assert!((mean / expected - 1.0).abs() < 0.05, "{kind}: {mean}");
        }
        let shares: f64 = KINDS.iter().map(|kind| kind.mix().0).sum();
        assert!((shares - 1.0).abs() < 1e-9);
    }

    #[test]
    fn every_thing_that_is_stolen_is_of_a_known_category() {
        for (name, ..) in SHOP_LOOT.iter().chain(&ONLINE_LOOT).chain(&COPY_LOOT) {
            assert!(
                CATEGORIES.iter().any(|category| category.name == *name),
                "{name}"
            );
        }
        assert!(CATEGORIES.is_sorted_by(|a, b| a.name < b.name));
    }
}
