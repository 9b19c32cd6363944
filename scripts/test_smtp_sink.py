#!/usr/bin/env python3
"""The SMTP sink, spoken to as a mail program speaks to it: a process of its own, real sockets, real TLS."""

import smtplib
import socket
import ssl
import subprocess
import sys
import tempfile
import time
import unittest
from pathlib import Path

SINK = Path(__file__).with_name("smtp_sink.py")
MAIL = "From: vigie@example.test\r\nTo: desk@example.test\r\nMessage-ID: <alert/7@vigie>\r\n\r\nbody\r\n"
DEADLINE = 20.0


class SinkTest(unittest.TestCase):
    def setUp(self) -> None:
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        self.folder = Path(folder.name)
        self.mails = self.folder / "mails"
        self.mode_file = self.folder / "mode"

    def start(self, *options: object) -> int:
        """Starts a sink and returns its port; it ends with the test."""
        port_file = self.folder / "port"
        port_file.unlink(missing_ok=True)
        command = [sys.executable, SINK, "--port-file", port_file, "--dir", self.mails, "--mode-file", self.mode_file]
        self.sink = subprocess.Popen([*command, *options], stdout=subprocess.DEVNULL)
        self.addCleanup(self.stop, self.sink)
        deadline = time.monotonic() + DEADLINE
        while not port_file.exists():
            self.assertIsNone(self.sink.poll(), "the sink ended while starting")
            self.assertLess(time.monotonic(), deadline, "the sink did not open its port in time")
            time.sleep(0.02)
        return int(port_file.read_text())

    @staticmethod
    def stop(sink: subprocess.Popen) -> None:
        sink.terminate()
        sink.wait(DEADLINE)

    def connect(self, port: int) -> smtplib.SMTP:
        client = smtplib.SMTP("127.0.0.1", port, timeout=DEADLINE)
        self.addCleanup(client.close)
        return client

    def send(self, client: smtplib.SMTP) -> None:
        client.sendmail("vigie@example.test", ["desk@example.test", "boss@example.test"], MAIL)

    def kept(self) -> list[str]:
        return sorted(mail.name for mail in self.mails.iterdir())

    def certificate(self) -> list[object]:
        certificate, key = self.folder / "cert.pem", self.folder / "key.pem"
        subprocess.run(["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "1", "-subj", "/CN=localhost",
                        "-addext", "subjectAltName=DNS:localhost,IP:127.0.0.1", "-keyout", key, "-out", certificate],
                       check=True, capture_output=True)
        self.trusted = ssl.create_default_context(cafile=certificate)
        return ["--cert", certificate, "--key", key]

    def test_accepted_mail_is_a_file_with_its_envelope(self) -> None:
        self.send(self.connect(self.start()))
        self.assertEqual(self.kept(), ["000001-alert_7@vigie.eml"])
        kept = (self.mails / self.kept()[0]).read_bytes().decode()
        envelope = "Return-Path: <vigie@example.test>\r\nDelivered-To: desk@example.test\r\nDelivered-To: boss@example.test\r\n"
        self.assertEqual(kept, envelope + MAIL)

    def test_numbers_go_on_after_a_restart(self) -> None:
        self.send(self.connect(self.start()))
        self.stop(self.sink)
        self.send(self.connect(self.start()))
        self.assertEqual(self.kept(), ["000001-alert_7@vigie.eml", "000002-alert_7@vigie.eml"])

    def test_refuse_turns_new_and_open_connections_away(self) -> None:
        port = self.start()
        opened = self.connect(port)
        self.mode_file.write_text("refuse")
        with self.assertRaises(smtplib.SMTPConnectError) as refused:
            self.connect(port)
        self.assertEqual(refused.exception.smtp_code, 554)
        with self.assertRaises(smtplib.SMTPSenderRefused) as shut:
            self.send(opened)
        self.assertEqual(shut.exception.smtp_code, 421)
        self.assertEqual(self.kept(), [])

    def test_tempfail_answers_451_until_the_mode_changes(self) -> None:
        client = self.connect(self.start())
        self.mode_file.write_text("tempfail")
        with self.assertRaises(smtplib.SMTPRecipientsRefused) as refused:
            self.send(client)
        self.assertEqual({code for code, _ in refused.exception.recipients.values()}, {451})
        self.mode_file.write_text("accept")
        self.send(client)
        self.assertEqual(len(self.kept()), 1)

    def test_stall_answers_nobody_and_holds_nobody_else_up(self) -> None:
        port = self.start()
        self.mode_file.write_text("stall")
        with socket.create_connection(("127.0.0.1", port), timeout=0.5) as silent:
            with self.assertRaises(TimeoutError):
                silent.recv(1)
            self.mode_file.write_text("accept")
            self.send(self.connect(port))
        self.assertEqual(len(self.kept()), 1)

    def test_drop_after_data_keeps_the_mail_and_breaks_the_connection(self) -> None:
        client = self.connect(self.start())
        self.mode_file.write_text("drop-after-data")
        with self.assertRaises((smtplib.SMTPServerDisconnected, ConnectionResetError)):
            self.send(client)
        self.assertEqual(len(self.kept()), 1)

    def test_stall_after_data_keeps_the_mail_and_does_not_say_so(self) -> None:
        client = self.connect(self.start())
        self.mode_file.write_text("stall-after-data")
        client.sock.settimeout(0.5)
        with self.assertRaises(smtplib.SMTPServerDisconnected):
            self.send(client)
        self.assertEqual(len(self.kept()), 1)

    def test_stall_on_quit_takes_the_mail_and_answers_no_goodbye(self) -> None:
        client = self.connect(self.start())
        self.mode_file.write_text("stall-on-quit")
        self.send(client)
        client.sock.settimeout(0.5)
        with self.assertRaises(smtplib.SMTPServerDisconnected):
            client.quit()
        self.assertEqual(len(self.kept()), 1)

    def test_some_recipients_are_refused_in_every_mode_and_the_others_get_the_mail(self) -> None:
        client = self.connect(self.start())
        everybody = ["desk@example.test", "gone@example.test", "later@example.test"]
        refused = client.sendmail("vigie@example.test", everybody, MAIL)
        self.assertEqual({name: code for name, (code, _) in refused.items()}, {everybody[1]: 550, everybody[2]: 451})
        kept = (self.mails / self.kept()[0]).read_text()
        self.assertEqual(kept.count("Delivered-To"), 1)

    def test_starttls_is_required_and_works(self) -> None:
        client = self.connect(self.start("--tls", "starttls", *self.certificate()))
        with self.assertRaises(smtplib.SMTPSenderRefused):
            self.send(client)
        client.starttls(context=self.trusted)
        self.send(client)
        self.assertEqual(len(self.kept()), 1)

    def test_tls_from_the_first_byte_works(self) -> None:
        port = self.start("--tls", "tls", *self.certificate())
        client = smtplib.SMTP_SSL("127.0.0.1", port, timeout=DEADLINE, context=self.trusted)
        self.addCleanup(client.close)
        self.send(client)
        self.assertEqual(len(self.kept()), 1)

    def test_only_the_right_password_is_let_in(self) -> None:
        for tls in ("none", "tls"):
            with self.subTest(tls=tls):
                password = self.folder / "password"
                password.write_text("right\n")
                options = ["--user", "vigie", "--password-file", password]
                options += ["--tls", tls, *self.certificate()] if tls == "tls" else []
                port = self.start(*options)
                client = smtplib.SMTP_SSL("127.0.0.1", port, timeout=DEADLINE, context=self.trusted) if tls == "tls" else self.connect(port)
                self.addCleanup(client.close)
                before = len(self.kept())
                with self.assertRaises(smtplib.SMTPSenderRefused):
                    self.send(client)
                with self.assertRaises(smtplib.SMTPAuthenticationError):
                    client.login("vigie", "wrong")
                client.login("vigie", "right")
                self.send(client)
                self.assertEqual(len(self.kept()), before + 1)


if __name__ == "__main__":
    unittest.main(verbosity=2)
