//! What people buy, for how much, and when.

/// A kind of purchase.
pub struct Category {
    /// Its name, as the card model knows it.
    pub name: &'static str,
    /// Half of the everyday amounts are below it, in major units.
    pub median: f64,
    /// Deviation of the amounts' logarithm.
    pub spread: f64,
    /// How common it is.
    pub weight: f64,
    /// When it is common.
    pub hours: &'static [f64; 24],
    /// Bought from home.
    pub online: bool,
    /// What such merchants are called.
    pub shops: [&'static str; 3],
}

const EVEN: [f64; 24] = [1.0; 24];
const SHOPS: [f64; 24] = [
    0.1, 0.05, 0.05, 0.05, 0.05, 0.1, 0.3, 0.7, 1.0, 1.3, 1.5, 1.5, 1.4, 1.2, 1.2, 1.3, 1.5, 1.6,
    1.5, 1.2, 0.8, 0.5, 0.3, 0.2,
];
const MEALS: [f64; 24] = [
    0.3, 0.2, 0.1, 0.1, 0.1, 0.2, 0.6, 1.0, 0.9, 0.6, 0.7, 1.6, 2.4, 1.8, 0.7, 0.5, 0.7, 1.4, 2.3,
    2.4, 1.8, 1.1, 0.7, 0.4,
];
const EVENINGS: [f64; 24] = [
    0.9, 0.6, 0.4, 0.2, 0.1, 0.1, 0.1, 0.2, 0.3, 0.5, 0.6, 0.8, 0.9, 0.9, 1.0, 1.1, 1.2, 1.5, 1.9,
    2.3, 2.4, 2.2, 1.7, 1.2,
];
const COMMUTES: [f64; 24] = [
    0.3, 0.2, 0.2, 0.3, 0.5, 1.1, 1.8, 2.1, 1.5, 0.9, 0.8, 0.9, 1.0, 0.9, 0.9, 1.2, 1.8, 2.1, 1.6,
    1.0, 0.8, 0.6, 0.5, 0.4,
];
const SCREENS: [f64; 24] = [
    1.0, 0.7, 0.5, 0.4, 0.4, 0.4, 0.5, 0.7, 0.9, 1.0, 1.1, 1.1, 1.2, 1.1, 1.0, 1.0, 1.0, 1.1, 1.2,
    1.5, 1.8, 1.9, 1.7, 1.3,
];

macro_rules! category {
    ($name:literal, $median:literal, $spread:literal, $weight:literal, $hours:ident, $online:literal, $shops:expr) => {
        Category {
            name: $name,
            median: $median,
            spread: $spread,
            weight: $weight,
            hours: &$hours,
            online: $online,
            shops: $shops,
        }
    };
}

/// Every kind of purchase, sorted by name.
#[rustfmt::skip]
pub const CATEGORIES: [Category; 14] = [
    category!("entertainment", 38.0, 0.75, 5.5, EVENINGS, false, ["Cinema", "Arena", "Games"]),
    category!("food_dining", 27.0, 0.65, 10.0, MEALS, false, ["Diner", "Bistro", "Kitchen"]),
    category!("gas_transport", 56.0, 0.25, 11.0, COMMUTES, false, ["Fuel", "Garage", "Transit"]),
    category!("grocery_net", 48.0, 0.35, 3.5, SCREENS, true, ["Grocer Online", "Pantry", "Basket"]),
    category!("grocery_pos", 74.0, 0.42, 14.0, SHOPS, false, ["Market", "Foods", "Grocery"]),
    category!("health_fitness", 38.0, 0.70, 5.0, SHOPS, false, ["Pharmacy", "Clinic", "Gym"]),
    category!("home", 47.0, 0.70, 6.0, SHOPS, false, ["Hardware", "Interiors", "Garden"]),
    category!("kids_pets", 43.0, 0.65, 5.5, SHOPS, false, ["Toys", "Pets", "Kids"]),
    category!("misc_net", 24.0, 0.85, 5.0, SCREENS, true, ["Media", "Subscriptions", "Tickets"]),
    category!("misc_pos", 18.0, 0.80, 5.5, EVEN, false, ["Kiosk", "Post", "Corner Shop"]),
    category!("personal_care", 30.0, 0.70, 5.0, SHOPS, false, ["Barber", "Cosmetics", "Spa"]),
    category!("shopping_net", 36.0, 0.85, 7.5, SCREENS, true, ["Online", "Store", "Outlet Web"]),
    category!("shopping_pos", 34.0, 0.85, 7.5, SHOPS, false, ["Fashion", "Electronics", "Shoes"]),
    category!("travel", 60.0, 0.95, 1.5, SCREENS, false, ["Rail", "Airways", "Hotel"]),
];

/// A way of life: when somebody pays.
pub struct Rhythm {
    /// Its share among customers.
    pub share: f64,
    /// By hour, Monday to Friday.
    pub weekday: [f64; 24],
    /// By hour at the weekend.
    pub weekend: [f64; 24],
    /// By day from Monday on.
    pub days: [f64; 7],
    /// Payments a day, in the middle of such customers.
    pub daily: f64,
}

impl Rhythm {
    /// How likely such a customer pays at that hour; on average of a week about 1.
    pub fn weight(&self, day: usize, hour: usize) -> f64 {
        let hours = if day < 5 {
            &self.weekday
        } else {
            &self.weekend
        };
        self.days[day] * hours[hour]
    }
}

const LAZY: [f64; 24] = [
    0.5, 0.3, 0.2, 0.1, 0.1, 0.1, 0.2, 0.4, 0.8, 1.3, 1.8, 2.0, 2.0, 1.8, 1.7, 1.7, 1.7, 1.6, 1.5,
    1.3, 1.1, 0.9, 0.7, 0.6,
];

/// The ways of life.
#[rustfmt::skip]
pub const RHYTHMS: [Rhythm; 5] = [
    // In an office.
    Rhythm { share: 0.40, daily: 1.7, weekend: LAZY, days: [0.9, 0.9, 0.95, 1.0, 1.2, 1.15, 0.9], weekday: [
        0.2, 0.1, 0.1, 0.1, 0.1, 0.2, 0.7, 1.4, 1.3, 0.7, 0.7, 1.1, 2.2, 1.5, 0.8, 0.8, 1.1, 2.0, 2.4, 2.1, 1.6, 1.2, 0.8, 0.4] },
    // Up early.
    Rhythm { share: 0.15, daily: 1.4, weekend: LAZY, days: [1.0, 1.0, 1.0, 1.0, 1.1, 1.1, 0.8], weekday: [
        0.1, 0.1, 0.1, 0.3, 0.9, 1.5, 1.4, 1.0, 1.2, 0.9, 0.9, 1.0, 1.1, 1.4, 2.2, 2.3, 2.0, 1.7, 1.3, 1.0, 0.7, 0.4, 0.2, 0.1] },
    // Retired or at home.
    Rhythm { share: 0.22, daily: 1.1, weekend: LAZY, days: [1.0, 1.0, 1.0, 1.0, 1.1, 1.0, 0.9], weekday: [
        0.1, 0.1, 0.1, 0.1, 0.1, 0.2, 0.4, 0.9, 1.6, 2.3, 2.6, 2.4, 1.8, 1.5, 1.7, 1.8, 1.6, 1.3, 1.0, 0.8, 0.6, 0.4, 0.3, 0.2] },
    // Young.
    Rhythm { share: 0.15, daily: 2.1, weekend: LAZY, days: [0.85, 0.85, 0.9, 1.05, 1.3, 1.3, 0.95], weekday: [
        1.1, 0.7, 0.5, 0.3, 0.1, 0.1, 0.2, 0.5, 0.8, 0.9, 1.0, 1.2, 1.6, 1.4, 1.2, 1.2, 1.3, 1.5, 1.8, 2.0, 1.9, 1.8, 1.6, 1.4] },
    // At work by night.
    Rhythm { share: 0.08, daily: 1.4, weekend: LAZY, days: [1.0, 1.0, 1.0, 1.0, 1.1, 1.1, 0.9], weekday: [
        1.3, 1.2, 1.3, 1.2, 1.0, 1.2, 1.5, 1.6, 1.0, 0.5, 0.3, 0.2, 0.2, 0.3, 0.6, 1.0, 1.4, 1.7, 1.7, 1.4, 1.1, 1.0, 1.2, 1.3] },
];
