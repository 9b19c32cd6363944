//! Mail servers that misbehave, each in a way that real ones do.

use std::io::{BufRead, BufReader, Write};
use std::net::{TcpListener, TcpStream};

use super::*;
use crate::support::vigie::Place;

/// What stands in the outbox for the first message.
async fn last_error(client: &Client) -> String {
    let first = "SELECT last_error FROM outbox ORDER BY id LIMIT 1";
    client.query_one(first, &[]).await.unwrap().get(0)
}

/// A server that says these lines, one at each connection and one after each line it hears;
/// where they end, it hangs up. Its port.
fn scripted(lines: &'static [&'static str]) -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    std::thread::spawn(move || {
        for socket in listener.incoming() {
            // A client that hangs up early is the client's affair.
            drop(say(&socket.unwrap(), lines));
        }
    });
    port
}

fn say(mut socket: &TcpStream, lines: &[&str]) -> std::io::Result<()> {
    let mut heard = BufReader::new(socket).lines();
    for line in lines {
        socket.write_all(format!("{line}\r\n").as_bytes())?;
        heard.next().transpose()?;
    }
    Ok(())
}

#[tokio::test]
async fn a_mail_that_the_server_took_is_sent_whatever_comes_of_the_goodbye() {
    let sink = Sink::start().await;
    sink.behave("stall-on-quit");
    let (config, client) = config_for(&sink).await;
    let notifier = Running::start(&config);
    raise(&client, 1, 1).await;
    wait_until(&client, "it is marked as sent", ALL_SENT).await;
    raise(&client, 2, 1).await;
    sink.wait_for(2).await;
    wait_until(&client, "so is the next", ALL_SENT).await;
    notifier.stop().await;
    let again = "SELECT count(*) FROM outbox WHERE attempts <> 1";
    assert_eq!(count(&client, again).await, 0);
    assert_eq!(sink.mails().len(), 2);
}

#[tokio::test]
async fn a_refusal_is_one_though_the_goodbye_stalls() {
    let sink = Sink::start().await;
    sink.behave("stall-on-quit");
    let (mut config, client) = config_for(&sink).await;
    config.mail.to = "gone@example.org".into();
    let notifier = Running::start(&config);
    raise(&client, 1, 1).await;
    wait_until(&client, "it is refused", SET_ASIDE).await;
    notifier.stop().await;
    let said = last_error(&client).await;
    let words = "recipient 1 of 1 refused: permanent error (550): 5.1.1 (address) no such user";
    assert_eq!(said, words);
}

#[tokio::test]
async fn one_dead_address_costs_nobody_else_the_mail_and_is_said_without_the_address() {
    let sink = Sink::start().await;
    let place = Place::new("dead-address", 1).await;
    let port = sink.settings().port.to_string();
    let vigie = place.run(&[
        ("VIGIE_MAIL__HOST", "127.0.0.1"),
        ("VIGIE_MAIL__PORT", &port),
        ("VIGIE_MAIL__TLS", "plain"),
        (
            "VIGIE_MAIL__TO",
            "gone@example.org, oncall@example.org, later@example.org",
        ),
    ]);
    let client = place.look().await;
    let stream = "EXISTS (SELECT FROM streams)";
    wait_until(&client, "the stream is known", stream).await;
    raise(&client, 1, 1).await;
    let mail = sink.wait_for(1).await.remove(0);
    assert_eq!(mail.matches("Delivered-To").count(), 1, "{mail}");
    assert_eq!(header(&mail, "Delivered-To"), "oncall@example.org");
    wait_until(&client, "it is marked as sent", ALL_SENT).await;
    for words in [
        "recipient 1 of 3 refused: permanent error (550): 5.1.1 (address) no such user",
        "recipient 3 of 3 put off: transient error (451): 4.2.2 (address) the mailbox is full",
    ] {
        vigie.until_it_says(words).await;
    }
    assert!(!vigie.said().contains("gone@"), "{}", vigie.said());
    assert_eq!(sink.mails().len(), 1);
}

#[tokio::test]
async fn a_mail_that_nobody_gets_now_waits_as_long_as_somebody_may_get_it_later() {
    let sink = Sink::start().await;
    let (mut config, client) = config_for(&sink).await;
    config.mail.to = "gone@example.org, later@example.org".into();
    let notifier = Running::start(&config);
    raise(&client, 1, 1).await;
    wait_until(
        &client,
        "a second attempt after a short pause",
        "EXISTS (SELECT FROM outbox WHERE attempts >= 2 AND refused_at IS NULL
                 AND last_error LIKE '%550%' AND last_error LIKE '%451%')",
    )
    .await;
    notifier.stop().await;
    assert_eq!(sink.mails().len(), 0);
}

