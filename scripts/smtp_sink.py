#!/usr/bin/env python3
"""A real SMTP server that keeps every mail it accepts as a file, and misbehaves when told to.

Each mail becomes DIR/NNNNNN-<message-id>.eml, whole from the moment it is visible; the envelope is kept as the
headers Return-Path and Delivered-To. The word in --mode-file is read again at every connection and command:

  accept           (default) keeps the mail and says so
  refuse           no service: 554 on connecting, 421 on connections that are already open
  tempfail         451 on every recipient
  stall            never answers
  drop-after-data  keeps the mail, then breaks the connection before saying so
  stall-after-data keeps the mail, and never says so
  stall-on-quit    never answers a goodbye

In every mode, recipients whose name begins with "gone" are refused for good (550), and "later" for now (451).
"""

import argparse
import asyncio
import email
import email.policy
import logging
import os
import re
import signal
import ssl
import sys
import warnings
from pathlib import Path

from aiosmtpd.smtp import SMTP, AuthResult, Envelope, LoginPassword, Session

MODES = ("accept", "refuse", "tempfail", "stall", "drop-after-data", "stall-after-data", "stall-on-quit")
LARGEST_MAIL = 32 * 1024 * 1024
SHUT = "421 no service now, closing the connection"


class Mode:
    """How to behave right now: the word in a file that somebody else may rewrite at any moment."""

    def __init__(self, file: Path | None) -> None:
        self.file = file

    def now(self) -> str:
        word = self.file.read_text().strip() if self.file and self.file.exists() else ""
        # An empty file is one that is being rewritten, or was never meant to change anything.
        if word and word not in MODES:
            print(f"unknown mode {word!r} in {self.file}; behaving as 'accept'", file=sys.stderr, flush=True)
        return word if word in MODES else "accept"


