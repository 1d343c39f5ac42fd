"""Faust's producer, idempotent, and beside it the transactions of the app."""

from collections.abc import Mapping
from typing import Any

from faust.transport.drivers import aiokafka as driver

from streams.kafka.fenced_producer import FencedProducer
from streams.kafka.transactions import TIMEOUT_MS, Transactions

RETRY_MS = 20
"""Pause while the broker still ends the transaction before, ms: as in Kafka's own client.  aiokafka's default
is 100, while events arrive and wait to be written."""


class Producer(driver.Producer):
    """An idempotent producer.

    Otherwise aiokafka gives up a batch after a while and sends the one behind it, and a reader that skips
    what is not after the last offset that it read would skip the first batch permanently.
    """

    transactions: Transactions | None = None
    """None before the start, and on a broker without transactions."""

    def _settings_extra(self) -> Mapping[str, Any]:
        return {"acks": "all", "enable_idempotence": True} if self.app.idempotent else {}

    async def on_start(self) -> None:
        """Connect, and fence a predecessor of the same name."""
        await super().on_start()
        if self.app.transactional_id:
            self.transactions = Transactions(self._fenced)
            await self.transactions.start()

    async def on_stop(self) -> None:
        """Send what is queued, and close the connections."""
        await super().on_stop()
        if self.transactions is not None:
            await self.transactions.stop()

    def _fenced(self) -> FencedProducer:
        settings = {**self._settings_default(), **self._settings_auth(), **self._settings_extra()}
        return FencedProducer(
            **settings,
            transactional_id=self.app.transactional_id,
            transaction_timeout_ms=TIMEOUT_MS,
            retry_backoff_ms=RETRY_MS,
        )
