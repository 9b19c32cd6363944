//! Payments in the order of their event times: the customers' own, and the scenarios among them.
//!
//! Each customer pays at random moments, more often at the hours of the own rhythm. Together such
//! customers are one random process of the sum of their rates, so that only the next payment is
//! drawn, and then whose it is.

mod fraud;

use std::cmp::Reverse;
use std::collections::{BinaryHeap, HashMap};

use vigie::engine::batch::Micros;

use super::customers::Customer;
use super::habits::{CATEGORIES, RHYTHMS};
use super::random::{Dice, Purpose};
use super::scenarios::{KINDS, Kind, Place, Purchase};
use super::world::{City, World};

const SECOND: f64 = 1e6;
const HOUR: Micros = 3_600_000_000;
const DAY: Micros = 24 * HOUR;

/// What is simulated.
#[derive(Debug, Clone)]
pub struct Setting {
    /// Decides everything that chance decides.
    pub seed: u64,
    /// How many customers.
    pub accounts: u32,
    /// When the present begins.
    pub start: Micros,
    /// How much past there is before it.
    pub history: Micros,
    /// Payments a second in the present.
    pub rate: f64,
    /// Share of fraudulent payments.
    pub fraud_share: f64,
    /// Where people live.
    pub cities: &'static [City],
}

/// A payment.
#[derive(Debug, Clone)]
pub struct Payment {
    /// Its id.
    pub id: u128,
    /// When.
    pub time: Micros,
    /// Number of the customer.
    pub account: u32,
    /// What it is part of.
    pub kind: Kind,
    /// In minor units.
    pub cents: i64,
    /// Index of the category.
    pub category: usize,
    /// The merchant's name.
    pub merchant: String,
    /// Index of the city where the goods change hands.
    pub city: usize,
    /// Degrees north of it.
    pub lat: f64,
    /// Degrees east of it.
    pub long: f64,
}

/// Payments without end.
pub struct Traffic {
    setting: Setting,
    world: World,
    customers: Vec<Customer>,
    /// For each rhythm its customers, and the sum of their rates up to each.
    groups: Vec<Vec<(u32, f64)>>,
    dice: Dice,
    ids: Dice,
    /// Where the past has got to; then the present's payments are counted.
    past: Micros,
    live: u64,
    planned: BinaryHeap<Reverse<Planned>>,
    plans: u64,
    /// Since when scenarios are counted; the payments since that are no fraud, and the planned
    /// frauds of each kind.
    counted_from: Micros,
    everyday: f64,
    planned_of: [f64; KINDS.len()],
    /// Customers to whom something happened, and until when nothing else does.
    busy: HashMap<u32, Micros>,
    /// Where customers are away, from when until when.
    journeys: HashMap<u32, (Micros, Micros, usize)>,
    /// How many times faster than life customers pay in the present, at least 1.
    haste: f64,
}

/// A payment that will happen; ordered by time.
#[derive(Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Planned {
    time: Micros,
    number: u64,
    account: u32,
    kind: Kind,
    away: usize,
    purchase: Purchase,
}

impl Traffic {
    /// Prepares the customers.
    pub fn new(setting: Setting) -> Self {
        let world = World::new(setting.seed, setting.cities);
        let customers: Vec<Customer> = (0..setting.accounts)
            .map(|number| Customer::new(setting.seed, number, &world))
            .collect();
        let mut groups = vec![Vec::new(); RHYTHMS.len()];
        for (number, customer) in (0..).zip(&customers) {
            let group: &mut Vec<(u32, f64)> = &mut groups[customer.rhythm];
            let before = group.last().map_or(0.0, |(_, sum)| *sum);
            group.push((number, before + customer.daily));
        }
        let daily: f64 = customers.iter().map(|customer| customer.daily).sum();
        let dice = |purpose| Dice::new(setting.seed, purpose, setting.start, 0);
        Self {
            dice: dice(Purpose::Traffic),
            ids: dice(Purpose::Ids),
            past: setting.start - setting.history,
            live: 0,
            planned: BinaryHeap::new(),
            plans: 0,
            counted_from: setting.start - setting.history - 1,
            everyday: 0.0,
            planned_of: [0.0; KINDS.len()],
            busy: HashMap::new(),
            journeys: HashMap::new(),
            haste: (setting.rate * 86_400.0 / daily).max(1.0),
            setting,
            world,
            customers,
            groups,
        }
    }

