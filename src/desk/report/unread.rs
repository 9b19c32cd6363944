//! Records of the topic that nobody has read: while payments of a day may be among them, a report
//! on it would be wrong, and nobody would correct it.

use jiff::Timestamp;
use tokio_postgres::{Client, Row};

use super::words::count;
use crate::config::Config;
use crate::database::Moment;
use crate::desk::offsets;
use crate::kafka::admin::OffsetRange;

/// So many offsets may well hold no record at all.
const FEW: i64 = 1_000;

/// What may still bring payments of a day.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Unread {
    /// So many records.
    Records {
        /// In partitions that are read.
        coming: i64,
        /// In partitions that are held until somebody looks.
        held: i64,
    },
    /// Kafka did not say how many; why.
    Unknown(String),
}

/// How far a partition was read.
struct Partition {
    number: i32,
    /// Absent before it was first taken: it is read from its beginning.
    next_offset: Option<i64>,
    held: bool,
    watermark: Option<Timestamp>,
}

/// What is unread of the partitions that may still bring payments from before `end`, the end of
/// a day.
///
/// # Errors
/// When the database fails.
pub async fn look(client: &Client, config: &Config, end: Timestamp) -> anyhow::Result<Unread> {
    let open = open(client, config.stream.id, end).await?;
    if open.is_empty() {
        return Ok(Unread::nothing());
    }
    let ranges = match offsets::ranges(config).await {
        Ok(ranges) => ranges,
        Err(problem) => return Ok(Unread::Unknown(format!("{problem:#}"))),
    };
    // Once more, so that what was read while Kafka answered is not waited for.
    let mut open = self::open(client, config.stream.id, end).await?;
    let few = few(&open, &ranges);
    if !few.is_empty() {
        match offsets::with_records(config, few.clone()).await {
            Ok(found) => open.retain(|partition| {
                let is_of = |(number, _): &(i32, i64)| *number == partition.number;
                found.contains(&partition.number) || !few.iter().any(is_of)
            }),
            Err(problem) => return Ok(Unread::Unknown(format!("{problem:#}"))),
        }
    }
    Ok(of(&open, &ranges))
}

/// Where so few offsets are unread that all of them may be ends of transactions, which are no
/// records: nobody reads them before the next record comes, however long that takes.
fn few(open: &[Partition], ranges: &[OffsetRange]) -> Vec<(i32, i64)> {
    let positions = open.iter().filter(|partition| !partition.held);
    let positions = positions.filter_map(|partition| {
        let range = partition.range(ranges)?;
        let next = partition.next_offset.unwrap_or(range.earliest);
        (1..=FEW)
            .contains(&(range.latest - next))
            .then_some((partition.number, next))
    });
    positions.collect()
}

/// Partitions that have not seen a payment from `end` on.
async fn open(client: &Client, stream: i16, end: Timestamp) -> anyhow::Result<Vec<Partition>> {
    let rows = client
        .query(
            "SELECT n.partition, o.next_offset, o.held IS NOT NULL AS held, o.watermark
             FROM streams AS s CROSS JOIN generate_series(0, s.partitions - 1) AS n (partition)
             LEFT JOIN stream_offsets AS o ON o.stream = s.stream AND o.partition = n.partition
             WHERE s.stream = $1 ORDER BY n.partition",
            &[&stream],
        )
        .await?;
    let partitions = rows.iter().map(partition);
    let mut partitions = partitions.collect::<anyhow::Result<Vec<_>>>()?;
    partitions.retain(|partition| partition.watermark.is_none_or(|newest| newest < end));
    Ok(partitions)
}

fn partition(row: &Row) -> anyhow::Result<Partition> {
    let watermark: Option<Moment> = row.try_get("watermark")?;
    Ok(Partition {
        number: row.try_get("partition")?,
        next_offset: row.try_get("next_offset")?,
        held: row.try_get("held")?,
        watermark: watermark
            .map(|moment| Timestamp::from_microsecond(moment.0))
            .transpose()?,
    })
}

fn of(open: &[Partition], ranges: &[OffsetRange]) -> Unread {
    let (mut coming, mut held) = (0, 0);
    for partition in open {
        let Some(range) = partition.range(ranges) else {
            return Unread::Unknown(format!("Kafka has no partition {}", partition.number));
        };
        let next = partition.next_offset.unwrap_or(range.earliest);
        let records = (range.latest - next).max(0);
        match partition.held {
            true => held += records,
            false => coming += records,
        }
    }
    Unread::Records { coming, held }
}

impl Partition {
    fn range<'a>(&self, ranges: &'a [OffsetRange]) -> Option<&'a OffsetRange> {
        ranges.get(usize::try_from(self.number).ok()?)
    }
}

impl Unread {
    fn nothing() -> Self {
        Self::Records { coming: 0, held: 0 }
    }

    /// Why a report should wait; a held partition is for a person, and holds up no report.
    pub fn waits_for(&self) -> Option<String> {
        match self {
            Self::Records { coming: 0, .. } => None,
            Self::Records { coming, .. } => Some(format!(
                "{} records of the topic are not read yet",
                count(*coming)
            )),
            Self::Unknown(problem) => Some(format!(
                "Kafka does not say whether everything was read: {problem}"
            )),
        }
    }

    /// What a report says of it; nothing when all was read.
    pub fn sentence(&self) -> Option<String> {
        match self {
            Self::Records { coming: 0, held: 0 } => None,
            Self::Records { coming, held } => {
                let mut sentence = format!(
                    "{} records of the topic were not read yet: payments of the day may be among them.",
                    count(coming + held)
                );
                if *held > 0 {
                    sentence += &format!(
                        " {} of them are in held partitions, see `vigie offsets show`.",
                        count(*held)
                    );
                }
                Some(sentence)
            }
            Self::Unknown(_) => {
                Some("Kafka did not say whether all records of the topic were read.".to_owned())
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn partition(number: i32, next_offset: Option<i64>, held: bool) -> Partition {
        Partition {
            number,
            next_offset,
            held,
            watermark: None,
        }
    }

    const RANGES: [OffsetRange; 2] = [
        OffsetRange {
            earliest: 10,
            latest: 1_500,
        },
        OffsetRange {
            earliest: 0,
            latest: 7,
        },
    ];

    #[test]
    fn a_report_waits_for_records_but_not_for_those_of_a_held_partition() {
        let idle = of(&[partition(1, Some(7), false)], &RANGES);
        assert_eq!((idle.waits_for(), idle.sentence()), (None, None));
        let held = of(&[partition(1, Some(3), true)], &RANGES);
        assert_eq!(held.waits_for(), None);
        assert_eq!(
            held.sentence().unwrap(),
            "4 records of the topic were not read yet: payments of the day may be among them. \
             4 of them are in held partitions, see `vigie offsets show`."
        );
        let never_read = of(&[partition(0, None, false)], &RANGES);
        assert_eq!(
            never_read.waits_for().unwrap(),
            "1,490 records of the topic are not read yet"
        );
        assert!(never_read.sentence().unwrap().starts_with("1,490 records"));
    }

    #[test]
    fn a_report_waits_for_kafka_to_answer() {
        let gone = of(&[partition(2, Some(3), false)], &RANGES);
        assert!(gone.waits_for().unwrap().contains("no partition 2"));
        assert!(gone.sentence().is_some());
    }
}
