//! Where people live and shop: real cities, invented merchants.

use super::habits::CATEGORIES;
use super::random::{Dice, Purpose, cos_degrees};

/// A city.
#[derive(Debug)]
pub struct City {
    /// Its name.
    pub name: &'static str,
    /// Its state in the United States, or its country.
    pub region: &'static str,
    /// Degrees north.
    pub lat: f64,
    /// Degrees east.
    pub long: f64,
    /// People in it.
    pub population: u32,
}

/// A shop.
pub struct Merchant {
    /// Its name.
    pub name: String,
    /// Degrees north.
    pub lat: f64,
    /// Degrees east.
    pub long: f64,
}

/// Merchants of a category in a city.
const IN_A_CITY: usize = 8;
/// Merchants of a category that sell to everybody.
const ONLINE: usize = 48;

/// Cities and their merchants.
pub struct World {
    /// The cities.
    pub cities: &'static [City],
    /// By how many people live there.
    pub sizes: Vec<f64>,
    local: Vec<Merchant>,
    online: Vec<Merchant>,
}

impl World {
    /// The same merchants for the same seed.
    pub fn new(seed: u64, cities: &'static [City]) -> Self {
        let mut dice = Dice::new(seed, Purpose::World, 0, 0);
        let mut local = Vec::new();
        for city in cities {
            for category in 0..CATEGORIES.len() {
                for number in 0..IN_A_CITY {
                    let (lat, long) = near(&mut dice, (city.lat, city.long), 0.12);
                    let name = name(&mut dice, category, number);
                    local.push(Merchant { name, lat, long });
                }
            }
        }
        let mut online = Vec::new();
        for category in 0..CATEGORIES.len() {
            for number in 0..ONLINE {
                let city = &cities[dice.below(cities.len())];
                let name = name(&mut dice, category, number);
                online.push(Merchant {
                    name,
                    lat: city.lat,
                    long: city.long,
                });
            }
        }
        Self {
            cities,
            sizes: cities
                .iter()
                .map(|city| f64::from(city.population).sqrt())
                .collect(),
            local,
            online,
        }
    }

    /// The merchant that is somebody's `favourite`th of a category in a city; any for none.
    pub fn local(&self, city: usize, category: usize, number: usize) -> &Merchant {
        let first = (city * CATEGORIES.len() + category) * IN_A_CITY;
        &self.local[first + number % IN_A_CITY]
    }

    /// A merchant that sells to everybody.
    pub fn online(&self, category: usize, number: usize) -> &Merchant {
        &self.online[category * ONLINE + number % ONLINE]
    }

    /// A city that nobody reaches within hours of this place.
    pub fn far_from(&self, lat: f64, long: f64, dice: &mut Dice) -> usize {
        let apart = |city: &City| {
            let east = (city.long - long) * cos_degrees(lat);
            (city.lat - lat) * (city.lat - lat) + east * east
        };
        for _ in 0..20 {
            let found = dice.pick(&self.sizes);
            // Eight degrees are 900 km.
            if apart(&self.cities[found]) > 64.0 {
                return found;
            }
        }
        let farthest =
            |a: &usize, b: &usize| apart(&self.cities[*a]).total_cmp(&apart(&self.cities[*b]));
        (0..self.cities.len()).max_by(farthest).unwrap_or(0)
    }
}

/// A place about so many degrees away.
pub fn near(dice: &mut Dice, (lat, long): (f64, f64), degrees: f64) -> (f64, f64) {
    let north = lat + degrees * dice.normal();
    (north, long + degrees * dice.normal() / cos_degrees(lat))
}

fn name(dice: &mut Dice, category: usize, number: usize) -> String {
    let family = FAMILIES[dice.below(FAMILIES.len())];
    let shop = CATEGORIES[category].shops[number % 3];
    match dice.below(4) {
        0 => format!("{family} {shop}"),
        1 => format!(
            "{family} and {} {shop}",
            FAMILIES[dice.below(FAMILIES.len())]
        ),
        2 => format!("{family} {shop} Inc"),
        _ => format!("{family}'s {shop}"),
    }
}

#[rustfmt::skip]
const FAMILIES: [&str; 64] = [
    "Abbott", "Adler", "Ashby", "Baines", "Barlow", "Becker", "Bishop", "Boone", "Bright", "Calloway", "Carver", "Castor",
    "Chase", "Cobb", "Corwin", "Dalton", "Decker", "Doyle", "Drake", "Dunmore", "Ellery", "Emmons", "Fairley", "Finch",
    "Foss", "Garland", "Goodwin", "Granger", "Hale", "Harlow", "Hobart", "Holloway", "Ives", "Jansen", "Keene", "Kerr",
    "Lambert", "Lang", "Lowell", "Marsh", "Mercer", "Merrill", "Nash", "Norwood", "Oakes", "Orton", "Paxton", "Pell",
    "Quimby", "Rainer", "Redfern", "Rowe", "Sawyer", "Sterling", "Sutton", "Tate", "Thorne", "Tilden", "Underhill", "Vance",
    "Walden", "Wescott", "Yates", "Zeller",
];

macro_rules! cities {
    ($(($name:literal, $region:literal, $lat:literal, $long:literal, $population:literal)),* $(,)?) => {
        &[$(City { name: $name, region: $region, lat: $lat, long: $long, population: $population }),*]
    };
}