    /// How many times faster than life customers pay in the present, at least 1.
    pub fn haste(&self) -> f64 {
        self.haste
    }

    /// The customer of a payment.
    pub fn customer(&self, payment: &Payment) -> &Customer {
        &self.customers[payment.account as usize]
    }

    /// The city of a payment's customer.
    pub fn home(&self, payment: &Payment) -> &City {
        &self.world.cities[self.customer(payment).city]
    }

    /// The city of a payment.
    pub fn city(&self, payment: &Payment) -> &City {
        &self.world.cities[payment.city]
    }

    /// The next payment of the past; none when the present begins.
    pub fn next_past(&mut self) -> Option<Payment> {
        let next = self.next_moment();
        if let Some(planned) = self.due(next.unwrap_or(self.setting.start)) {
            // The customers' process has no memory: it goes on from here.
            self.past = planned.time;
            return Some(self.carry_out(planned, self.past));
        }
        self.past = next.unwrap_or(self.setting.start);
        next.map(|time| self.everyday_payment(time))
    }

    /// The next payment of the present.
    pub fn next_live(&mut self) -> Payment {
        let after = self.live as f64 / self.setting.rate * SECOND;
        let time = self.setting.start + after.round() as Micros;
        self.live += 1;
        match self.due(time + 1) {
            Some(planned) => self.carry_out(planned, time),
            None => self.everyday_payment(time),
        }
    }

    /// What was planned for before then.
    fn due(&mut self, before: Micros) -> Option<Planned> {
        let Reverse(first) = self.planned.peek()?;
        if first.time >= before {
            return None;
        }
        self.planned.pop().map(|Reverse(planned)| planned)
    }

    /// When a customer of the past pays next; none when the present begins.
    fn next_moment(&mut self) -> Option<Micros> {
        let mut at = self.past;
        loop {
            let rates = self.rates(at);
            let wait = self.dice.wait(rates.iter().sum::<f64>() / 86_400.0) * SECOND;
            let hour_ends = (at.div_euclid(HOUR) + 1) * HOUR;
            // Rates change with the hour; such a process has no memory, so it begins anew there.
            if wait < (hour_ends - at) as f64 {
                at += wait as Micros;
                return (at < self.setting.start).then_some(at);
            }
            at = hour_ends;
            if at >= self.setting.start {
                return None;
            }
        }
    }

    /// Payments a day of each rhythm's customers, at the speed of that moment.
    fn rates(&self, at: Micros) -> [f64; RHYTHMS.len()] {
        let (day, hour) = clock(at);
        std::array::from_fn(|rhythm| {
            let all = self.groups[rhythm].last().map_or(0.0, |(_, sum)| *sum);
            all * RHYTHMS[rhythm].weight(day, hour)
        })
    }

    /// A customer's own payment.
    fn everyday_payment(&mut self, time: Micros) -> Payment {
        let rhythm = self.dice.pick(&self.rates(time));
        let group = &self.groups[rhythm];
        let all = group.last().map_or(0.0, |(_, sum)| *sum);
        let point = self.dice.share() * all;
        let place = group.partition_point(|(_, sum)| *sum <= point);
        let account = group[place.min(group.len() - 1)].0;
        self.plan_scenarios(time);
        self.plan_next(account, time);
        let merchant = match self.dice.chance(0.8) {
            true => usize::from(self.customers[account as usize].favourites[self.dice.below(3)]),
            false => self.dice.below(1_000),
        };
        let (purchase, city) = self.usual(account, time, merchant);
        self.payment(account, Kind::Everyday, time, &purchase, city)
    }

    /// Something that the customer usually buys, at home or where a journey led, and that city.
    fn usual(&mut self, account: u32, time: Micros, merchant: usize) -> (Purchase, usize) {
        let category = self.category(account, time);
        let city = self.away(account, time);
        let place = match (CATEGORIES[category].online, city) {
            (true, _) => Place::Online,
            (false, None) => Place::Home,
            (false, Some(_)) => Place::Away,
        };
        let purchase = Purchase {
            category,
            cents: None,
            place,
            merchant,
        };
        (purchase, city.unwrap_or(0))
    }

