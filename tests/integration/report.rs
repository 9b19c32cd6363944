//! The morning report, from rows to a mail.

use std::path::PathBuf;
use std::process::Command;
use std::time::Duration;

use clap::Parser;
use indicatif::ProgressBar;
use jiff::Timestamp;
use jiff::civil::Date;
use serde_json::Value;
use tokio_postgres::Client;
use vigie::config::Config;
use vigie::desk::figures::{self, Pace};
use vigie::desk::notifier::outbox::Channels;
use vigie::desk::report::calendar::Calendar;
use vigie::desk::report::{self, Handed, Report, sending};
use vigie::morning::{self, ReportArgs};

use crate::morning::{Keeper, one_more_round, reporting};
use crate::support::database::{count, owner, writer};
use crate::support::eventually_within;
use crate::support::history::{Other, Paid, paid, store, stream};
use crate::support::notifier::{Running, wait_until};
use crate::support::payments::{DAY, HOUR, MARCH};
use crate::support::sink::{Sink, header};
use crate::support::vigie::{LONG, command};

/// Of the payments that the tests store.
const DAY_OF_MARCH: &str = "2026-03-01";
const NASTY: &str = "=HYPERLINK(\"http://x\")<script>alert('x')</script>\r\nBcc: all@example.org";

#[derive(Parser)]
struct Line {
    #[command(flatten)]
    report: ReportArgs,
}

/// What `vigie report` with these arguments says, or its error.
async fn vigie_report(config: &Config, arguments: &[&str]) -> Result<String, String> {
    let words = std::iter::once("report").chain(arguments.iter().copied());
    let line = Line::try_parse_from(words).map_err(|error| error.to_string())?;
    let said = morning::command(config, &line.report).await;
    said.map_err(|error| format!("{error:#}"))
}

async fn made(config: &Config, client: &mut Client, day: &str) -> Report {
    figures::bring_up_to_date(client, 1, Pace::AtOnce(&ProgressBar::hidden()))
        .await
        .unwrap();
    let calendar = Calendar::of(config).unwrap();
    let day: Date = day.parse().unwrap();
    let handed = Handed {
        reconciliation: "reconciled",
        unread: None,
    };
    report::make(client, config, &calendar, day, &handed)
        .await
        .unwrap()
}

/// A folder of one's own; it goes when it is dropped.
struct Folder(PathBuf);

impl Folder {
    fn new(config: &Config) -> Self {
        Self(std::env::temp_dir().join(&config.database.schema))
    }

    fn path(&self) -> &str {
        self.0.to_str().unwrap()
    }