#[tokio::test]
async fn a_server_that_keeps_every_mail_and_never_says_so_repeats_few_and_holds_back_none() {
    for mode in ["drop-after-data", "stall-after-data"] {
        let sink = Sink::start().await;
        sink.behave(mode);
        let (config, client) = config_for(&sink).await;
        let notifier = Running::start(&config);
        raise(&client, 1, 1).await;
        wait_until(&client, "it may have arrived", SET_ASIDE).await;
        // As if half a minute had passed: on-call hears of what is new all the same.
        let age = "UPDATE outbox SET refused_at = refused_at - interval '1 min'";
        client.execute(age, &[]).await.unwrap();
        raise(&client, 2, 1).await;
        sink.wait_for(2).await;
        let both = "2 = (SELECT count(*) FROM outbox WHERE refused_at IS NOT NULL AND attempts = 1
                         AND next_attempt_at - now() BETWEEN interval '20 s' AND interval '1 min')";
        wait_until(&client, "both wait for about a minute", both).await;
        client
            .execute(
                "UPDATE outbox SET next_attempt_at = now() WHERE id = 1",
                &[],
            )
            .await
            .unwrap();
        let longer = "EXISTS (SELECT FROM outbox WHERE id = 1 AND attempts = 2
                              AND next_attempt_at > now() + interval '2 min')";
        wait_until(&client, "the next pause is longer", longer).await;
        notifier.stop().await;
        let mails = sink.mails();
        let id = |mail: &String| header(mail, "Message-ID");
        assert_eq!(mails.len(), 3, "{mode}: {mails:?}");
        assert_eq!(id(&mails[0]), id(&mails[2]), "{mode}");
        assert_ne!(id(&mails[0]), id(&mails[1]), "{mode}");
    }
}

#[tokio::test]
async fn a_wrong_password_is_said_and_not_shown() {
    let password = std::env::temp_dir().join(format!("vigie-wrong-{}", std::process::id()));
    std::fs::write(&password, "right").unwrap();
    let login = [
        "--user",
        "vigie",
        "--password-file",
        password.to_str().unwrap(),
    ];
    let sink = Sink::start_with_tls("tls", &login).await;
    // The last two repeat the password: as it is, and as AUTH PLAIN sends it.
    let ports = [
        sink.settings().port,
        scripted(&[
            "220 hi",
            "250-hi\r\n250 AUTH PLAIN LOGIN",
            "535 5.7.8 no: hunter2secret",
        ]),
        scripted(&[
            "220 hi",
            "250-hi\r\n250 AUTH PLAIN LOGIN",
            "535 5.7.8 no: AHZpZ2llAGh1bnRlcjJzZWNyZXQ=",
        ]),
    ];
    for (number, port) in ports.into_iter().enumerate() {
        let (mut config, client) = config_for(&sink).await;
        config.mail.port = port;
        if number == 0 {
            config.mail.tls = MailTls::Tls;
            config.mail.ca_file = authority();
        }
        config.mail.user = "vigie".into();
        config.mail.password = "hunter2secret".to_owned().into();
        let notifier = Running::start(&config);
        raise(&client, 1, 1).await;
        let said = "EXISTS (SELECT FROM outbox WHERE last_error LIKE
                    'login refused, check mail.user and mail.password_file: %535%')";
        wait_until(&client, "it says what to look at", said).await;
        notifier.stop().await;
        let said = last_error(&client).await;
        assert!(
            !said.contains("hunter2") && !said.contains("AHZp"),
            "{said}"
        );
    }
    std::fs::remove_file(password).unwrap();
}

#[tokio::test]
async fn a_server_that_is_busy_or_hangs_up_is_tried_again_soon() {
    let sink = Sink::start().await;
    for lines in [
        &["421 4.3.2 too busy"] as &'static [_],
        &["554 no service"],
        &["220 hi", "500 what?", "221 bye"],
        &["220 hi", "250 hi", "451 4.3.0 not now"],
        &["220 hi", "250 hi", "250 ok", "250 ok", "421 4.3.2 closing"],
        &["what is this"],
    ] {
        let (mut config, client) = config_for(&sink).await;
        config.mail.port = scripted(lines);
        let notifier = Running::start(&config);
        raise(&client, 1, 1).await;
        let again = "EXISTS (SELECT FROM outbox WHERE attempts >= 2 AND refused_at IS NULL
                             AND next_attempt_at < now() + interval '10 s')";
        wait_until(&client, "a second attempt after a short pause", again).await;
        notifier.stop().await;
    }
    assert_eq!(sink.mails().len(), 0);
}

#[tokio::test]
async fn a_server_that_says_a_line_without_end_is_not_listened_to_for_long() {
    let sink = Sink::start().await;
    let (mut config, client) = config_for(&sink).await;
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    config.mail.port = listener.local_addr().unwrap().port();
    // It must be given up for its length, not for its duration.
    config.mail.timeout = Duration::from_secs(600);
    let said = std::thread::spawn(move || {
        let (mut socket, _) = listener.accept().unwrap();
        let said = (0..64u32).take_while(|_| socket.write_all(&[b'2'; 1 << 20]).is_ok());
        said.count()
    });
    let notifier = Running::start(&config);
    raise(&client, 1, 1).await;
    let given_up = "EXISTS (SELECT FROM outbox WHERE last_error LIKE '%says more than%')";
    wait_until(&client, "it is given up", given_up).await;
    notifier.stop().await;
    assert!(said.join().unwrap() < 64);
}