    /// By taste and hour.
    fn category(&mut self, account: u32, time: Micros) -> usize {
        let hour = clock(time).1;
        let tastes = &self.customers[account as usize].tastes;
        let weights: [f64; CATEGORIES.len()] =
            std::array::from_fn(|index| f64::from(tastes[index]) * CATEGORIES[index].hours[hour]);
        self.dice.pick(&weights)
    }

    /// Where the customer is on a journey at that time.
    fn away(&self, account: u32, time: Micros) -> Option<usize> {
        let (from, until, city) = self.journeys.get(&account)?;
        (*from..*until).contains(&time).then_some(*city)
    }

    /// An errand is rarely one payment, and now and then somebody travels.
    fn plan_next(&mut self, account: u32, time: Micros) {
        if self.dice.chance(0.1) {
            let later = self.dice.between(240.0, 3_000.0);
            let later = self.after(time, later);
            let merchant = self.dice.below(1_000);
            let (purchase, city) = self.usual(account, later, merchant);
            self.plan(account, Kind::Everyday, later, purchase, city);
        }
        if self.dice.chance(0.004) {
            let (wait, stay) = (self.dice.between(1.0, 20.0), self.dice.between(1.0, 6.0));
            let from = self.after(time, wait * 86_400.0);
            let until = self.after(from, stay * 86_400.0);
            let home = &self.customers[account as usize];
            let city = self.world.far_from(home.lat, home.long, &mut self.dice);
            self.journeys.insert(account, (from, until, city));
        }
    }

    /// So many seconds of the customers' lives later.
    fn after(&self, time: Micros, seconds: f64) -> Micros {
        let haste = if time >= self.setting.start {
            self.haste
        } else {
            1.0
        };
        time + (seconds / haste * SECOND) as Micros
    }

    fn plan(&mut self, account: u32, kind: Kind, time: Micros, purchase: Purchase, away: usize) {
        self.plans += 1;
        match kind {
            // Errands, and visits to a merchant that leaks.
            Kind::Everyday => self.everyday += 1.0,
            fraud => self.planned_of[fraud as usize] += 1.0,
        }
        self.planned.push(Reverse(Planned {
            time,
            number: self.plans,
            account,
            kind,
            away,
            purchase,
        }));
    }

    fn carry_out(&mut self, planned: Planned, time: Micros) -> Payment {
        let Planned {
            account,
            kind,
            away,
            purchase,
            ..
        } = planned;
        self.payment(account, kind, time, &purchase, away)
    }

    fn payment(
        &mut self,
        account: u32,
        kind: Kind,
        time: Micros,
        purchase: &Purchase,
        away: usize,
    ) -> Payment {
        let customer = &self.customers[account as usize];
        let cents = purchase.cents.unwrap_or_else(|| {
            let category = &CATEGORIES[purchase.category];
            let usual = category.median * f64::from(customer.purse[purchase.category]);
            let amount = self.dice.lognormal(usual, category.spread);
            ((amount * 100.0) as i64).max(50)
        });
        let (city, lat, long, merchant) = match purchase.place {
            Place::Home | Place::Away => {
                let city = if purchase.place == Place::Home {
                    customer.city
                } else {
                    away
                };
                let shop = self.world.local(city, purchase.category, purchase.merchant);
                (city, shop.lat, shop.long, &shop.name)
            }
            Place::Online | Place::OnlineAway => {
                let shop = self.world.online(purchase.category, purchase.merchant);
                let (city, centre) = match purchase.place {
                    Place::Online => (customer.city, (customer.lat, customer.long)),
                    _ => (
                        away,
                        (self.world.cities[away].lat, self.world.cities[away].long),
                    ),
                };
                let (lat, long) = super::world::near(&mut self.dice, centre, 0.03);
                (city, lat, long, &shop.name)
            }
        };
        Payment {
            id: u128::from(self.ids.bits()) << 64 | u128::from(self.ids.bits()),
            time,
            account,
            kind,
            cents,
            category: purchase.category,
            merchant: merchant.clone(),
            city,
            lat,
            long,
        }
    }
}

/// Weekday from Monday on, and hour.
fn clock(time: Micros) -> (usize, usize) {
    // 1970-01-01 was a Thursday.
    let day = (time.div_euclid(DAY) + 3).rem_euclid(7);
    (day as usize, (time.rem_euclid(DAY) / HOUR) as usize)
}
