use super::*;

fn span(from: i64, to: i64) -> Span {
    Span {
        partition: 0,
        epoch: 1,
        from,
        to,
        scored: to - from,
        dead: 0,
        duplicates: 0,
        skipped: 0,
        watermark: None,
        recent: Vec::new(),
        held: None,
        published: None,
    }
}

fn at(to: i64, first_day: Option<i32>) -> Published {
    Published { to, first_day }
}

fn beginning() -> Progress {
    let mut progress = Progress::default();
    progress.begin(0, 10, at(10, None));
    progress
}

/// A batch is stored and its decisions are handed over, one per offset.
fn publish(progress: &mut Progress, from: i64, to: i64, day: i32) -> Ticket {
    let mut spans = [span(from, to)];
    progress.stamp(&mut spans, |_| Some(day));
    progress.stored(&spans);
    let ticket = progress.open(0, from, to).unwrap();
    for _ in from..to {
        progress.handed(ticket);
    }
    progress.close(ticket);
    ticket
}

/// What the next batch would store.
fn stamped(progress: &mut Progress, day: Option<i32>) -> Published {
    let mut spans = [span(0, 0)];
    progress.stamp(&mut spans, |_| day);
    spans[0].published.unwrap()
}

#[test]
fn the_position_moves_by_whole_batches_in_their_order_however_acknowledgements_come() {
    let mut progress = beginning();
    let first = publish(&mut progress, 10, 12, 100);
    let second = publish(&mut progress, 12, 14, 101);
    progress.acknowledged(second);
    progress.acknowledged(first);
    progress.acknowledged(second);
    assert_eq!(progress.unstored(0), None, "the first batch is not through");
    progress.acknowledged(first);
    assert_eq!(progress.unstored(0), Some(at(14, None)));
    progress.settled(0, at(14, None));
    assert_eq!(progress.unstored(0), None);
}

#[test]
fn a_batch_is_not_through_before_all_of_it_was_handed_over() {
    let mut progress = beginning();
    let mut spans = [span(10, 12)];
    progress.stamp(&mut spans, |_| Some(7));
    progress.stored(&spans);
    let ticket = progress.open(0, 10, 12).unwrap();
    progress.handed(ticket);
    progress.acknowledged(ticket);
    assert_eq!(progress.unstored(0), None);
    progress.handed(ticket);
    progress.close(ticket);
    assert_eq!(progress.unstored(0), None);
    progress.acknowledged(ticket);
    assert_eq!(progress.unstored(0), Some(at(12, None)));
}

#[test]
fn the_earliest_day_covers_what_is_stored_or_being_stored_and_not_acknowledged() {
    let mut progress = beginning();
    assert_eq!(stamped(&mut progress, None), at(10, None));
    let first = publish(&mut progress, 10, 11, 105);
    let second = publish(&mut progress, 11, 12, 103);
    assert_eq!(stamped(&mut progress, Some(104)), at(10, Some(103)));
    progress.acknowledged(second);
    assert_eq!(stamped(&mut progress, Some(104)), at(10, Some(103)));
    progress.acknowledged(first);
    assert_eq!(stamped(&mut progress, Some(104)), at(12, Some(104)));
}

#[test]
fn what_was_stored_without_being_handed_over_is_a_gap_and_nothing_overtakes_it() {
    let mut progress = Progress::default();
    progress.begin(0, 30, at(10, Some(99)));
    let gap = Gap {
        partition: 0,
        from: 10,
        to: 30,
        first_day: Some(99),
    };
    assert_eq!(progress.gap(), Some(gap));
    assert_eq!(progress.behind(), 20);
    let mut spans = [span(30, 40)];
    progress.stamp(&mut spans, |_| Some(120));
    progress.stored(&spans);
    assert_eq!(progress.open(0, 30, 40), None);

    let part = progress.open(0, 10, 30).unwrap();
    progress.close(part);
    let rest = progress.gap().unwrap();
    assert_eq!((rest.from, rest.to, rest.first_day), (30, 40, Some(99)));
    let part = progress.open(0, 30, 40).unwrap();
    progress.close(part);
    assert_eq!(progress.gap(), None);
    assert_eq!(progress.unstored(0), Some(at(40, None)));
}

#[test]
fn starting_over_goes_back_to_what_was_acknowledged_and_knows_old_answers() {
    let mut progress = beginning();
    let first = publish(&mut progress, 10, 11, 105);
    let second = publish(&mut progress, 11, 13, 103);
    progress.acknowledged(first);
    progress.start_over();
    assert!(!progress.takes(second));
    progress.acknowledged(second);
    progress.acknowledged(second);
    let gap = progress.gap().unwrap();
    assert_eq!((gap.from, gap.to, gap.first_day), (11, 13, Some(103)));
    assert_eq!(progress.unstored(0), Some(at(11, Some(103))));
}

#[test]
fn a_partition_taken_again_owes_nothing_to_answers_of_before() {
    let mut progress = beginning();
    let ticket = publish(&mut progress, 10, 11, 105);
    progress.forget(0);
    progress.acknowledged(ticket);
    assert_eq!(progress.gap(), None);
    progress.begin(0, 11, at(10, Some(105)));
    progress.acknowledged(ticket);
    assert_eq!(progress.unstored(0), None);
    assert_eq!(progress.gap().unwrap().from, 10);
}