    fn read(&self, name: &str) -> String {
        std::fs::read_to_string(self.0.join(name)).unwrap()
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        // A test that failed early has made none.
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

/// `vigie report` as a process, with this schema.
fn process(config: &Config, arguments: &[&str]) -> Command {
    let mut command = command(&[&["report"], arguments].concat());
    command
        .env("VIGIE_DATABASE__SCHEMA", &config.database.schema)
        .env("VIGIE_EVENTS__BUSINESS_ZONE", &config.events.business_zone);
    command
}

/// Three days: every fifth payment is flagged, every seventh labelled as fraud, on the third day
/// there are more; some payments are canaries.
async fn three_days(client: &mut Client) {
    let mut offset = 0;
    for (day, payments) in [(-2, 40), (-1, 50), (0, 90)] {
        let rows: Vec<Paid> = (0..payments)
            .map(|number: i64| {
                let position = offset + number;
                Paid {
                    amount: 1_000 + 10 * number,
                    currency: Some(if number % 3 == 0 { "JPY" } else { "EUR" }),
                    merchant: (number % 4 > 0).then(|| format!("Shop {}", number % 4)),
                    account: (number % 11) as u8,
                    decision: match number % 5 {
                        0 => 2,
                        1 => 1,
                        _ => 0,
                    },
                    score: (number % 8 > 0).then_some(0.2),
                    label: (number % 2 == 0).then_some(number % 7 == 0),
                    origin: if number % 10 == 9 { 2 } else { 0 },
                    ..paid(0, position, MARCH + day * DAY + number * HOUR / 4)
                }
            })
            .collect();
        offset += payments;
        store(client, &rows, &[(0, offset, Other::Dead("not_json"))]).await;
        offset += 1;
    }
}

fn number(value: &Value, path: &str) -> i64 {
    let found = value.pointer(path).and_then(Value::as_i64);
    found.unwrap_or_else(|| panic!("no number at {path} in {value}"))
}

#[tokio::test]
async fn the_numbers_of_the_report_are_those_of_the_rows() {
    let (config, mut client) = stream(1, "UTC").await;
    three_days(&mut client).await;
    let report = made(&config, &mut client, DAY_OF_MARCH).await;
    let of_day = |what: &str, condition: &str| {
        format!(
            "SELECT {what} FROM payments_scored AS p
             LEFT JOIN labels AS l USING (event_time, trans_num, account, event_day, stream)
             WHERE origin <> 2 AND {condition}"
        )
    };
    let on = "event_day = '2026-03-01'";
    let before = "event_day = '2026-02-28'";
    let earlier = "event_day < '2026-03-01'";
    for (path, what, condition) in [
        ("day/payments", "count(*)", on.to_owned()),
        (
            "day/decisions/0",
            "count(*)",
            format!("{on} AND decision = 0"),
        ),
        (
            "day/decisions/1",
            "count(*)",
            format!("{on} AND decision = 1"),
        ),
        (
            "day/decisions/2",
            "count(*)",
            format!("{on} AND decision = 2"),
        ),
        ("day/alerts", "count(*)", format!("{on} AND decision > 0")),
        (
            "day/not_assessed",
            "count(*)",
            format!("{on} AND score IS NULL"),
        ),
        ("day/labelled", "count(label)", on.to_owned()),
        ("day/fraud", "count(*)", format!("{on} AND label")),
        (
            "day/caught",
            "count(*)",
            format!("{on} AND label AND decision > 0"),
        ),
        (
            "day/false_alarms",
            "count(*)",
            format!("{on} AND NOT label AND decision > 0"),
        ),
        ("before/payments", "count(*)", before.to_owned()),
        ("earlier/payments", "count(*)", earlier.to_owned()),
        (
            "earlier/decisions/2",
            "count(*)",
            format!("{earlier} AND decision = 2"),
        ),
    ] {
        let expected = count(&client, &of_day(what, &condition)).await;
        let found = number(&report.payload, &format!("/counts/compared/{path}"));
        assert_eq!(found, expected, "{path}");
        assert!(expected > 0, "{path}: nothing is compared");
    }
    assert_eq!(number(&report.payload, "/counts/compared/days"), 2);
    for currency in ["EUR", "JPY"] {
        let condition = format!("{on} AND currency = '{currency}' AND decision = 2");
        let row = client
            .query_one(
                &of_day("round(sum(amount) / 100, 2)::text", &condition),
                &[],
            )
            .await
            .unwrap();
        let totals = report.payload["counts"]["totals"].as_array().unwrap();
        let total = totals.iter().find(|total| total["currency"] == currency);
        let found = &total.unwrap()["decision_amounts"][2];
        assert_eq!(found, row.get::<_, &str>(0), "{currency}");
    }
    let hours = report.payload["counts"]["hours"].as_array().unwrap();
    assert_eq!(hours.len(), 24);
    let of_hours: i64 = hours.iter().map(|hour| number(hour, "/payments")).sum();
    assert_eq!(
        of_hours,
        number(&report.payload, "/counts/compared/day/payments")
    );
}

#[tokio::test]
async fn the_report_says_what_changed_and_shows_rates_lists_and_a_chart() {
    let (config, mut client) = stream(1, "UTC").await;
    three_days(&mut client).await;
    let report = made(&config, &mut client, DAY_OF_MARCH).await;
    for words in [
        "81 payments on 2026-03-01 (business zone UTC): 55.56 % allowed, 22.22 % for review, 22.22 % blocked.",
        "reconciled",
        // 81 after 45; the mean of 36 and 45 is 40.5.
        "+80.0 %",
        "+100.0 %",
        "against mean of 2 days",
        "precision",
        "(report.label_delay = 0s",
        "Shop 1",
        "█",
        "The list flagged-2026-03-01.csv has every flagged payment.",
    ] {
        assert!(
            report.text.contains(words),
            "{words} is not in\n{}",
            report.text
        );
    }
    let customer = report.payload["counts"]["customers"][0]["name"].as_str();
    let customer = customer.unwrap();
    assert_eq!(customer.chars().count(), 9, "{customer}");
    assert!(report.text.contains(customer), "{}", report.text);
    for words in ["<h3>What changed</h3>", "+80.0 %", "bgcolor=", customer] {
        assert!(
            report.html.contains(words),
            "{words} is not in\n{}",
            report.html
        );
    }
    assert!(
        report
            .subject
            .starts_with("Vigie report on 2026-03-01: 81 payments, 18 blocked, 18 for review"),
        "{}",
        report.subject
    );
    let list = String::from_utf8(report.flagged).unwrap();
    assert_eq!(list.lines().count(), 1 + 36, "{list}");
    assert!(
        !list.contains(&"01".repeat(16)),
        "an account is whole in\n{list}"
    );
}

#[tokio::test]
async fn payments_that_were_removed_uncounted_are_said_of_the_days_that_are_gone() {
    let (config, mut client) = stream(1, "UTC").await;
    let rows = [paid(0, 0, MARCH - 30 * DAY), paid(0, 1, MARCH)];
    store(&mut client, &rows, &[]).await;
    let remove = "DROP TABLE payments_scored_20260130";
    owner(&config).await.batch_execute(remove).await.unwrap();
    for (day, said) in [("2026-01-30", true), (DAY_OF_MARCH, false)] {
        let text = made(&config, &mut client, day).await.text;
        let found = text.contains("1 payments were removed before they were counted");
        assert_eq!(found, said, "{text}");
    }
}

#[tokio::test]
async fn means_are_of_days_that_have_payments_and_fraud_stands_beside_the_day_before() {
    let (config, mut client) = stream(1, "UTC").await;
    let rows: Vec<Paid> = [(-20, 1), (-2, 3), (-1, 5), (0, 8)]
        .into_iter()
        .flat_map(|(day, payments)| (0..payments).map(move |number| (day, number)))
        .zip(0..)
        .map(|((day, number), offset)| Paid {
            // Of each day's payments the first is fraud, and is caught on the day alone.
            label: Some(number == 0),
            amount: if number == 0 { 30_000 } else { 10_000 },
            decision: if number == 0 && day == 0 { 2 } else { 0 },
            ..paid(0, offset, MARCH + day * DAY + number * HOUR)
        })
        .collect();
    store(&mut client, &rows, &[]).await;
    let report = made(&config, &mut client, DAY_OF_MARCH).await;
    let line = |name: &str| {
        let found = report.text.lines().find(|line| line.starts_with(name));
        let line = found.unwrap_or_else(|| panic!("no {name} in\n{}", report.text));
        let cells: Vec<&str> = line.split("  ").filter(|cell| !cell.is_empty()).collect();
        cells
            .iter()
            .map(|cell| cell.trim().to_owned())
            .collect::<Vec<_>>()
    };
    assert!(
        report.text.contains("the day before  mean of 3 days"),
        "{}",
        report.text
    );
    // 8 after 5; the mean of 1, 3 and 5 is 3.
    assert_eq!(line("payments  ")[1..], ["8", "+60.0 %", "+166.7 %"]);
    assert_eq!(line("fraud, payments")[1..], ["1", "1", "1.0"]);
    assert_eq!(
        line("fraud, by count")[1..],
        ["1250.0 bp", "2000.0 bp", "3333.3 bp"]
    );
    // 300 of 1,000, of 700, and of 300 + 500 + 700.
    assert_eq!(
        line("fraud, by value: 300.00")[1..],
        ["3000.0 bp", "4285.7 bp", "6000.0 bp"]
    );
    assert_eq!(line("precision")[1..], ["100.00 %", "-", "-"]);
    assert_eq!(line("recall")[1..], ["100.00 %", "0.00 %", "0.00 %"]);
    assert_eq!(
        line("false-positive rate")[1..],
        ["0.00 %", "0.00 %", "0.00 %"]
    );
}

#[tokio::test]
async fn the_report_carries_the_laboratorys_line() {
    let (config, mut client) = stream(1, "UTC").await;
    three_days(&mut client).await;
    let said = vigie_report(&config, &["--day", DAY_OF_MARCH])
        .await
        .unwrap();
    assert!(
        said.contains("Reconciled: 91 consumed = 81 scored + 9 canaries + 1 dead + 0 duplicates; "),
        "{said}"
    );
    let json = vigie_report(&config, &["--day", DAY_OF_MARCH, "--json"]).await;
    let json: Value = serde_json::from_str(&json.unwrap()).unwrap();
    assert_eq!(number(&json, "/counts/compared/day/payments"), 81);
    // Without a model nothing is recomputed; what can be counted is.
    let mut elsewhere = config.clone();
    elsewhere.stream.bundle = "no/such/bundle".into();
    let said = vigie_report(&elsewhere, &["--day", DAY_OF_MARCH]).await;
    assert!(
        said.unwrap()
            .contains("Reconciled: 91 consumed = 81 scored")
    );
}

#[tokio::test]
async fn labels_count_once_their_payments_are_old_enough() {
    let (mut config, mut client) = stream(1, "UTC").await;
    three_days(&mut client).await;
    let since = Timestamp::now().as_microsecond() - (MARCH - 12 * HOUR);
    config.report.label_delay = Duration::from_micros(since as u64);
    // Half of the 28th of February is old enough: the newest whole day is the 27th.
    let report = made(&config, &mut client, DAY_OF_MARCH).await;
    assert_eq!(report.payload["counts"]["quality"]["day"], "2026-02-27");
    assert_eq!(number(&report.payload, "/counts/quality/sums/payments"), 36);
    assert!(
        report
            .text
            .contains("Payments of 2026-02-27, the newest day"),
        "{}",
        report.text
    );
}

#[tokio::test]
async fn a_day_without_payments_is_reported_and_one_that_is_not_over_is_refused() {
    let (config, mut client) = stream(1, "UTC").await;
    three_days(&mut client).await;
    let empty = vigie_report(&config, &["--day", "2026-02-10"])
        .await
        .unwrap();
    assert!(
        empty.contains("No payment has an event time on 2026-02-10"),
        "{empty}"
    );
    assert!(
        empty.contains("nothing of 2026-02-10 was consumed"),
        "{empty}"
    );
    for (day, words) in [
        (
            Timestamp::now().strftime("%Y-%m-%d").to_string(),
            "is not over yet in UTC",
        ),
        ("2999-01-01".to_owned(), "2999-01-01 is in the future"),
    ] {
        let refused = process(&config, &["--day", &day]).output().unwrap();
        let said = String::from_utf8_lossy(&refused.stderr).into_owned();
        assert_eq!(refused.status.code(), Some(2), "{said}");
        assert!(said.contains(words), "{said}");
    }
    let mut elsewhere = process(&config, &["--day", DAY_OF_MARCH]);
    elsewhere.env("VIGIE_EVENTS__BUSINESS_ZONE", "Asia/Tokyo");
    for all in [&[][..], &["--all"]] {
        let refused = elsewhere.args(all).output().unwrap();
        let said = String::from_utf8_lossy(&refused.stderr).into_owned();
        assert_eq!(refused.status.code(), Some(2), "{said}");
        let words = "bound to the business zone \"UTC\", found \"Asia/Tokyo\"";
        assert!(said.contains(words), "{said}");
    }
    let nobody = process(&config, &["--day", DAY_OF_MARCH, "--send"])
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&nobody.stderr).into_owned();
    assert_eq!(nobody.status.code(), Some(2), "{said}");
    assert!(said.contains("mail is off"), "{said}");
}

#[tokio::test]
async fn a_days_payments_are_one_line_each_and_no_cell_is_a_formula() {
    let (config, mut client) = stream(1, "UTC").await;
    let merchants = [
        NASTY,
        "+1",
        "-1",
        "@x",
        "\t=1",
        "＝1",
        "plain, \"quoted\"",
        "'",
        "shop;=1+1;",
        "a|\"=1\",,\t@b; ＋1;+;-",
        "one\u{85}two\u{9f}",
    ];
    let rows: Vec<Paid> = (0..)
        .zip(merchants)
        .map(|(offset, merchant)| Paid {
            merchant: Some(merchant.to_owned()),
            amount: -150,
            ..paid(0, offset, MARCH + offset * HOUR)
        })
        .chain([Paid {
            origin: 2,
            ..paid(0, 11, MARCH)
        }])
        .collect();
    store(&mut client, &rows, &[]).await;
    let out = process(&config, &["--day", DAY_OF_MARCH, "--all"])
        .output()
        .unwrap();
    assert!(
        out.status.success(),
        "{}",
        String::from_utf8_lossy(&out.stderr)
    );
    let text = String::from_utf8(out.stdout).unwrap();
    assert_eq!(text.lines().count(), 12, "{text}");
    let mut csv = csv_rows(&text);
    let heading = csv.remove(0);
    let column = |name: &str| heading.iter().position(|cell| cell == name).unwrap();
    let found: Vec<&str> = csv
        .iter()
        .map(|row| row[column("merchant")].as_str())
        .collect();
    let mut harmless = vec![
        "'=HYPERLINK(\"http://x\")<script>alert('x')</script>  Bcc: all@example.org",
        "'+1",
        "'-1",
        "'@x",
        "' =1",
        "'＝1",
        "plain, \"quoted\"",
        "'",
        "shop;'=1+1;",
        "a|'\"=1\",,' @b;' ＋1;'+;'-",
        "one two ",
    ];
    harmless.sort_unstable();
    let mut sorted = found.clone();
    sorted.sort_unstable();
    assert_eq!(sorted, harmless);
    for row in &csv {
        assert_eq!(
            row[column("amount")],
            "-1.50",
            "a negative number stays a number"
        );
        assert_eq!(row[column("origin")], "live");
    }

    let folder = Folder::new(&config);
    let said = vigie_report(
        &config,
        &["--day", DAY_OF_MARCH, "--all", "--output", folder.path()],
    )
    .await;
    assert!(said.unwrap().contains("payments-2026-03-01.csv"));
    assert_eq!(folder.read("payments-2026-03-01.csv").lines().count(), 12);
}

/// Cells of a CSV without line breaks in them.
fn csv_rows(text: &str) -> Vec<Vec<String>> {
    text.lines()
        .map(|line| {
            let mut cells = vec![String::new()];
            let (mut quoted, mut previous) = (false, ' ');
            for c in line.chars() {
                match c {
                    '"' => {
                        quoted = !quoted;
                        if quoted && previous == '"' {
                            cells.last_mut().unwrap().push('"');
                        }
                    }
                    ',' if !quoted => cells.push(String::new()),
                    c => cells.last_mut().unwrap().push(c),
                }
                previous = c;
            }
            cells
        })
        .collect()
}

#[tokio::test]
async fn a_hostile_merchant_is_harmless_in_header_bodies_and_list() {
    let sink = Sink::start().await;
    let (mut config, mut client) = stream(1, "UTC").await;
    config.mail = sink.settings();
    config.report.to = "manager@example.org".into();
    let rows: Vec<Paid> = (0..4)
        .map(|offset| Paid {
            merchant: Some(NASTY.to_owned()),
            currency: Some("EUR\r\nBcc: all@example.org"),
            decision: 2,
            score: Some(0.97),
            ..paid(0, offset, MARCH + offset * HOUR)
        })
        .collect();
    store(&mut client, &rows, &[]).await;
    let said = vigie_report(&config, &["--day", DAY_OF_MARCH, "--send"])
        .await
        .unwrap();
    assert!(
        said.contains("the report on 2026-03-01 is queued as notice "),
        "{said}"
    );
    let notifier = Running::start(&config);
    let is_report = |mail: &String| header(mail, "Subject").contains("Vigie report");
    let mail = eventually_within(LONG, "the report is mailed", async || {
        sink.mails().into_iter().find(is_report)
    })
    .await;
    notifier.stop().await;
    let head = mail.split("\r\n\r\n").next().unwrap();
    assert!(!head.contains("\r\nBcc"), "{head}");
    assert!(mail.contains("Delivered-To: manager@example.org"), "{mail}");
    assert!(mail.contains("flagged-2026-03-01.csv"), "{mail}");
    let body = mail.replace("=\r\n", "");
    assert!(!body.contains("\r\nBcc:"), "{body}");
    let (_, html) = body.split_once("Content-Type: text/html").unwrap();
    let (html, list) = html.split_once("</html>").unwrap();
    assert!(list.contains("HYPERLINK"), "the list goes with it: {list}");
    assert!(!html.contains("<script>"), "{html}");
    assert!(html.contains("&lt;script&gt;"), "{html}");

    let folder = Folder::new(&config);
    let said = vigie_report(&config, &["--day", DAY_OF_MARCH, "--output", folder.path()]).await;
    assert_eq!(said.unwrap().lines().count(), 3);
    let list = folder.read("flagged-2026-03-01.csv");
    assert_eq!(list.lines().count(), 5, "{list}");
    assert!(
        list.contains("\"'=HYPERLINK(") && !list.contains(",=") && !list.contains("\n="),
        "{list}"
    );
    assert!(
        folder
            .read("report-2026-03-01.txt")
            .contains("=HYPERLINK(\"http://x\")")
    );
    assert!(!folder.read("report-2026-03-01.html").contains("<script>"));
}

#[tokio::test]
async fn each_report_is_sent_once_although_two_processes_run_and_one_is_started_again() {
    let (config, client) = reporting(1).await;
    let (one, other) = (Keeper::start(&config), Keeper::start(&config));
    wait_until(
        &client,
        "the report is queued",
        "EXISTS (SELECT FROM reports)",
    )
    .await;
    one_more_round(&client).await;
    one.stop().await;
    // Whichever of them it was: the other takes over, or goes on.
    one_more_round(&client).await;
    other.stop().await;
    let again = Keeper::start(&config);
    one_more_round(&client).await;
    again.stop().await;
    let reports = "SELECT count(*) FROM notices WHERE kind = 'report'";
    assert_eq!(count(&client, reports).await, 1);
    let yesterday = "SELECT count(*) FROM reports WHERE day = (now() AT TIME ZONE 'UTC')::date - 1";
    assert_eq!(count(&client, yesterday).await, 1);
}

#[tokio::test]
async fn after_an_outage_of_weeks_the_last_seven_days_are_reported_and_no_more() {
    let (config, client) = reporting(100).await;
    client
        .batch_execute(
            "WITH n AS (INSERT INTO notices (kind) VALUES ('report') RETURNING id)
             INSERT INTO reports (day, stream, notice_id)
             SELECT (now() AT TIME ZONE 'UTC')::date - 30, 1, id FROM n",
        )
        .await
        .unwrap();
    let keeper = Keeper::start(&config);
    eventually_within(LONG, "yesterday is reported", async || {
        let newest =
            "SELECT count(*) FROM reports WHERE day = (now() AT TIME ZONE 'UTC')::date - 1";
        (count(&client, newest).await == 1).then_some(())
    })
    .await;
    one_more_round(&client).await;
    keeper.stop().await;
    assert_eq!(count(&client, "SELECT count(*) FROM reports").await, 8);
    let recent = "SELECT count(DISTINCT day) FROM reports
                  WHERE day >= (now() AT TIME ZONE 'UTC')::date - 7";
    assert_eq!(count(&client, recent).await, 7);
}

#[tokio::test]
async fn a_report_that_two_make_at_once_is_queued_by_one() {
    let (config, mut client) = stream(1, "UTC").await;
    let report = made(&config, &mut client, DAY_OF_MARCH).await;
    let channels = Channels::of(&config).unwrap();
    let mut other = writer(&config).await;
    let (one, two) = tokio::join!(
        sending::queue_once(&mut client, 1, &report, &channels),
        sending::queue_once(&mut other, 1, &report, &channels),
    );
    let queued = [one.unwrap(), two.unwrap()];
    assert_eq!(queued.iter().flatten().count(), 1, "{queued:?}");
    assert_eq!(count(&client, "SELECT count(*) FROM notices").await, 1);
    assert_eq!(count(&client, "SELECT count(*) FROM attachments").await, 1);
}
