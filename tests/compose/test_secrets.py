"""The script makes exactly the secrets that docker-compose.yml mounts, and makes them once."""

import os
import stat
import subprocess
from pathlib import Path
from shutil import which

import pytest

from vigie_compose import ROOT
from vigie_compose.project import Project

PEMS = {"database_ca.pem", "database_cert.pem", "database_key.pem"}


def make(folder: Path) -> dict[str, str]:
    """Runs the script; what each file holds afterwards."""
    subprocess.run([ROOT / "scripts/make_secrets.sh", folder], check=True, stdout=subprocess.DEVNULL)
    return {file.name: file.read_text() for file in folder.iterdir()}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path / "secrets"


def test_every_secret_of_the_compose_file_is_made_and_no_other(folder: Path) -> None:
    made = make(folder)
    assert made.keys() == Project.of_root().compose.section("secrets").keys()
    assert len(made["token_key"]) == 64
    passwords = [text for name, text in made.items() if name not in PEMS]
    assert len(set(passwords)) == len(passwords)
    assert all(len(password) >= 48 for password in passwords)


def test_only_the_owner_gets_in_and_whoever_is_in_may_read(folder: Path) -> None:
    make(folder)
    assert stat.S_IMODE(folder.stat().st_mode) == 0o700
    assert {stat.S_IMODE(file.stat().st_mode) for file in folder.iterdir()} == {0o444}


def test_what_is_there_stays_and_what_was_removed_is_made_anew(folder: Path) -> None:
    first = make(folder)
    assert make(folder) == first
    (folder / "writer_password").unlink()
    (folder / "database_key.pem").unlink()
    again = make(folder)
    assert {name for name in first if again[name] != first[name]} == {"writer_password", *PEMS}


def test_when_openssl_fails_its_words_are_seen_and_no_key_is_left_behind(folder: Path, tmp_path: Path) -> None:
    failing = tmp_path / "bin/openssl"
    failing.parent.mkdir()
    # The real one, as far as the signing.
    failing.write_text(
        f'#!/bin/sh\n[ "$1" != x509 ] || {{ echo no entropy >&2; exit 1; }}\nexec {which("openssl")} "$@"\n'
    )
    failing.chmod(0o755)
    environment = os.environ | {"PATH": f"{failing.parent}:{os.environ['PATH']}"}
    done = subprocess.run(
        [ROOT / "scripts/make_secrets.sh", folder],
        env=environment,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
        check=False,
    )
    assert done.returncode != 0
    assert "no entropy" in done.stderr
    assert not any(file.is_dir() for file in folder.iterdir())


def test_the_certificate_is_the_database_s_and_its_authority_can_sign_no_other(folder: Path) -> None:
    made = make(folder)
    verify = ["openssl", "verify", "-purpose", "sslserver", "-verify_hostname", "postgres"]
    command = [*verify, "-CAfile", str(folder / "database_ca.pem"), str(folder / "database_cert.pem")]
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
    keys = [name for name, text in made.items() if "PRIVATE KEY" in text]
    assert keys == ["database_key.pem"]
    public = ["openssl", "pkey", "-pubout", "-in", str(folder / "database_key.pem")]
    of_key = subprocess.run(public, check=True, stdout=subprocess.PIPE).stdout
    public = ["openssl", "x509", "-pubkey", "-noout", "-in", str(folder / "database_cert.pem")]
    assert subprocess.run(public, check=True, stdout=subprocess.PIPE).stdout == of_key
