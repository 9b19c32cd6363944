//! Who pays: invented people, each with a card, a home, and habits of their own.

use jiff::ToSpan as _;
use jiff::civil::{Date, date};

use super::habits::{CATEGORIES, RHYTHMS};
use super::random::{Dice, Purpose};
use super::world::{World, near};

/// A customer; the same for the same seed and number.
pub struct Customer {
    /// The card's number, which fails the check that every real one passes.
    pub card: String,
    /// Index of the home's city.
    pub city: usize,
    /// Degrees north of home.
    pub lat: f64,
    /// Degrees east of home.
    pub long: f64,
    /// `F` or `M`.
    pub gender: char,
    /// Day of birth.
    pub born: Date,
    /// What they work as.
    pub job: &'static str,
    /// Index of the way of life.
    pub rhythm: usize,
    /// Payments a day.
    pub daily: f64,
    /// How likely each category is for this customer.
    pub tastes: [f32; CATEGORIES.len()],
    /// How much more than others this customer spends in each category.
    pub purse: [f32; CATEGORIES.len()],
    /// Numbers of the favourite merchants: the same three in every category.
    pub favourites: [u8; 3],
}

impl Customer {
    /// The customer of that number.
    pub fn new(seed: u64, number: u32, world: &World) -> Self {
        let mut dice = Dice::new(seed, Purpose::Customer, 0, u64::from(number));
        let city = dice.pick(&world.sizes);
        let centre = &world.cities[city];
        let (lat, long) = near(&mut dice, (centre.lat, centre.long), 0.1);
        let shares: [f64; RHYTHMS.len()] = std::array::from_fn(|index| RHYTHMS[index].share);
        let rhythm = dice.pick(&shares);
        let wealth = dice.lognormal(1.0, 0.22);
        // The way of life says something of the age: the third is retired, the fourth young.
        let age = match rhythm {
            2 => dice.between(55.0, 90.0),
            3 => dice.between(18.0, 30.0),
            _ => dice.between(22.0, 66.0),
        };
        let born = date(2026, 1, 1)
            .checked_sub(((age * 365.25) as i64).days())
            .unwrap_or(date(1980, 1, 1));
        Self {
            card: card_number(&mut dice, number),
            city,
            lat,
            long,
            gender: if dice.chance(0.53) { 'F' } else { 'M' },
            born,
            job: JOBS[dice.below(JOBS.len())],
            rhythm,
            daily: dice.lognormal(RHYTHMS[rhythm].daily, 0.55),
            tastes: std::array::from_fn(|index| {
                (CATEGORIES[index].weight * dice.lognormal(1.0, 0.5)) as f32
            }),
            purse: std::array::from_fn(|_| (wealth * dice.lognormal(1.0, 0.12)) as f32),
            favourites: std::array::from_fn(|_| dice.below(256) as u8),
        }
    }
}

/// A number of a card network's form, unlike any other customer's, with a wrong check digit.
fn card_number(dice: &mut Dice, number: u32) -> String {
    let start = ["4", "4", "51", "55", "37", "6011"][dice.below(6)];
    let length = if start == "37" { 15 } else { 16 };
    // A factor without a common divisor with 10 maps numbers below a thousand million one to one.
    let own = (u64::from(number) * 387_420_489 + 123_456_789) % 1_000_000_000;
    let between = length - 1 - start.len() - 9;
    let filling: String = (0..between)
        .map(|_| char::from(b'0' + dice.below(10) as u8))
        .collect();
    let body = format!("{start}{filling}{own:09}");
    let wrong = (check_digit(&body) + 1 + dice.below(9) as u32) % 10;
    format!("{body}{wrong}")
}

/// The digit that would make a number pass (Luhn's formula, ISO/IEC 7812-1).
fn check_digit(body: &str) -> u32 {
    let sum: u32 = body
        .bytes()
        .rev()
        .enumerate()
        .map(|(place, digit)| {
            let value = u32::from(digit - b'0') * (2 - place as u32 % 2);
            value / 10 + value % 10
        })
        .sum();
    (10 - sum % 10) % 10
}

#[rustfmt::skip]
const JOBS: [&str; 32] = [
    "Accountant", "Architect", "Baker", "Bookseller", "Carpenter", "Chef", "Civil engineer", "Cleaner", "Dentist",
    "Designer, graphic", "Driver", "Electrician", "Engineer, automotive", "Farmer", "Firefighter", "Gardener", "Geologist",
    "Hairdresser", "Journalist", "Lawyer", "Librarian", "Mechanic", "Musician", "Nurse", "Pharmacist", "Photographer",
    "Physiotherapist", "Police officer", "Programmer", "Surveyor", "Teacher, primary school", "Waiter",
];

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::super::world::UNITED_STATES;
    use super::*;

    #[test]
    fn card_numbers_differ_and_none_could_be_a_real_card_s() {
        // Numbers that pass, published by payment companies for tests.
        for known in ["4242424242424242", "378282246310005"] {
            let (body, last) = known.split_at(known.len() - 1);
            assert_eq!(check_digit(body).to_string(), last);
        }
        let world = World::new(3, UNITED_STATES);
        let mut seen = HashSet::new();
        for number in 0..5_000 {
            let card = Customer::new(3, number, &world).card;
            let (body, last) = card.split_at(card.len() - 1);
            assert_ne!(check_digit(body).to_string(), last);
            assert!(matches!(card.len(), 15 | 16));
            assert!(seen.insert(card));
        }
    }

    #[test]
    fn a_customer_is_the_same_whatever_else_there_is() {
        let world = World::new(3, UNITED_STATES);
        let (one, again) = (Customer::new(3, 7, &world), Customer::new(3, 7, &world));
        assert_eq!(
            (&one.card, one.born, one.tastes),
            (&again.card, again.born, again.tastes)
        );
        assert_ne!(one.card, Customer::new(4, 7, &world).card);
    }
}
