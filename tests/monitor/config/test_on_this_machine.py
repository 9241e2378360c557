"""What a sound configuration asks for and this machine does not have."""

from __future__ import annotations

import pytest

from monitor.config import parse_config
from monitor.config.on_this_machine import missing_here, written_inside_a_source

SERVER = "server: mail.example.org"


def missing(folder, text):
    return missing_here(parse_config(text, where=folder / "config.yaml"))


@pytest.fixture
def folder(tmp_path):
    """A file each that is good, empty, and no text; a folder that holds no model."""
    (tmp_path / "secret").write_text("open sesame\n")
    (tmp_path / "empty").write_text("\n")
    (tmp_path / "binary").write_bytes(b"\xff\xfe")
    (tmp_path / "bare").mkdir()
    return tmp_path


CASES = {
    "a model that is not there": (
        "segmentation: {model: ours}",
        "segmentation.model: {}/ours is not a folder; give the folder of a model",
    ),
    "a model that is a file": (
        "segmentation: {model: secret}",
        "segmentation.model: {}/secret is not a folder",
    ),
    "a folder that is not a model": (
        "segmentation: {model: bare}",
        "segmentation.model: {}/bare holds no manifest.json",
    ),
    "a password file that is not there": (
        f"outlets: {{email: {{{SERVER}, username: u, password_file: nowhere, recipients: [a@b]}}}}",
        "outlets.email.password_file: {}/nowhere cannot be read (No such file or directory)",
    ),
    "a password file that is a folder": (
        f"outlets: {{email: {{{SERVER}, username: u, password_file: bare, recipients: [a@b]}}}}",
        "outlets.email.password_file: {}/bare cannot be read (Is a directory)",
    ),
    "an empty password file": (
        f"outlets: {{email: {{{SERVER}, username: u, password_file: empty, recipients: [a@b]}}}}",
        "outlets.email.password_file: {}/empty is empty",
    ),
    "a secret that is no text": (
        "outlets: {check_in: {url_file: binary}}",
        "outlets.check_in.url_file: {}/binary is not UTF-8 text",
    ),
    "a channel's address that is not there": (
        "outlets: {channels: [{name: c, url_file: nowhere}]}",
        "outlets.channels[0].url_file: {}/nowhere cannot be read",
    ),
    "a server and nobody named": (
        f"outlets: {{email: {{{SERVER}}}}}",
        "outlets.email.recipients: is not set, so alerts would go to culture-room@localhost",
    ),
    "nobody at all": (
        "{sources: [{name: a, path: in}], outlets: {email: {recipients: []}}}",
        "outlets.email.recipients: nobody gets the alerts of sources[0] (a)",
    ),
    "nobody for one of two sources": (
        "{sources: [{name: a, path: in}, {name: b, path: there}], "
        "outlets: {email: {recipients: [{address: x@y, sources: [a]}]}}}",
        "outlets.email.recipients: nobody gets the alerts of sources[1] (b)",
    ),
    "a source that is a file": (
        "sources: [{name: a, path: secret}]",
        "sources[0].path: {}/secret is not a folder",
    ),
    "a record inside a source": (
        "{sources: [{name: a, path: .}], record: {folder: state}}",
        "record.folder: {}/state is inside sources[0].path ({})",
    ),
    "a record that is a source": (
        "{sources: [{name: x, path: there}, {name: a, path: bare}], record: {folder: bare}}",
        "record.folder: {}/bare is inside sources[1].path",
    ),
    "a record inside a source, by a detour": (
        "{sources: [{name: a, path: bare}], record: {folder: there/../bare/state}}",
        "record.folder: {}/there/../bare/state is inside sources[0].path",
    ),
    "the picker's folder inside a source": (
        "{sources: [{name: a, path: in}], outlets: {removal: {folder: in/plans}}}",
        "outlets.removal.folder: {}/in/plans is inside sources[0].path",
    ),
    "a mailbox inside a source": (
        "{sources: [{name: a, path: in}], outlets: {email: {mailbox: in/mails}}}",
        "outlets.email.mailbox: {}/in/mails is inside sources[0].path",
    ),
    "a database inside a source": (
        "{sources: [{name: a, path: in}], record: {database: 'sqlite:///in/a.sqlite?timeout=5'}}",
        "record.database: {}/in/a.sqlite is inside sources[0].path",
    ),
}


@pytest.mark.parametrize("case", CASES)
def test_what_is_missing_is_said_with_its_key(case, folder):
    text, says = CASES[case]
    (line,) = missing(folder, text)
    assert line.startswith(says.replace("{}", str(folder)))


def test_a_link_into_a_source_is_inside_of_it(folder):
    (folder / "in").mkdir()
    (folder / "state").symlink_to(folder / "in")
    (line,) = missing(folder, "{sources: [{name: a, path: in}], record: {folder: state}}")
    assert line.startswith("record.folder: ")


@pytest.mark.parametrize(
    "text",
    [
        "",
        "sources: [{name: a, path: comes-later}]",
        "{sources: [{name: a, path: state/captures}], record: {folder: state}}",
        f"outlets: {{email: {{{SERVER}, username: u, password_file: secret, recipients: [a@b]}}}}",
        "{sources: [{name: a, path: in}], record: {database: 'postgresql://host/name'}}",
    ],
    ids=["defaults", "a share", "captures beside the record", "a whole mail section", "a server"],
)
def test_what_is_all_right_is_not_complained_of(text, folder):
    assert missing(folder, text) == []


def test_a_source_whose_name_begins_like_the_records_folder_is_another_folder(folder):
    config = parse_config(
        "{sources: [{name: a, path: state}], record: {folder: state-of-it}}",
        where=folder / "config.yaml",
    )
    assert list(written_inside_a_source(config)) == []
