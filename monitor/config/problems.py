"""What is wrong with a configuration, all of it at once.

pydantic looks at what several keys say together only where each of them is sound by itself. A
person who mends one layer of problems and is then shown the next loses patience: what is wrong is
put aside, and the rest is looked at again, until nothing new turns up.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from copy import deepcopy
from typing import Annotated, Any, TypeVar

from pydantic import BaseModel, TypeAdapter, ValidationError

Location = tuple[int | str, ...]
Model = TypeVar("Model", bound=BaseModel)

THE_FILE = "the file"
_ROUNDS = 30
# For required keys that are missing or wrong, so that what else stands beside them is looked at.
STAND_IN = "a-stand-in-of-ours"
_STAND_INS = {"path": STAND_IN, "address": f"{STAND_IN}@localhost", "url_file": STAND_IN}
_WORDS = {
    "tuple_type": "must be a list",
    "model_type": "must be a mapping of keys; leave out the section for its defaults",
    "model_attributes_type": "must be a mapping of keys; leave out the section for its defaults",
    "path_type": "must be a path",
    "invalid_key": "is not a known key; put keys that are numbers in quotes",
}


def problems_in(
    raw: dict[Any, Any],
    model: type[Model],
    first: ValidationError,
    context: dict[str, Any] | None = None,
) -> tuple[list[str], Model | None]:
    """One line a problem: its key and what is allowed; and what is left without them, if anything.

    raw : what the file holds
    first : what pydantic said of it
    context : that it was validated in
    """
    found = list(lines_of(first, model))
    keys = {_key(line) for line in found}
    rest, problem = deepcopy(raw), first
    for number in range(_ROUNDS):
        changed = _put_all_aside(rest, problem, number)
        if not changed:
            break
        try:
            return found, model.model_validate(rest, context=context)
        except ValidationError as again:
            problem = again
            new = [line for line in lines_of(again, model) if line not in found]
            # What was put aside is missing now, and what was put there instead is not the file's.
            found += [
                line
                for line in new
                if STAND_IN not in line and (_key(line) == THE_FILE or _key(line) not in keys)
            ]
            keys |= {_key(line) for line in new}
    return found, _section_by_section(rest, model, problem, context)


def _section_by_section(
    raw: dict[Any, Any],
    model: type[Model],
    problem: ValidationError,
    context: dict[str, Any] | None,
) -> Model | None:
    """The sections that are sound each, where only what they say together is wrong: good for
    looking at what else each asks for. None where one of them is wrong by itself.
    """
    if any(error["loc"] for error in problem.errors()):
        return None
    sound: dict[str, Any] = {}
    for name, field in model.model_fields.items():
        asked: Any = Annotated[field.annotation, field]  # with what the field itself asks for
        given = raw[name] if name in raw else field.get_default(call_default_factory=True)
        sound[name] = TypeAdapter(asked).validate_python(given, context=context)
    return model.model_construct(**sound)


def _key(line: str) -> str:
    return line.split(": ", 1)[0]


def _put_all_aside(rest: dict[Any, Any], problem: ValidationError, number: int) -> bool:
    gone: list[Location] = []
    # From behind, so that the places before stay where they are.
    for place, error in reversed(list(enumerate(problem.errors()))):
        if not any(error["loc"][: len(one)] == one for one in gone):
            what = _put_aside(rest, error, f"{STAND_IN}-{number}-{place}")
            if what is not None:
                gone.append(what)
    return bool(gone)


def _put_aside(rest: dict[Any, Any], error: Any, name: str) -> Location | None:
    """Take out what an error speaks of, or put something harmless there.

    name : for what has to have one of its own
    Returns where; None where nothing could be done.
    """
    location: Location = error["loc"]
    held: list[Any] = [rest]
    for part in location:
        inside = _item(held[-1], part)
        if inside is None:
            break
        held += inside
    found = location[: len(held) - 1]
    if error["type"] == "missing" and found == location[:-1] and isinstance(held[-1], dict):
        last = location[-1]
        if last == "name" or last in _STAND_INS:
            held[-1][last] = name if last == "name" else _STAND_INS[str(last)]
            return location
    # Of a list the whole is put aside: the places of the others in it would change.
    while found and not isinstance(held[-2], dict):
        held.pop()
        found = found[:-1]
    if not found:
        return None
    del held[-2][found[-1]]
    return found


def _item(held: Any, part: int | str) -> list[Any] | None:
    if isinstance(held, dict) and part in held:
        return [held[part]]
    if isinstance(held, list) and isinstance(part, int) and part < len(held):
        return [held[part]]
    return None


def lines_of(problem: ValidationError, model: type[BaseModel]) -> Iterator[str]:
    """Each problem as its key and what is allowed there."""
    for error in problem.errors():
        key = ""
        for part in error["loc"]:
            # A key with a line break would make two lines of one problem.
            word = str(part) if str(part).isprintable() else repr(part)
            key += f"[{part}]" if isinstance(part, int) else f".{word}" if key else word
        for text in _allowed(error, model).split("\n"):
            yield f"{key or THE_FILE}: {text}"


def _allowed(error: Any, model: type[BaseModel]) -> str:
    kind, message, given = error["type"], error["msg"], error.get("input")
    if kind == "extra_forbidden":
        section = _section_at(error["loc"][:-1], model)
        known = ", ".join(section.model_fields) if section else "see config.yaml"
        return f"is not a known key; allowed here: {known}"
    if kind == "missing":
        return "is missing"
    if kind in _WORDS:
        return _WORDS[kind] if isinstance(given, dict | list) else f"{_WORDS[kind]} (is {given!r})"
    text = str(message).removeprefix("Value error, ")
    text = text[:1].lower() + text[1:]
    return text if isinstance(given, dict | list) else f"{text} (is {given!r})"


def _section_at(location: Location, model: type[BaseModel]) -> type[BaseModel] | None:
    section = model
    for part in location:
        if isinstance(part, int):
            continue
        annotation = section.model_fields[part].annotation
        found = [
            kind
            for kind in (annotation, *getattr(annotation, "__args__", ()))
            if isinstance(kind, type) and issubclass(kind, BaseModel)
        ]
        if not found:
            return None
        section = found[0]
    return section


def all_of(*checks: Callable[[], Sequence[str]]) -> None:
    """Raise ValueError with a line for each problem that any of the checks finds."""
    found = [line for check in checks for line in check()]
    if found:
        raise ValueError("\n".join(found))
