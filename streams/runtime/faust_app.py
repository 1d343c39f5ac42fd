"""The Faust app of a process: tuned settings and workarounds."""

import logging
import os
import sys
import threading

from confluent_kafka import KafkaException
from faust.web.drivers.aiohttp import Web
from yarl import URL

from streams.errors import USAGE
from streams.kafka.admin import TopicsDiffer, require
from streams.kafka.assignor import MovableAssignor
from streams.kafka.chunks import ChunkApp
from streams.kafka.client import EMBEDDED_WAIT_MS, credentials, faust_brokers
from streams.kafka.table import ChunkTable
from streams.settings import Settings

FETCH_WAIT_MS = 2
"""Long poll of a serving worker: what a quiet topic may add to the age of a recommendation."""
IDLE_WAIT_MS = 500
"""Long poll of a learner, where Faust only elects a leader: each empty answer costs a quarter of a
millisecond on both sides."""
CRASH_S = 10.0
"""Time that a crashed app has to shut down cleanly."""


class _Web(Web):
    """Faust's web server without its own page at `/`."""

    production_blueprints = ()


class FreshetApp(ChunkApp):
    """A Faust app that serves Freshet's pages only, and that ends when it crashes."""

    def _new_web(self) -> Web:
        return _Web(self)

    async def crash(self, reason: BaseException) -> None:
        """Crash as Faust does, but end after `CRASH_S`: Faust waits for chunks that will never be acked.

        Ending so is like being killed, and the state survives that.  A thread does it, because the loop may
        be closed while another thread still holds the process.
        """
        end = threading.Timer(CRASH_S, os._exit, [1])
        end.daemon = True
        end.start()
        await super().crash(reason)


def make_app(app_id: str, settings: Settings, chunk_topics: tuple[str, ...] = ()) -> FreshetApp:
    """A Faust app on the settings' Kafka."""
    host = settings.web_advertised_host or settings.web_host
    wait_ms = FETCH_WAIT_MS if chunk_topics else IDLE_WAIT_MS
    return FreshetApp(
        settings.topic(app_id),
        chunk_topics=[settings.topic(name) for name in chunk_topics],
        chunk_events=settings.chunk_events,
        fetch_max_wait_ms=EMBEDDED_WAIT_MS if settings.embedded else wait_ms,
        waits_when_quiet=not settings.embedded,  # every fetch from it waits to the end
        idempotent=not settings.embedded,
        transactional_id=_transactional_id(app_id, settings) if chunk_topics else None,
        broker=faust_brokers(settings),
        broker_credentials=credentials(settings),
        store="rocksdb://?driver=rocksdict",
        Table=ChunkTable,
        PartitionAssignor=MovableAssignor,
        datadir=str(settings.data_dir / app_id),
        consumer_group_instance_id=settings.worker_id,
        topic_partitions=settings.partitions,
        topic_replication_factor=settings.replication,
        topic_allow_declare=not settings.embedded,
        table_standby_replicas=0,  # a restore takes seconds
        broker_commit_interval=0.5,
        broker_session_timeout=settings.session_timeout_s,
        broker_heartbeat_interval=min(1.0, settings.session_timeout_s / 3),
        broker_request_timeout=40.0,
        broker_max_poll_records=5000,
        stream_buffer_maxsize=4,  # of chunks: what waits longer is fetched as one
        producer_max_batch_size=512 * 1024,
        producer_max_request_size=16 * 1024 * 1024,
        consumer_max_fetch_size=4 * 1024 * 1024,
        web_bind=settings.web_host,
        web_host=settings.web_host,
        web_port=settings.web_port,
        canonical_url=URL(f"http://{host}:{settings.web_port}"),
        # Faust's own pages are open to all and show users' data
        web_router_enabled=False,
        web_tables_enabled=False,
        web_graph_enabled=False,
        web_stats_enabled=False,
        web_metrics_enabled=False,
    )


def _transactional_id(app_id: str, settings: Settings) -> str | None:
    """The id under which a process writes transactions; None on the embedded broker, which fences nobody."""
    return None if settings.embedded else f"{settings.topic(app_id)}-{settings.name}"


def run(module: str, settings: Settings) -> None:
    """Run the app of a module as `faust -A MODULE worker` does, until SIGINT or SIGTERM; exits."""
    from faust.cli.faust import cli

    level = settings.log_level.removesuffix("ing")
    cli(["-A", module, "worker", "--loglevel", level, "--web-port", str(settings.web_port)])


def prepare(settings: Settings) -> None:
    """Create the data folder, and check the topics; called before a process starts.

    Exits with 2 and a line on what is wrong and how to fix it.
    """
    settings.data_dir.mkdir(parents=True, exist_ok=True)
    try:
        require(settings)
    except TopicsDiffer as error:
        for line in str(error).splitlines():
            print(f"freshet: {line}", file=sys.stderr)
        raise SystemExit(USAGE) from None
    except KafkaException as error:
        print(
            f"freshet: no Kafka at {settings.brokers} ({error.args[0].str()}): set FRESHET_BROKERS,"
            " or start one with `make kafka`",
            file=sys.stderr,
        )
        raise SystemExit(USAGE) from None


def quiet_logs() -> None:
    """Log each warning once in ten seconds: an outage makes aiokafka log 100 a second.

    Called once the handlers exist.  The filter is on them, because a logger's own filter does not see the
    records of its children.
    """
    for handler in logging.getLogger().handlers:
        handler.addFilter(Repeats())


class Repeats(logging.Filter):
    """Lets the same warning pass once in `every_s` seconds; errors, and levels below a warning, always."""

    def __init__(self, every_s: float = 10.0) -> None:
        super().__init__()
        self._every_s = every_s
        self._last: dict[tuple[str, int, str], float] = {}

    def filter(self, record: logging.LogRecord) -> bool:
        """Whether the record is logged."""
        if record.levelno != logging.WARNING:
            return True
        message = (record.pathname, record.lineno, record.getMessage())
        if record.created - self._last.get(message, float("-inf")) < self._every_s:
            return False
        if len(self._last) > 1000:
            self._last.clear()
        self._last[message] = record.created
        return True
