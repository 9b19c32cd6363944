//! Payments in the order of their event times: the customers' own, and the scenarios among them.
//!
//! Each customer pays at random moments, more often at the hours of the own rhythm. Together such
//! customers are one random process of the sum of their rates, so that only the next payment is
//! drawn, and then whose it is.

use std::cmp::Reverse;
use std::collections::{BinaryHeap, HashMap};

use vigie::engine::batch::Micros;

use super::customers::Customer;
use super::habits::{CATEGORIES, RHYTHMS};
use super::random::{Dice, Purpose};
use super::scenarios::{KINDS, Kind, Place, Step, hours_until_start, steps};
use super::world::{City, World};

const SECOND: f64 = 1e6;
const HOUR: Micros = 3_600_000_000;
const DAY: Micros = 24 * HOUR;
/// The past ends with a day without scenarios: what is younger than a day rings alarms.
const QUIET: Micros = 26 * HOUR;

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
    /// Since when scenarios are counted; the customers' own payments since, and the planned ones
    /// of each kind.
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
    step: Plan,
}

/// A step's part that does not move.
#[derive(Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Plan {
    category: usize,
    cents: Option<i64>,
    place: Place,
    merchant: usize,
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
        let category = self.category(account, time);
        let place = self.away(account, time);
        let merchant = match self.dice.chance(0.8) {
            true => usize::from(self.customers[account as usize].favourites[self.dice.below(3)]),
            false => self.dice.below(1_000),
        };
        let online = CATEGORIES[category].online;
        let plan = Plan {
            category,
            cents: None,
            place: match (online, place) {
                (true, _) => Place::Online,
                (false, None) => Place::Home,
                (false, Some(_)) => Place::Away,
            },
            merchant,
        };
        self.payment(account, Kind::Everyday, time, &plan, place.unwrap_or(0))
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
            let after = self.dice.between(240.0, 3_000.0);
            let city = self.away(account, time);
            let category = self.category(account, time);
            let plan = Plan {
                category,
                cents: None,
                place: match (CATEGORIES[category].online, city) {
                    (true, _) => Place::Online,
                    (false, None) => Place::Home,
                    (false, Some(_)) => Place::Away,
                },
                merchant: self.dice.below(1_000),
            };
            self.plan(
                account,
                Kind::Everyday,
                self.after(time, after),
                plan,
                city.unwrap_or(0),
            );
        }
        if self.dice.chance(0.004) {
            let from = time + (self.dice.between(1.0, 20.0) * DAY as f64) as Micros;
            let until = from + (self.dice.between(1.0, 6.0) * DAY as f64) as Micros;
            let home = &self.customers[account as usize];
            let city = self.world.far_from(home.lat, home.long, &mut self.dice);
            self.journeys.insert(account, (from, until, city));
        }
    }

    /// Scenarios begin so often that their payments have the share that was asked for.
    fn plan_scenarios(&mut self, time: Micros) {
        let live = time >= self.setting.start;
        if !live && time + QUIET >= self.setting.start {
            return;
        }
        if live && self.counted_from < self.setting.start {
            // What the past's quiet day lacks is not made up for.
            (self.counted_from, self.everyday, self.planned_of) = (time, 0.0, [0.0; KINDS.len()]);
        }
        self.everyday += 1.0;
        let share = self.setting.fraud_share / (1.0 - self.setting.fraud_share);
        let mut point = self.dice.share();
        for kind in KINDS {
            let (part, payments) = kind.mix();
            // More often while there were too few of them: not every one finds its customers.
            let lack = share * part * self.everyday - self.planned_of[kind as usize];
            let zeal = (1.0 + lack / (2.0 * payments)).clamp(0.25, 4.0);
            let probability = zeal * share * part / payments;
            if point < probability {
                return self.begin(kind, time, live);
            }
            point -= probability;
        }
    }

    fn begin(&mut self, kind: Kind, time: Micros, live: bool) {
        if kind == Kind::LeakingMerchant {
            return self.leak(time, live);
        }
        let Some(account) = self.victim(time, None) else {
            return;
        };
        let begins = self.beginning(kind, time, live);
        self.hit(kind, account, begins, live);
    }

    /// When it begins. In the present at once: who looks on does not wait for the night.
    fn beginning(&mut self, kind: Kind, time: Micros, live: bool) -> Micros {
        if live {
            return time;
        }
        let hours = hours_until_start(kind, clock(time).1, &mut self.dice);
        time + (hours * HOUR as f64) as Micros
    }

    /// Customers of one merchant pay there, and are hit in the days after.
    fn leak(&mut self, time: Micros, live: bool) {
        let city = self.dice.pick(&self.world.sizes);
        let category = self
            .dice
            .pick(&CATEGORIES.map(|category| match category.online {
                true => 0.0,
                false => category.weight,
            }));
        let merchant = self.dice.below(1_000);
        for _ in 0..self.dice.count(16, 40) {
            let Some(account) = self.victim(time, Some(city)) else {
                continue;
            };
            let visit = self.dice.between(0.0, 2.0 * 86_400.0);
            let visit = self.after(time, visit);
            let plan = Plan {
                category,
                cents: None,
                place: Place::Home,
                merchant,
            };
            self.plan(account, Kind::Everyday, visit, plan, 0);
            let later = self.dice.between(0.5 * 86_400.0, 4.0 * 86_400.0);
            let later = self.after(visit, later);
            let begins = self.beginning(Kind::LeakingMerchant, later, live);
            self.hit(Kind::LeakingMerchant, account, begins, live);
        }
    }

    /// Somebody to whom nothing happens already; of one city where that matters.
    fn victim(&mut self, time: Micros, city: Option<usize>) -> Option<u32> {
        for _ in 0..400 {
            let account = self.dice.below(self.customers.len()) as u32;
            let lives_there = city.is_none_or(|city| self.customers[account as usize].city == city);
            if lives_there && self.busy.get(&account).is_none_or(|until| *until < time) {
                return Some(account);
            }
        }
        None
    }

    fn hit(&mut self, kind: Kind, account: u32, begins: Micros, live: bool) {
        let home = &self.customers[account as usize];
        let away = self.world.far_from(home.lat, home.long, &mut self.dice);
        let mut last = begins;
        for step in steps(kind, &mut self.dice) {
            let Step {
                after,
                everyday,
                category,
                cents,
                place,
                merchant,
            } = step;
            let after = if live { after / self.haste } else { after };
            last = begins + (after * SECOND) as Micros;
            // What would reach into the day before the present does not happen.
            if !live && last + DAY >= self.setting.start {
                break;
            }
            let plan = Plan {
                category,
                cents,
                place,
                merchant,
            };
            let kind = if everyday { Kind::Everyday } else { kind };
            self.plan(account, kind, last, plan, away);
        }
        self.busy.insert(account, last + 20 * DAY);
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

    fn plan(&mut self, account: u32, kind: Kind, time: Micros, step: Plan, away: usize) {
        self.plans += 1;
        self.planned_of[kind as usize] += 1.0;
        self.planned.push(Reverse(Planned {
            time,
            number: self.plans,
            account,
            kind,
            away,
            step,
        }));
    }

    fn carry_out(&mut self, planned: Planned, time: Micros) -> Payment {
        let Planned {
            account,
            kind,
            away,
            step,
            ..
        } = planned;
        self.payment(account, kind, time, &step, away)
    }

    fn payment(
        &mut self,
        account: u32,
        kind: Kind,
        time: Micros,
        plan: &Plan,
        away: usize,
    ) -> Payment {
        let customer = &self.customers[account as usize];
        let cents = plan.cents.unwrap_or_else(|| {
            let category = &CATEGORIES[plan.category];
            let usual = category.median * f64::from(customer.purse[plan.category]);
            let amount = self.dice.lognormal(usual, category.spread);
            ((amount * 100.0) as i64).max(50)
        });
        let (city, lat, long, merchant) = match plan.place {
            Place::Home | Place::Away => {
                let city = if plan.place == Place::Home {
                    customer.city
                } else {
                    away
                };
                let shop = self.world.local(city, plan.category, plan.merchant);
                (city, shop.lat, shop.long, &shop.name)
            }
            Place::Online | Place::OnlineAway => {
                let shop = self.world.online(plan.category, plan.merchant);
                let (city, centre) = match plan.place {
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
            category: plan.category,
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
