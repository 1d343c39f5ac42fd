"""The other workers: who has which partitions, and asking them for what is not ours to know."""

import asyncio
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import aiohttp

FORWARDED = "Freshet-Forwarded"
"""A request with this header is answered from the worker's own partitions, so none goes in circles."""
TIMEOUT = aiohttp.ClientTimeout(total=2.0, connect=1.0)


def workers(app: Any, changelog: str) -> dict[str, list[int]]:
    """URL ▶ partitions of every worker, as the group's leader gave them out; empty before it did."""
    return {url: sorted(topics.get(changelog, ())) for url, topics in app.router.tables_metadata().items()}


class Unreachable(Exception):
    """Nobody that answered has the user, and these (URL, why) did not answer."""

    def __init__(self, silent: list[tuple[str, str]]) -> None:
        super().__init__(", ".join(f"{url} ({why})" for url, why in silent))
        self.silent = silent


class Peers:
    """The other workers' pages, over HTTP."""

    def __init__(self, others: Callable[[], Mapping[str, Any]]) -> None:
        self._others = others
        self._session: aiohttp.ClientSession | None = None

    async def user(self, user_id: str, more: Sequence[tuple[str, str]] = ()) -> dict[str, Any] | None:
        """The figures of whichever worker has the user, None if none has; all are asked at once.

        So it does not matter how a producer picks partitions.  `more`: parameters to pass on.
        `Unreachable` if not all answered.
        """
        asking = {
            asyncio.create_task(self._ask(url, "/users", [("id", user_id), *more])): url
            for url in self._others()
        }
        silent = []
        try:
            for task in asyncio.as_completed(asking):
                url, found, why = await task
                if found is not None:
                    return found
                if why:
                    silent.append((url, why))
        finally:
            for task in asking:
                task.cancel()
        if silent:
            raise Unreachable(sorted(silent))
        return None

    async def page(self, url: str, path: str, *params: tuple[str, str]) -> dict[str, Any] | None:
        """The figures of a worker's own page; None if it gives none."""
        return (await self._ask(url, path, params))[1]

    async def _ask(
        self, url: str, path: str, params: Sequence[tuple[str, str]]
    ) -> tuple[str, dict[str, Any] | None, str]:
        """(url, figures or None, why it did not answer or nothing)"""
        if self._session is None:
            self._session = aiohttp.ClientSession(timeout=TIMEOUT)
        headers = {"Accept": "application/json", FORWARDED: "1"}
        try:
            address = f"{url.rstrip('/')}{path}"
            async with self._session.get(address, params=params, headers=headers) as answer:
                if answer.status == 200:
                    return url, await answer.json(), ""
                return url, None, "" if answer.status == 404 else f"status {answer.status}"
        except TimeoutError:
            return url, None, "no answer"
        except (OSError, aiohttp.ClientError):
            return url, None, "no connection"
        except ValueError:
            return url, None, "no JSON"

    async def close(self, _: Any = None) -> None:
        """End the connections."""
        if self._session is not None:
            await self._session.close()
            self._session = None
