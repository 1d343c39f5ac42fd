"""Compare what Freshet wrote with what the oracle expects: each kind of difference, in a line."""

from collections.abc import Mapping
from typing import Any

from tests.chaos.expected import Expected, User
from tests.chaos.seen import Seen, StoredUser


def faults(expected: Expected, seen: Seen) -> list[str]:
    """Every difference in the topics; empty when all is right."""
    return [
        *user_faults(expected.users, seen.users, "in the changelog"),
        *_example_faults(expected, seen),
        *_recommendation_faults(expected, seen),
        *_dead_letter_faults(expected, seen),
    ]


def user_faults(expected: Mapping[str, User], stored: Mapping[str, StoredUser], where: str) -> list[str]:
    """Users that are missing, old or of other content; `where` says where they are stored."""
    lines, total = [], len(expected)
    missing = expected.keys() - stored.keys()
    behind = [user.offset - stored[name].offset for name, user in expected.items() if name in stored]
    old = [offsets for offsets in behind if offsets > 0]
    wrong = [
        name
        for name, user in expected.items()
        if name in stored
        and stored[name].offset == user.offset
        and (stored[name].events, stored[name].items) != (user.events, user.items)
    ]
    unknown = stored.keys() - expected.keys()
    if missing:
        lines.append(f"{len(missing)} of {total} users are not {where}")
    if old:
        lines.append(f"{len(old)} of {total} users are old {where}, by up to {max(old)} offsets")
    if wrong:
        name = wrong[0]
        lines.append(
            f"{len(wrong)} of {total} users are wrong {where}: {name!r} has {stored[name].events} events,"
            f" not {expected[name].events}"
        )
    if unknown:
        lines.append(f"{len(unknown)} users {where} that have no event: {min(unknown)!r}")
    return lines


def _example_faults(expected: Expected, seen: Seen) -> list[str]:
    lost = expected.examples - seen.examples.keys()
    doubled = [place for place, count in seen.examples.items() if count > 1]
    unknown = seen.examples.keys() - expected.examples
    return _counted({"examples lost": lost, "examples doubled": doubled, "examples of no event": unknown})


def _recommendation_faults(expected: Expected, seen: Seen) -> list[str]:
    missing = expected.newest.keys() - seen.newest.keys()
    stale = [
        name for name in expected.newest.keys() & seen.newest if expected.newest[name] != seen.newest[name]
    ]
    return _counted(
        {
            f"of {len(expected.newest)} users without a recommendation": missing,
            f"of {len(expected.newest)} users whose last recommendation is stale": stale,
        }
    )


def _dead_letter_faults(expected: Expected, seen: Seen) -> list[str]:
    lost = expected.dead_letters.keys() - seen.dead_letters.keys()
    doubled = [letter for letter, count in seen.dead_letters.items() if count > 1]
    unknown = seen.dead_letters.keys() - expected.dead_letters.keys()
    return _counted(
        {"dead letters lost": lost, "dead letters doubled": doubled, "dead letters too many": unknown}
    )


def _counted(faulty: Mapping[str, Any]) -> list[str]:
    return [f"{len(places)} {what}" for what, places in faulty.items() if places]
