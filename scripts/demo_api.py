#!/usr/bin/env python3
"""Imitates the public demo API of card payments byte for byte: docs/demo-api.md. Standard library only.

GET /current-transactions answers one random row of a CSV in the layout of models/card/payments.csv.zst (a name ending
in .zst is unpacked by the program `zstd`): a JSON string that holds the "split" JSON of pandas. The word in --mode-file
is read again at every request:

  normal        (default) a random row, current_time is now
  same          the first row for ever, with the first current_time
  object        the table itself instead of a string that holds it
  reordered     the columns in another order, and one more; three rows
  empty         no row
  html200       a page of HTML with 200
  html503       a page of HTML with 503, as a sleeping host sends it
  half          the length of the whole body, but half of it, then the connection breaks
  cut           half of the body as if it were all
  wrong-type    a list where the table should be
  wrong-value   a text where the amount should be
  short-row     a row that lacks its last value
  redirect      302 to another address
  large         a body of 8 MiB
  slow          nothing for --delay seconds, then a row
"""

import argparse
import csv
import io
import json
import random
import signal
import ssl
import subprocess
import sys
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

PATH = "/current-transactions"
COLUMNS = ["cc_num", "merchant", "category", "amt", "first", "last", "gender", "street", "city", "state", "zip", "lat", "long",
           "city_pop", "job", "dob", "trans_num", "merch_lat", "merch_long", "is_fraud"]
WHOLE = {"cc_num", "zip", "city_pop", "is_fraud"}
DECIMAL = {"amt", "lat", "long", "merch_lat", "merch_long"}
MODES = ("normal", "same", "object", "reordered", "empty", "html200", "html503", "half", "cut", "wrong-type", "wrong-value",
         "short-row", "redirect", "large", "slow")
PAGE = b"<!DOCTYPE html>\n<html><head><title>Application error</title></head><body><p>Starting up</p></body></html>\n"

Cell = int | float | str


def cell(column: str, text: str) -> Cell:
    """The value as pandas reads it from the CSV."""
    if column in WHOLE:
        return int(text)
    return float(text) if column in DECIMAL else text


def read_rows(file: Path) -> list[list[Cell]]:
    """Every row, in the API's order of columns."""
    if file.suffix == ".zst":
        text = subprocess.run(["zstd", "-dcq", file], check=True, capture_output=True).stdout.decode()
    else:
        text = file.read_text()
    rows = [[cell(column, row[column]) for column in COLUMNS] for row in csv.DictReader(io.StringIO(text))]
    if not rows:
        raise SystemExit(f"{file} holds no row")
    return rows


def split_json(columns: list[str], index: list[int], data: list[list[Cell]]) -> str:
    """What pandas.DataFrame.to_json(orient="split") writes: no spaces, ASCII, slashes escaped, at most ten decimals."""
    def rounded(value: Cell) -> Cell:
        return round(value, 10) if isinstance(value, float) else value
    table = {"columns": columns, "index": index, "data": [[rounded(value) for value in row] for row in data]}
    return json.dumps(table, separators=(",", ":")).replace("/", "\\/")


class Rows:
    """The table and the state between two requests."""

    def __init__(self, rows: list[list[Cell]], seed: int | None) -> None:
        self.rows = rows
        self.random = random.Random(seed)
        self.lock = threading.Lock()
        self.first_time = 0

    def document(self, mode: str) -> str:
        """The inner JSON for one call."""
        now = time.time_ns() // 1_000_000
        columns = [*COLUMNS, "current_time"]
        with self.lock:
            self.first_time = self.first_time or now
            index = [0] if mode == "same" else [self.random.randrange(len(self.rows))]
            if mode == "reordered":
                index = self.random.sample(range(len(self.rows)), 3)
        moment = self.first_time if mode == "same" else now
        data = [[*self.rows[number], moment] for number in index]
        match mode:
            case "empty":
                index, data = [], []
            case "reordered":
                columns = ["note", *reversed(columns)]
                data = [["a/b", *reversed(row)] for row in data]
            case "wrong-value":
                data[0][COLUMNS.index("amt")] = "much"
            case "short-row":
                data[0].pop()
            case "wrong-type":
                return json.dumps(data[0][:2])
        return split_json(columns, index, data)


