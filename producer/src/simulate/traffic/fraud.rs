//! Scenarios among the customers' own payments: when one begins, and whom it hits.

use vigie::engine::batch::Micros;

use super::super::habits::CATEGORIES;
use super::super::scenarios::{KINDS, Kind, Place, Purchase, hours_until_start, steps};
use super::{DAY, HOUR, SECOND, Traffic, clock};

/// The past ends with a day without scenarios: what is younger than a day rings alarms.
const QUIET: Micros = 26 * HOUR;

impl Traffic {
    /// Scenarios begin so often that their payments have the share that was asked for.
    pub(super) fn plan_scenarios(&mut self, time: Micros) {
        let live = time >= self.setting.start;
        if !live && time + QUIET >= self.setting.start {
            return;
        }
        if live && self.counted_from < self.setting.start {
            // What the past's quiet day lacks is not made up for.
            (self.counted_from, self.everyday, self.planned_of) = (time, 0.0, [0.0; KINDS.len()]);
        }
        self.everyday += 1.0;
        let mut share = self.setting.fraud_share / (1.0 - self.setting.fraud_share);
        if !live {
            // A long past makes up for its quiet day.
            share /= (1.0 - QUIET as f64 / self.setting.history as f64).max(0.8);
        }
        let mut point = self.dice.share();
        for kind in KINDS {
            let (part, payments) = kind.mix();
            // More often while there were too few of them: not every one finds its customers.
            let lack = share * part * self.everyday - self.planned_of[kind as usize];
            let zeal = (1.0 + 2.0 * lack / payments).clamp(0.1, 4.0);
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
            let purchase = Purchase {
                category,
                cents: None,
                place: Place::Home,
                merchant,
            };
            self.plan(account, Kind::Everyday, visit, purchase, 0);
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
            let after = if live {
                step.after / self.haste
            } else {
                step.after
            };
            last = begins + (after * SECOND) as Micros;
            // What would reach into the day before the present does not happen.
            if !live && last + DAY >= self.setting.start {
                break;
            }
            let kind = if step.everyday { Kind::Everyday } else { kind };
            self.plan(account, kind, last, step.purchase, away);
        }
        let quiet = self.after(last, 20.0 * 86_400.0);
        self.busy.insert(account, quiet);
    }
}
