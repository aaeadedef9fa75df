"""`mien models`: what models there are, their cards and their hashes."""

from __future__ import annotations

import argparse
import json
import re
from typing import TYPE_CHECKING

from mien.cli.exits import GOOD, UNUSABLE
from mien.cli.options import add_json
from mien.errors import ModelError
from mien.wording import printable

if TYPE_CHECKING:
    from mien.models import ModelEntry


def add_to(verbs: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Declare the verb and its actions."""
    parser = verbs.add_parser("models", help="list, show and verify models")
    actions = parser.add_subparsers(title="actions", metavar="ACTION", required=True)
    listing = actions.add_parser("list", help="what there is; * marks the default")
    add_json(listing, "as a JSON array")
    listing.set_defaults(run=_list)
    show = actions.add_parser("show", help="a model's card")
    show.add_argument("name", help="name or file")
    add_json(show, "the ModelSpec inside the file instead")
    show.set_defaults(run=_show)
    verify = actions.add_parser("verify", help="check every model's hash")
    verify.set_defaults(run=_verify)


def _list(options: argparse.Namespace) -> int:
    from mien.models import list_models

    entries = list_models()
    if options.json:
        print(json.dumps([entry.to_dict() for entry in entries], indent=1))
        return GOOD
    for entry in entries:
        kind = "over time" if entry.is_temporal else "fusion" if entry.members else ""
        mark = "*" if entry.default else " "
        what = f"{_size(entry):>9}  {kind:9}  {_terms(entry):12}"
        print(printable(f"{mark} {entry.name:16} {what}  {entry.path}"))
    return GOOD


def _terms(entry: ModelEntry) -> str:
    """What its terms say of the weights, in a word or two; the card has the whole."""
    return re.split("[;.]", entry.terms.removeprefix("weights: "))[0]


def _size(entry: ModelEntry) -> str:
    """What it takes on disk."""
    if not entry.available:
        return "not here"
    size = entry.size_with_members
    return "in part" if size is None else f"{size / 1e6:.1f} MB"


def _show(options: argparse.Namespace) -> int:
    from mien.models import find_model
    from mien.temporal import TemporalModel

    entry = find_model(options.name)
    spec = TemporalModel(entry).spec if entry.is_temporal else entry.spec()
    card = entry.path.with_suffix(".md")
    if not options.json and card.is_file():
        print(card.read_text(encoding="utf-8"))
    else:
        print(spec.to_json())
    return GOOD


def _verify(_options: argparse.Namespace) -> int:
    from mien.models import list_models

    bad = 0
    for entry in list_models():
        if entry.sha256 is None or not entry.available:
            why = "not here" if entry.sha256 else "no known hash"
            print(printable(f"unchecked  {entry.name}: {why}"))
            continue
        try:
            entry.read()
            print(f"good       {entry.name}  {entry.sha256}")
        except ModelError as error:
            bad += 1
            print(f"BAD        {error}")
    return UNUSABLE if bad else GOOD