class Api(ThreadingHTTPServer):
    """The server; every request looks up how to behave."""

    daemon_threads = True

    def __init__(self, address: tuple[str, int], rows: Rows, mode_file: Path | None, delay: float) -> None:
        super().__init__(address, Call)
        self.rows = rows
        self.mode_file = mode_file
        self.delay = delay
        self.ended = threading.Event()

    def handle_error(self, request: object, client_address: object) -> None:
        """A client that hangs up, or does not trust the certificate, is no matter for the server's log."""
        if not isinstance(sys.exception(), OSError):
            super().handle_error(request, client_address)

    def mode(self) -> str:
        word = self.mode_file.read_text().strip() if self.mode_file and self.mode_file.exists() else ""
        if word and word not in MODES:
            print(f"unknown mode {word!r} in {self.mode_file}; behaving as 'normal'", file=sys.stderr, flush=True)
        return word if word in MODES else "normal"


class Call(BaseHTTPRequestHandler):
    """One connection."""

    protocol_version = "HTTP/1.1"
    server_version = "uvicorn"
    sys_version = ""
    server: Api

    def do_GET(self) -> None:
        if self.path.split("?")[0] != PATH:
            return self.answer(404, "application/json", b'{"detail":"Not Found"}')
        mode = self.server.mode()
        if mode == "slow":
            self.server.ended.wait(self.server.delay)
        if mode in ("html200", "html503"):
            return self.answer(int(mode[4:]), "text/html; charset=utf-8", PAGE)
        if mode == "redirect":
            return self.answer(302, "application/json", b"", {"Location": "http://127.0.0.1:9/elsewhere"})
        if mode == "large":
            return self.answer(200, "application/json", b'"' + b" " * (8 << 20) + b'"')
        document = self.server.rows.document(mode)
        whole = mode == "object"
        body = (document if whole else json.dumps(document, ensure_ascii=False)).encode()
        if mode == "cut":
            body = body[: len(body) // 2]
        self.answer(200, "application/json", body, half=mode == "half")

    def answer(self, status: int, kind: str, body: bytes, headers: dict[str, str] | None = None, half: bool = False) -> None:
        self.send_response(status)
        self.send_header("Content-Length", str(len(body)))
        self.send_header("Content-Type", kind)
        for name, value in (headers or {}).items():
            self.send_header(name, value)
        self.end_headers()
        try:
            self.wfile.write(body[: len(body) // 2] if half else body)
        except ConnectionError:
            self.close_connection = True
        if half:
            self.close_connection = True

    def log_message(self, _form: str, *_values: object) -> None:
        """Quiet: who polls says what happened."""


def parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", type=Path, required=True, help="CSV with the rows to draw from")
    parser.add_argument("--host", default="127.0.0.1")
    parser.add_argument("--port", type=int, default=0, help="0 (default): a free one, printed and in --port-file")
    parser.add_argument("--port-file", type=Path, help="where the port is written once it is open")
    parser.add_argument("--mode-file", type=Path)
    parser.add_argument("--delay", type=float, default=60.0, help="seconds of silence in the mode slow")
    parser.add_argument("--cert", type=Path, help="with --key: answers over TLS")
    parser.add_argument("--key", type=Path)
    parser.add_argument("--seed", type=int, help="makes the choice of rows repeatable")
    return parser.parse_args()


def main() -> None:
    arguments = parse()
    rows = Rows(read_rows(arguments.rows), arguments.seed)
    api = Api((arguments.host, arguments.port), rows, arguments.mode_file, arguments.delay)
    if arguments.cert:
        tls = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
        tls.load_cert_chain(arguments.cert, arguments.key)
        api.socket = tls.wrap_socket(api.socket, server_side=True, do_handshake_on_connect=False)
    port = api.server_address[1]
    if arguments.port_file:
        unfinished = arguments.port_file.with_name(arguments.port_file.name + ".part")
        unfinished.write_text(f"{port}\n")
        unfinished.rename(arguments.port_file)
    scheme = "https" if arguments.cert else "http"
    print(f"listening on {scheme}://{arguments.host}:{port}{PATH}", flush=True)

    def stop(*_: object) -> None:
        api.ended.set()
        threading.Thread(target=api.shutdown).start()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, stop)
    api.serve_forever(poll_interval=0.1)


if __name__ == "__main__":
    main()