class MailFolder:
    """Accepted mails, numbered in the order of their arrival, across restarts."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        folder.mkdir(parents=True, exist_ok=True)
        numbers = [int(mail.name[:6]) for mail in folder.glob("[0-9]" * 6 + "-*.eml")]
        self.last = max(numbers, default=0)

    def keep(self, envelope: Envelope) -> Path:
        content = envelope.original_content or b""
        headers = email.message_from_bytes(content, policy=email.policy.compat32)
        message_id = re.sub(r"[^A-Za-z0-9.@_-]+", "_", str(headers["Message-ID"] or "none").strip(" <>"))
        self.last += 1
        mail = self.folder / f"{self.last:06d}-{message_id[:120]}.eml"
        unfinished = self.folder / f".{mail.name}.part"
        envelope_headers = [f"Return-Path: <{envelope.mail_from}>"]
        envelope_headers += [f"Delivered-To: {recipient}" for recipient in envelope.rcpt_tos]
        with unfinished.open("wb") as file:
            file.write("".join(f"{header}\r\n" for header in envelope_headers).encode())
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        unfinished.rename(mail)
        return mail


class Sink(SMTP):
    """One connection. aiosmtpd calls the `handle_` methods; what they return is the answer."""

    def __init__(self, mails: MailFolder, mode: Mode, **settings: object) -> None:
        super().__init__(self, data_size_limit=LARGEST_MAIL, enable_SMTPUTF8=True, hostname="localhost",
                         ident="Vigie mail sink", timeout=3600, **settings)
        self.mails = mails
        self.mode = mode

    async def _handle_client(self) -> None:
        # The greeting comes before the first hook, so this one method of aiosmtpd is wrapped.
        match self.mode.now():
            case "refuse":
                await self.push("554 no service here")
                self.transport.close()
            case "stall":
                await never()
            case _:
                await super()._handle_client()

    async def in_mode(self) -> str:
        """The mode, unless it is to stay silent, which lasts until the client hangs up."""
        mode = self.mode.now()
        if mode == "stall":
            await never()
        return mode

    async def handle_MAIL(self, _server: SMTP, _session: Session, envelope: Envelope, address: str,
                          options: list[str]) -> str:
        if await self.in_mode() == "refuse":
            return SHUT
        envelope.mail_from = address
        envelope.mail_options.extend(options)
        return "250 OK"

    async def handle_RCPT(self, _server: SMTP, _session: Session, envelope: Envelope, address: str,
                          options: list[str]) -> str:
        match await self.in_mode():
            case "refuse":
                return SHUT
            case "tempfail":
                return "451 try again later"
        if address.startswith("gone"):
            return f"550 5.1.1 <{address}>: no such user"
        if address.startswith("later"):
            return f"451 4.2.2 <{address}>: the mailbox is full"
        envelope.rcpt_tos.append(address)
        envelope.rcpt_options.extend(options)
        return "250 OK"

    async def handle_DATA(self, _server: SMTP, _session: Session, envelope: Envelope) -> str:
        mode = await self.in_mode()
        if mode == "refuse":
            return SHUT
        mail = self.mails.keep(envelope)
        print(f"kept {mail.name}", flush=True)
        if mode == "drop-after-data":
            self.transport.abort()
            await never()
        if mode == "stall-after-data":
            await never()
        return f"250 OK kept as {mail.name[:6]}"

    async def handle_QUIT(self, _server: SMTP, _session: Session, _envelope: Envelope) -> str:
        if await self.in_mode() == "stall-on-quit":
            await never()
        return "221 Bye"

    async def push(self, status: str | bytes) -> None:
        await super().push(status)
        if status == SHUT:
            self.transport.close()


async def never() -> None:
    """Waits for ever; ends when the connection does."""
    await asyncio.Event().wait()


def login(user: str, password_file: Path):
    """Checks AUTH PLAIN and LOGIN against one user."""
    def authenticate(_server: SMTP, _session: Session, _envelope: Envelope, _mechanism: str, given: object) -> AuthResult:
        wanted = LoginPassword(user.encode(), password_file.read_text().strip().encode())
        return AuthResult(success=given == wanted, handled=False)
    return authenticate


async def serve(arguments: argparse.Namespace) -> None:
    # On the loopback a password without TLS is what was asked for; the library would complain at every connection.
    warnings.filterwarnings("ignore", module="aiosmtpd")
    logging.getLogger("mail.log").setLevel(logging.ERROR)
    mails, mode = MailFolder(arguments.dir), Mode(arguments.mode_file)
    settings: dict[str, object] = {}
    tls = None
    if arguments.tls != "none":
        tls = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
        tls.load_cert_chain(arguments.cert, arguments.key)
    if arguments.tls == "starttls":
        settings |= {"tls_context": tls, "require_starttls": True}
    if arguments.user:
        settings |= {"authenticator": login(arguments.user, arguments.password_file), "auth_required": True,
                     "auth_require_tls": arguments.tls == "starttls"}
    loop = asyncio.get_running_loop()
    server = await loop.create_server(lambda: Sink(mails, mode, loop=loop, **settings), arguments.host, arguments.port,
                                      ssl=tls if arguments.tls == "tls" else None)
    port = server.sockets[0].getsockname()[1]
    if arguments.port_file:
        unfinished = arguments.port_file.with_name(arguments.port_file.name + ".part")
        unfinished.write_text(f"{port}\n")
        unfinished.rename(arguments.port_file)
    print(f"listening on {arguments.host}:{port}", flush=True)
    ended = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, ended.set)
    await ended.wait()
    server.close()


def parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--host", default="127.0.0.1")
    parser.add_argument("--port", type=int, default=0, help="0 (default): a free one, printed and in --port-file")
    parser.add_argument("--port-file", type=Path, help="where the port is written once it is open")
    parser.add_argument("--dir", type=Path, required=True, help="where the mails go")
    parser.add_argument("--mode-file", type=Path)
    parser.add_argument("--tls", choices=("none", "starttls", "tls"), default="none")
    parser.add_argument("--cert", type=Path)
    parser.add_argument("--key", type=Path)
    parser.add_argument("--user", help="asks for AUTH as this user")
    parser.add_argument("--password-file", type=Path)
    arguments = parser.parse_args()
    if arguments.tls != "none" and not (arguments.cert and arguments.key):
        parser.error("--tls needs --cert and --key")
    if bool(arguments.user) != bool(arguments.password_file):
        parser.error("--user and --password-file go together")
    return arguments


if __name__ == "__main__":
    asyncio.run(serve(parse()))
