"""What a sound configuration asks for that is not there: files, folders, somebody to tell.

Nothing is opened but small text files, and nothing is written: `doctor` tries things out.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from pathlib import Path

from monitor.config.schema import Config
from monitor.culture import Severity


def missing_here(config: Config) -> list[str]:
    """A line for each, with its key and what to do. What may come later (a share) is none."""
    return [
        *_model(config),
        *_files(config),
        *_nobody_told(config),
        *_sources_that_are_files(config),
        *written_inside_a_source(config),
    ]


def _model(config: Config) -> Iterator[str]:
    if config.segmentation.model == "starter":
        return
    folder = Path(config.segmentation.model)
    if not folder.is_dir():
        yield (
            f"segmentation.model: {folder} is not a folder; give the folder of a model (one that "
            "colonywatch train made), or starter"
        )
    elif not (folder / "manifest.json").is_file():
        yield (
            f"segmentation.model: {folder} holds no manifest.json, so it is not a model's folder; "
            "give one that colonywatch train made, or starter"
        )


def _files(config: Config) -> Iterator[str]:
    outlets = config.outlets
    wanted = {
        "outlets.email.password_file": outlets.email.password_file,
        "outlets.check_in.url_file": outlets.check_in.url_file,
        "outlets.sila.certificate_file": outlets.sila.certificate_file,
        "outlets.sila.key_file": outlets.sila.key_file,
        "outlets.sila.clients_file": outlets.sila.clients_file,
    }
    wanted |= {
        f"outlets.channels[{number}].url_file": channel.url_file
        for number, channel in enumerate(outlets.channels)
    }
    for key, path in wanted.items():
        if path is None:
            continue
        try:
            if not path.read_text(encoding="utf-8").strip():
                yield f"{key}: {path} is empty"
        except UnicodeDecodeError:
            yield f"{key}: {path} is not UTF-8 text"
        except OSError as problem:
            yield (
                f"{key}: {path} cannot be read ({os.strerror(problem.errno or 0)}); create it, "
                "with the secret and nothing else in it, readable by the service's account"
            )


def _nobody_told(config: Config) -> Iterator[str]:
    email = config.outlets.email
    if email.server is not None and "recipients" not in email.model_fields_set:
        yield (
            f"outlets.email.recipients: is not set, so alerts would go to "
            f"{email.recipients[0].address}; list who gets them"
        )
    readers = (*email.recipients, *config.outlets.channels)
    for number, source in enumerate(config.sources):
        if not any(reader.wants(Severity.CRITICAL, source.name) for reader in readers):
            yield (
                f"outlets.email.recipients: nobody gets the alerts of sources[{number}] "
                f"({source.name}); add somebody, or leave out their `sources`"
            )


def _sources_that_are_files(config: Config) -> Iterator[str]:
    for number, source in enumerate(config.sources):
        if source.path.exists() and not source.path.is_dir():
            yield f"sources[{number}].path: {source.path} is not a folder"


def written_inside_a_source(config: Config) -> Iterator[str]:
    """What is written into an imager's folder would be taken for captures, or be in its way."""
    written = {
        "record.folder": config.record.folder,
        "outlets.email.mailbox": config.mailbox,
        "outlets.removal.folder": config.removal_folder,
    }
    database = re.fullmatch(r"sqlite(?:\+\w+)?:///([^?]+)(?:\?.*)?", config.record.database_url)
    if database is not None:
        written["record.database"] = Path(database[1])
    said: list[Path] = []
    for key, path in written.items():
        place = path.resolve()
        if any(place.is_relative_to(one) for one in said):
            continue
        for number, source in enumerate(config.sources):
            if place.is_relative_to(source.path.resolve()):
                said.append(place)
                yield (
                    f"{key}: {path} is inside sources[{number}].path ({source.path}), which "
                    "belongs to the imager; choose a folder outside every source"
                )
                break
