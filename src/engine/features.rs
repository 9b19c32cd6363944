//! Events and velocity in, feature columns out: the computation that trains is the one that
//! serves.
//!
//! Elementary functions come from `libm`, so that every machine gives the same bits; each
//! window value ends in one division.

use jiff::tz::TimeZone;
use jiff::{Timestamp, tz::Offset};

use super::batch::{Column, Events, FeatureColumn, Features, Micros, Texts};
use super::velocity::{Reach, WindowStats};
use crate::bundle::{AccountKind, Bundle, EventKind, FeatureKind, Kind};

const DAY: Micros = 86_400_000_000;
const HOUR: Micros = 3_600_000_000;

/// Mean Earth radius in kilometres (IUGG), as the feature contract fixes it.
const EARTH_KM: f64 = 6371.0088;

/// A bundle's features, ready to be computed.
#[derive(Debug, Clone)]
pub struct Plan {
    features: Vec<Planned>,
    readings: Vec<Reading>,
    reach: Reach,
    /// Minor units in a major one.
    units: i64,
}

#[derive(Debug, Clone)]
enum Planned {
    Event(EventKind, TimeZone),
    Account,
}

/// One window feature: what to read from which of the reach's windows.
#[derive(Debug, Clone, Copy)]
enum Reading {
    TimeSinceLast,
    Count(usize),
    Sum(usize),
    Mean(usize),
    Max(usize),
    Ratio(usize),
}

impl Plan {
    /// Plans a bundle's features; `lateness` is how late an event may be and still count.
    pub fn new(bundle: &Bundle, lateness: Micros) -> Self {
        let reach = reach_of(bundle, lateness);
        let mut readings = Vec::new();
        let features = bundle
            .features
            .iter()
            .map(|feature| match &feature.kind {
                FeatureKind::Event(kind) => Planned::Event(kind.clone(), zone_of(bundle, kind)),
                FeatureKind::Account(kind) => {
                    readings.push(reading_of(*kind, &reach));
                    Planned::Account
                }
            })
            .collect();
        Self {
            features,
            readings,
            reach,
            units: 10i64.pow(bundle.schema.amount_scale()),
        }
    }

    /// The windows that the shards of this plan keep.
    pub fn reach(&self) -> &Reach {
        &self.reach
    }

    /// Columns for the window features, to be filled event by event with [`Plan::add_windows`].
    pub fn window_columns(&self) -> WindowColumns {
        WindowColumns(vec![Vec::new(); self.readings.len()])
    }

    /// Adds one event's window features.
    ///
    /// `last` is the account's latest strictly earlier event, `stats` has one entry per window
    /// of the reach.
    pub fn add_windows(
        &self,
        columns: &mut WindowColumns,
        (time, amount): (Micros, i64),
        last: Option<Micros>,
        stats: &[WindowStats],
    ) {
        for (column, reading) in columns.0.iter_mut().zip(&self.readings) {
            column.push(self.read(*reading, (time, amount), last, stats) as f32);
        }
    }

    /// Features of the events alone, joined with the window features of the same events.
    pub fn join(&self, events: &Events, windows: WindowColumns) -> Features {
        let mut windows = windows.0.into_iter();
        let columns = self
            .features
            .iter()
            .map(|feature| match feature {
                Planned::Event(kind, zone) => self.of_event(kind, zone, events),
                Planned::Account => FeatureColumn::Number(windows.next().unwrap_or_default()),
            })
            .collect();
        Features { columns }
    }

    fn read(
        &self,
        reading: Reading,
        (time, amount): (Micros, i64),
        last: Option<Micros>,
        stats: &[WindowStats],
    ) -> f64 {
        let units = self.units;
        match reading {
            Reading::TimeSinceLast => last.map_or(f64::NAN, |last| (time - last) as f64 / 1e6),
            Reading::Count(window) => stats[window].count as f64,
            Reading::Sum(window) => stats[window].sum as f64 / units as f64,
            Reading::Mean(window) => {
                let WindowStats { count, sum, .. } = stats[window];
                divide(sum, i128::from(count) * i128::from(units))
            }
            Reading::Max(window) => match stats[window] {
                WindowStats { count: 0, .. } => f64::NAN,
                WindowStats { max, .. } => max as f64 / units as f64,
            },
            Reading::Ratio(window) => {
                let WindowStats { count, sum, .. } = stats[window];
                divide(i128::from(amount) * i128::from(count), sum)
            }
        }
    }