/// For card payments in the layout of the card model.
#[rustfmt::skip]
pub const UNITED_STATES: &[City] = cities![
    ("New York", "NY", 40.7128, -74.0060, 8336817), ("Los Angeles", "CA", 34.0522, -118.2437, 3979576),
    ("Chicago", "IL", 41.8781, -87.6298, 2693976), ("Houston", "TX", 29.7604, -95.3698, 2320268),
    ("Phoenix", "AZ", 33.4484, -112.0740, 1680992), ("Philadelphia", "PA", 39.9526, -75.1652, 1584064),
    ("San Antonio", "TX", 29.4241, -98.4936, 1547253), ("San Diego", "CA", 32.7157, -117.1611, 1423851),
    ("Dallas", "TX", 32.7767, -96.7970, 1343573), ("Jacksonville", "FL", 30.3322, -81.6557, 911507),
    ("Columbus", "OH", 39.9612, -82.9988, 898553), ("Charlotte", "NC", 35.2271, -80.8431, 885708),
    ("Indianapolis", "IN", 39.7684, -86.1581, 876384), ("Seattle", "WA", 47.6062, -122.3321, 753675),
    ("Denver", "CO", 39.7392, -104.9903, 727211), ("Boston", "MA", 42.3601, -71.0589, 692600),
    ("Nashville", "TN", 36.1627, -86.7816, 670820), ("Detroit", "MI", 42.3314, -83.0458, 670031),
    ("Portland", "OR", 45.5152, -122.6784, 654741), ("Las Vegas", "NV", 36.1699, -115.1398, 651319),
    ("Memphis", "TN", 35.1495, -90.0490, 651073), ("Baltimore", "MD", 39.2904, -76.6122, 593490),
    ("Milwaukee", "WI", 43.0389, -87.9065, 590157), ("Albuquerque", "NM", 35.0844, -106.6504, 560513),
    ("Kansas City", "MO", 39.0997, -94.5786, 495327), ("Atlanta", "GA", 33.7490, -84.3880, 506811),
    ("Omaha", "NE", 41.2565, -95.9345, 478192), ("Miami", "FL", 25.7617, -80.1918, 467963),
    ("Minneapolis", "MN", 44.9778, -93.2650, 429606), ("New Orleans", "LA", 29.9511, -90.0715, 390144),
    ("Boise", "ID", 43.6150, -116.2023, 228959), ("Salt Lake City", "UT", 40.7608, -111.8910, 200567),
    ("Birmingham", "AL", 33.5186, -86.8104, 209403), ("Richmond", "VA", 37.5407, -77.4360, 230436),
    ("Billings", "MT", 45.7833, -108.5007, 109577), ("Burlington", "VT", 44.4759, -73.2121, 42819),
    ("Bangor", "ME", 44.8016, -68.7712, 32029), ("Bismarck", "ND", 46.8083, -100.7837, 73529),
    ("Pierre", "SD", 44.3683, -100.3510, 13646), ("Cody", "WY", 44.5263, -109.0565, 9828),
    ("Salina", "KS", 38.8403, -97.6114, 46550), ("Tupelo", "MS", 34.2576, -88.7034, 38312),
];

/// For the simple layout: places where people pay in euros.
#[rustfmt::skip]
pub const EURO_AREA: &[City] = cities![
    ("Paris", "FR", 48.8566, 2.3522, 2148000), ("Lyon", "FR", 45.7640, 4.8357, 516000),
    ("Nantes", "FR", 47.2184, -1.5536, 314000), ("Marseille", "FR", 43.2965, 5.3698, 868000),
    ("Berlin", "DE", 52.5200, 13.4050, 3645000), ("Hamburg", "DE", 53.5511, 9.9937, 1841000),
    ("Munich", "DE", 48.1351, 11.5820, 1472000), ("Leipzig", "DE", 51.3397, 12.3731, 587000),
    ("Madrid", "ES", 40.4168, -3.7038, 3223000), ("Seville", "ES", 37.3891, -5.9845, 688000),
    ("Barcelona", "ES", 41.3851, 2.1734, 1620000), ("Rome", "IT", 41.9028, 12.4964, 2873000),
    ("Milan", "IT", 45.4642, 9.1900, 1352000), ("Palermo", "IT", 38.1157, 13.3615, 674000),
    ("Vienna", "AT", 48.2082, 16.3738, 1897000), ("Graz", "AT", 47.0707, 15.4395, 283000),
    ("Lisbon", "PT", 38.7223, -9.1393, 505000), ("Porto", "PT", 41.1579, -8.6291, 215000),
    ("Dublin", "IE", 53.3498, -6.2603, 544000), ("Amsterdam", "NL", 52.3676, 4.9041, 863000),
    ("Brussels", "BE", 50.8503, 4.3517, 179000), ("Helsinki", "FI", 60.1699, 24.9384, 650000),
    ("Athens", "GR", 37.9838, 23.7275, 664000), ("Tallinn", "EE", 59.4370, 24.7536, 434000),
    ("Ljubljana", "SI", 46.0569, 14.5058, 284000), ("Riga", "LV", 56.9496, 24.1052, 632000),
];
