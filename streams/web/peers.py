"""The other workers: where their pages are, and asking them for what this worker does not have."""

import asyncio
from collections.abc import Sequence
from typing import Any

import aiohttp

from streams.monitor.heartbeats import ProcessStatus
from streams.runtime.serving import Serving

FORWARDED = "Freshet-Forwarded"
"""A request with this header is answered from the worker's own data, so that none goes in circles."""
TIMEOUT = aiohttp.ClientTimeout(total=2.0, connect=1.0)

Parameters = Sequence[tuple[str, str]]


class Unreachable(Exception):
    """No worker that answered has the user, and these (URL, reason) did not answer."""

    def __init__(self, failures: list[tuple[str, str]]) -> None:
        super().__init__(", ".join(f"{url} ({reason})" for url, reason in failures))


class Peers:
    """The other workers' pages, over HTTP."""

    def __init__(self, app: Any, serving: Serving, status: ProcessStatus) -> None:
        self._app, self._serving, self._status = app, serving, status
        self._session: aiohttp.ClientSession | None = None

    def urls(self) -> list[str]:
        """The other workers, as the group's leader assigned the partitions; empty before it did."""
        workers: dict[str, dict[str, Any]] = self._app.router.tables_metadata()
        return [url for url in workers if url != self._own_url()]

    def longest_running(self) -> str | None:
        """URL of the ready worker that has run longest; None if it is this one, or none is known.

        It remembers most of the items: all workers show its map and item pages.  Heartbeats are records on a
        topic, which other programs may write: only an address of a member of the group counts.
        """
        members = {self._own_url(), *self.urls()}
        processes = [heartbeat.row.process for heartbeat in self._status.heartbeats() if heartbeat.alive]
        serving = [(p.started, p.url) for p in processes if p and p.kind == "serving" and p.ready]
        _, url = min((elder for elder in serving if elder[1] in members), default=(0, None))
        return None if url == self._own_url() else url

    async def user(self, user_id: str, parameters: Parameters = ()) -> dict[str, Any] | None:
        """The figures of the worker that has the user; None if none has.  All workers are asked at once.

        So it does not matter how producers pick partitions.  `Unreachable` if a worker did not answer and no
        other has the user.
        """
        requests = [
            asyncio.create_task(self._get(url, "/users", [("id", user_id), *parameters]))
            for url in self.urls()
        ]
        failures = []
        try:
            for request in asyncio.as_completed(requests):
                url, figures, failure = await request
                if figures is not None:
                    return figures
                if failure:
                    failures.append((url, failure))
        finally:
            for task in requests:
                task.cancel()
        if failures:
            raise Unreachable(sorted(failures))
        return None

    async def page(self, url: str, path: str, parameters: Parameters = ()) -> dict[str, Any] | None:
        """The figures of a page of the worker at `url`; None if it does not answer with them."""
        _, figures, _ = await self._get(url, path, parameters)
        return figures

    async def close(self, _: Any = None) -> None:
        """Close the connections."""
        if self._session is not None:
            await self._session.close()
            self._session = None

    def _own_url(self) -> str:
        return str(self._app.conf.canonical_url)

    async def _get(
        self, url: str, path: str, parameters: Parameters
    ) -> tuple[str, dict[str, Any] | None, str]:
        """URL, figures or None, and why there are none; nothing for a 404."""
        if self._session is None:
            self._session = aiohttp.ClientSession(timeout=TIMEOUT)
        headers = {"Accept": "application/json", FORWARDED: "1"}
        address = f"{url.rstrip('/')}{path}"
        try:
            async with self._session.get(
                address, params=parameters, headers=headers, allow_redirects=False
            ) as response:
                if response.status == 200:
                    return url, await response.json(), ""
                return url, None, "" if response.status == 404 else f"status {response.status}"
        except TimeoutError:
            return url, None, "no answer"
        except (OSError, aiohttp.ClientError):
            return url, None, "no connection"
        except ValueError:
            return url, None, "invalid JSON"
