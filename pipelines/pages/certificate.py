"""The certificate of a proof as one self-contained page."""

from __future__ import annotations

from html import escape
from typing import Any

from pipelines.pages.page import page, section

DIGITS = 16
"""Of a hash that are shown."""


def render_certificate(certificate: dict[str, Any], config: dict[str, Any]) -> str:
    """The page as HTML text. Every text in it is escaped.

    Args:
        certificate: what `prove` returns, as JSON values.
        config: JSON values, shown collapsed.
    """
    one, other = certificate["seconds"]
    facts = {
        "steps": str(certificate["steps"]),
        "workers": str(certificate["workers"]),
        "seed of the faults": str(certificate["seed"]),
        "seconds": f"{one:.0f} undisturbed, {other:.0f} with faults",
        "protections": "on" if certificate["is_protected"] else "off: checkpoints as other trainers keep them",
        "machine": certificate["machine"],
        "date": certificate["date"],
    }
    if certificate["left_out"]:
        facts["left out"] = ", ".join(certificate["left_out"])
    if certificate["error"]:
        facts["error"] = certificate["error"]
    sections = [
        f"<section class=cards>{_cards(certificate)}</section>",
        section("Faults by kind", _kinds(certificate)),
        section("Final states", _states(certificate)),
        section("Where the time went", _times(certificate)),
        section("Every fault", _faults(certificate)),
    ]
    verdict = "nothing is lost" if certificate["holds"] else "does not hold"
    return page(f"Resume certificate of {certificate['preset']}: {verdict}", facts, sections, config)


def _cards(certificate: dict[str, Any]) -> str:
    cards = (
        ("faults survived", f"{certificate['survived']} / {certificate['requested']}", "of those injected"),
        ("final state", "identical" if certificate["identical"] else "differs", f"by {certificate['deviation']:.3g}"),
        ("images lost", str(certificate["lost"]), "planned, never computed"),
        ("images doubled", str(certificate["doubled"]), "in the weights twice"),
        ("steps recomputed", str(certificate["steps_recomputed"]), f"of {certificate['steps']}"),
        ("goodput", f"{certificate['goodput']:.0%}", "of the time with faults"),
    )
    return "".join(
        f"<article><h3>{escape(name)}</h3><strong>{escape(value)}</strong><p>{escape(what)}</p></article>"
        for name, value, what in cards
    )


def _kinds(certificate: dict[str, Any]) -> str:
    rows = [
        (kind, str(total["faults"]), str(total["survived"]), str(total["recomputed"]), f"{total['seconds']:.1f} s")
        for kind, total in certificate["by_kind"].items()
    ]
    return _table(("kind", "faults", "survived", "steps recomputed", "time lost"), rows)


def _states(certificate: dict[str, Any]) -> str:
    rows = [
        (name, theirs[:DIGITS], ours[:DIGITS], "equal" if ours == theirs else "different")
        for name, (theirs, ours) in certificate["hashes"].items()
    ]
    rows.append(("an earlier checkpoint", "", "", "different" if certificate["earlier_differs"] else "equal"))
    return _table(("SHA-256 of", "undisturbed", "with faults", ""), rows)


def _times(certificate: dict[str, Any]) -> str:
    rows = [(cause, f"{seconds:.1f} s") for cause, seconds in certificate["lost_seconds"].items()]
    return _table(("cause", "lost"), rows)


def _faults(certificate: dict[str, Any]) -> str:
    rows = [
        (
            record["kind"],
            str(record["step"]),
            str(record["resumed_from"]) if record["resumed_from"] >= 0 else "–",
            str(record["recomputed"]),
            f"{record['restart_seconds']:.1f} s",
            record["done"],
        )
        for record in certificate["records"]
    ]
    return _table(("kind", "at step", "resumed from", "recomputed", "restart", "what was done"), rows)


def _table(head: tuple[str, ...], rows: list[tuple[str, ...]]) -> str:
    if not rows:
        return ""
    top = "".join(f"<th>{escape(name)}</th>" for name in head)
    lines = "".join(
        f"<tr><th>{escape(row[0])}</th>{''.join(f'<td>{escape(c)}</td>' for c in row[1:])}</tr>" for row in rows
    )
    return f"<table class=attention><thead><tr>{top}</tr></thead><tbody>{lines}</tbody></table>"