    fn of_event(&self, kind: &EventKind, zone: &TimeZone, events: &Events) -> FeatureColumn {
        match kind {
            EventKind::Value(field) => self.value(&events.columns[*field], events.len()),
            EventKind::HourOfDay(field) => {
                numbers(times(events, *field), |time| hour_of_day(time, zone))
            }
            EventKind::DayOfWeek(field) => {
                numbers(times(events, *field), |time| day_of_week(time, zone))
            }
            EventKind::Age(field) => {
                let born = times(events, *field);
                let ages = events.time.iter().zip(born);
                numbers(ages, |(time, born)| {
                    born.map_or(f64::NAN, |born| age(*time, born))
                })
            }
            EventKind::Distance(fields) => {
                let [lat1, long1, lat2, long2] = fields.map(|field| doubles(events, field));
                let rows = 0..events.len();
                numbers(rows, |row| {
                    great_circle_km((lat1[row], long1[row]), (lat2[row], long2[row]))
                })
            }
        }
    }

    fn value(&self, column: &Column, rows: usize) -> FeatureColumn {
        match column {
            Column::Number(values) => numbers(values, |value| *value),
            Column::Integer(values) => {
                numbers(values, |value| value.map_or(f64::NAN, |value| value as f64))
            }
            Column::Amount(values) => numbers(values, |value| {
                value.map_or(f64::NAN, |value| value as f64 / self.units as f64)
            }),
            Column::Text(texts) => {
                let mut present = Texts::default();
                for row in 0..rows {
                    present.push(Some(texts.get(row).unwrap_or_default()));
                }
                FeatureColumn::Text(present)
            }
            Column::Time(_) | Column::Label(_) => {
                unreachable!("times and labels are no values: checked when the bundle was read")
            }
        }
    }
}

/// Window features under construction: one column per window feature of the plan.
#[derive(Debug)]
pub struct WindowColumns(Vec<Vec<f32>>);

fn reach_of(bundle: &Bundle, lateness: Micros) -> Reach {
    let kinds: Vec<AccountKind> = bundle
        .features
        .iter()
        .filter_map(|feature| match feature.kind {
            FeatureKind::Account(kind) => Some(kind),
            FeatureKind::Event(_) => None,
        })
        .collect();
    let mut windows: Vec<Micros> = kinds
        .iter()
        .filter_map(|kind| Some(kind.window()?.0))
        .collect();
    windows.sort_unstable();
    windows.dedup();
    Reach {
        windows,
        lateness,
        maxima: kinds.iter().any(|kind| matches!(kind, AccountKind::Max(_))),
    }
}

fn reading_of(kind: AccountKind, reach: &Reach) -> Reading {
    let window = kind
        .window()
        .and_then(|window| reach.windows.iter().position(|length| *length == window.0))
        .unwrap_or(0);
    match kind {
        AccountKind::TimeSinceLast => Reading::TimeSinceLast,
        AccountKind::Count(_) => Reading::Count(window),
        AccountKind::Sum(_) => Reading::Sum(window),
        AccountKind::Mean(_) => Reading::Mean(window),
        AccountKind::Max(_) => Reading::Max(window),
        AccountKind::Ratio(_) => Reading::Ratio(window),
    }
}

fn zone_of(bundle: &Bundle, kind: &EventKind) -> TimeZone {
    match kind {
        EventKind::HourOfDay(field) | EventKind::DayOfWeek(field) => {
            match &bundle.schema.field(*field).kind {
                Kind::Time { zone, .. } => zone.clone(),
                _ => TimeZone::UTC,
            }
        }
        _ => TimeZone::UTC,
    }
}

fn numbers<I: IntoIterator>(rows: I, value: impl Fn(I::Item) -> f64) -> FeatureColumn {
    FeatureColumn::Number(rows.into_iter().map(|row| value(row) as f32).collect())
}

fn times(events: &Events, field: usize) -> &[Option<Micros>] {
    match &events.columns[field] {
        Column::Time(times) => times,
        other => unreachable!("field {field} is declared as a time, decoded as {other:?}"),
    }
}

fn doubles(events: &Events, field: usize) -> &[f64] {
    match &events.columns[field] {
        Column::Number(numbers) => numbers,
        other => unreachable!("field {field} is declared as a number, decoded as {other:?}"),
    }
}

/// Missing where the divisor is 0.
fn divide(dividend: i128, divisor: i128) -> f64 {
    if divisor == 0 {
        f64::NAN
    } else {
        dividend as f64 / divisor as f64
    }
}

fn local(time: Micros, zone: &TimeZone) -> Micros {
    if *zone == TimeZone::UTC {
        return time;
    }
    let offset = Timestamp::from_microsecond(time).map_or(Offset::UTC, |time| zone.to_offset(time));
    time + i64::from(offset.seconds()) * 1_000_000
}

fn hour_of_day(time: &Option<Micros>, zone: &TimeZone) -> f64 {
    time.map_or(f64::NAN, |time| {
        (local(time, zone).rem_euclid(DAY) / HOUR) as f64
    })
}

/// Monday is 0; 1970-01-01 was a Thursday.
fn day_of_week(time: &Option<Micros>, zone: &TimeZone) -> f64 {
    time.map_or(f64::NAN, |time| {
        (local(time, zone).div_euclid(DAY) + 3).rem_euclid(7) as f64
    })
}

/// Whole days since birth, in years of 365.25 days.
fn age(time: Micros, born: Micros) -> f64 {
    (time - born).div_euclid(DAY) as f64 / 365.25
}

/// Great-circle distance by the haversine formula (R. W. Sinnott, "Virtues of the Haversine",
/// Sky and Telescope 68, 1984), in kilometres; points are latitude and longitude in degrees.
fn great_circle_km((lat1, long1): (f64, f64), (lat2, long2): (f64, f64)) -> f64 {
    let half_lat = libm::sin((lat2 - lat1).to_radians() / 2.0);
    let half_long = libm::sin((long2 - long1).to_radians() / 2.0);
    let cosines = libm::cos(lat1.to_radians()) * libm::cos(lat2.to_radians());
    let haversine = half_lat * half_lat + cosines * half_long * half_long;
    // Rounding may exceed 1 at opposite ends of the Earth; a missing coordinate stays NaN.
    let haversine = if haversine > 1.0 { 1.0 } else { haversine };
    2.0 * EARTH_KM * libm::asin(libm::sqrt(haversine))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn weekdays_and_hours_are_those_of_the_zone() {
        let thursday_evening: Timestamp = "1970-01-01T23:30:00Z".parse().unwrap();
        let time = Some(thursday_evening.as_microsecond());
        let paris = TimeZone::get("Europe/Paris").unwrap();
        assert_eq!(day_of_week(&time, &TimeZone::UTC), 3.0);
        assert_eq!(hour_of_day(&time, &TimeZone::UTC), 23.0);
        assert_eq!(day_of_week(&time, &paris), 4.0);
        assert_eq!(hour_of_day(&time, &paris), 0.0);
        let before: Timestamp = "1969-12-31T12:00:00Z".parse().unwrap();
        assert_eq!(
            day_of_week(&Some(before.as_microsecond()), &TimeZone::UTC),
            2.0
        );
    }

    #[test]
    fn paris_to_london_is_344_kilometres() {
        let km = great_circle_km((48.8566, 2.3522), (51.5074, -0.1278));
        assert!((km - 343.556).abs() < 0.01, "{km}");
        assert!(great_circle_km((f64::NAN, 0.0), (0.0, 0.0)).is_nan());
        let half_way_round = great_circle_km((0.0, 0.0), (0.0, 180.0));
        assert!(
            (half_way_round - 20_015.114).abs() < 0.01,
            "{half_way_round}"
        );
    }

    #[test]
    fn age_counts_whole_days() {
        let years = age(365 * DAY + DAY - 1, 0);
        assert_eq!(years, 365.0 / 365.25);
    }

    #[test]
    fn empty_windows_have_count_and_sum_zero_and_nothing_else() {
        let bundle = Bundle::read(std::path::Path::new("models/card")).unwrap();
        let plan = Plan::new(&bundle, 0);
        let stats = vec![WindowStats::default(); plan.reach().windows.len()];
        let read = |reading| plan.read(reading, (0, 100), None, &stats);
        assert_eq!(read(Reading::Count(0)), 0.0);
        assert_eq!(read(Reading::Sum(0)), 0.0);
        for reading in [
            Reading::TimeSinceLast,
            Reading::Mean(0),
            Reading::Max(0),
            Reading::Ratio(0),
        ] {
            assert!(read(reading).is_nan(), "{reading:?}");
        }
    }

    #[test]
    fn window_values_are_in_major_units_and_the_ratio_is_to_the_mean() {
        let bundle = Bundle::read(std::path::Path::new("models/card")).unwrap();
        let plan = Plan::new(&bundle, 0);
        let stats = [WindowStats {
            count: 4,
            sum: 1_000,
            max: 700,
        }; 6];
        let read = |reading| plan.read(reading, (5_000_000, 500), Some(2_000_000), &stats);
        assert_eq!(read(Reading::Sum(0)), 10.0);
        assert_eq!(read(Reading::Mean(0)), 2.5);
        assert_eq!(read(Reading::Max(0)), 7.0);
        assert_eq!(read(Reading::Ratio(0)), 2.0);
        assert_eq!(read(Reading::TimeSinceLast), 3.0);
    }
}
