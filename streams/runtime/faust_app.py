"""The Faust app of a process: tuned settings and workarounds."""

import logging
import os
import socket
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import NoReturn

from confluent_kafka import KafkaException
from faust.utils.terminal import SpinnerHandler
from faust.web.drivers.aiohttp import Web
from yarl import URL

from streams.errors import USAGE, UserError
from streams.kafka.admin import TopicsDiffer, require
from streams.kafka.assignor import WorkerAssignor
from streams.kafka.chunks import ChunkApp
from streams.kafka.client import credentials, faust_brokers
from streams.kafka.identity import identify
from streams.kafka.local_state import LocalFolder, check_identity, open_folder, unused_folders
from streams.kafka.repairs import Repairs
from streams.kafka.table import ChunkTable
from streams.settings import Settings

log = logging.getLogger(__name__)

FETCH_WAIT_MS = 2
"""Long poll of a serving worker: what a quiet topic may add to the age of a recommendation."""
EMBEDDED_FETCH_WAIT_MS = 10
"""The same on the embedded broker, where a fetch costs more than an event."""
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

    folder: LocalFolder | None = None
    """The folder of this process, from `prepare` on."""

    async def crash(self, reason: BaseException) -> None:
        """Crash as Faust does, but end after `CRASH_S`: Faust waits for chunks that will never be acked.

        Ending so is like being killed, and the state survives that.  A thread does it, because the loop may
        be closed while another thread still holds the process.  For an error that the user can correct, the
        process ends at once, and its message is the last line.
        """
        if isinstance(reason, UserError):
            print(f"freshet: {reason}", file=sys.__stderr__, flush=True)
            os._exit(reason.exit_code)
        end = threading.Timer(CRASH_S, os._exit, [1])
        end.daemon = True
        end.start()
        await super().crash(reason)


def make_app(app_id: str, settings: Settings, chunk_topics: tuple[str, ...] = ()) -> FreshetApp:
    """A Faust app on the settings' Kafka."""
    host = settings.web_advertised_host or settings.web_host
    wait_ms = EMBEDDED_FETCH_WAIT_MS if settings.embedded else FETCH_WAIT_MS
    return FreshetApp(
        settings.topic(app_id),
        chunk_topics=[settings.topic(name) for name in chunk_topics],
        chunk_events=settings.chunk_events,
        whole_fetch_after_s=settings.answer_all_within_s or float("inf"),
        fetch_max_wait_ms=wait_ms if chunk_topics else IDLE_WAIT_MS,
        idempotent=not settings.embedded,
        transactional_id=_transactional_id(app_id, settings) if chunk_topics else None,
        broker=faust_brokers(settings),
        broker_credentials=credentials(settings),
        store="rocksdb://?driver=rocksdict",
        Table=ChunkTable,
        PartitionAssignor=WorkerAssignor,
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
        broker_max_poll_records=5000,  # also the largest micro-batch, of a worker that is behind
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


def prepare(app: FreshetApp, settings: Settings, app_id: str, repairs: Repairs | None = None) -> Path:
    """Check topics, port and data folder before a process starts; returns its folder.

    With `repairs`, the folder holds state, and what is of other topics is set aside.  Exits with a line on
    what is wrong and how to fix it: with 2 if it is about Kafka, else with 1.
    """
    if app.folder is not None:  # Faust announces a worker twice
        return app.folder.path
    try:
        require(settings)
        require_port(settings)
        identity = identify(settings)
        app.folder = open_folder(settings, app_id, identity)
        if repairs is not None:
            check_identity(settings, app.folder.path, identity, repairs)
            for folder in unused_folders(settings):
                log.warning("%s is of a former version and not used any more: it can be deleted", folder)
        app.conf.datadir = app.folder.path
        return app.folder.path
    except TopicsDiffer as error:
        _exit(USAGE, *str(error).splitlines())
    except KafkaException as error:
        _exit(
            USAGE,
            f"no Kafka at {settings.brokers} ({error.args[0].str()}): set FRESHET_BROKERS,"
            " or start one with `make kafka`",
        )
    except UserError as error:
        _exit(error.exit_code, str(error))


def require_port(settings: Settings) -> None:
    """`PortTaken` unless the pages can listen on their port."""
    try:
        address = socket.getaddrinfo(settings.web_host, settings.web_port, type=socket.SOCK_STREAM)[0]
        with socket.create_server(address[4][:2], family=address[0]):
            pass
    except OSError as error:
        raise PortTaken(
            f"web_port: the pages cannot listen on {settings.web_host}:{settings.web_port}"
            f" ({os.strerror(error.errno or 0)}):"
            " choose another port with --web-port or FRESHET_WEB_PORT; 0 is any free one"
        ) from None


class PortTaken(UserError):
    """The pages cannot listen; the message names the setting."""


def _exit(code: int, *lines: str) -> NoReturn:
    for line in lines:
        print(f"freshet: {line}", file=sys.stderr)
    raise SystemExit(code) from None


def quiet_logs() -> None:
    """Log each warning once in ten seconds: an outage makes aiokafka log 100 a second.

    Called once the handlers exist.  The filter is on them, because a logger's own filter does not see the
    records of its children.  Faust turns its spinner at every debug message, which the libraries then make
    for nothing else, several an event: the spinner is removed.
    """
    root = logging.getLogger()
    for handler in tuple(root.handlers):
        if isinstance(handler, SpinnerHandler):
            root.removeHandler(handler)
        else:
            handler.addFilter(Repeats())
    root.setLevel(min((handler.level for handler in root.handlers), default=root.level))


class Repeats(logging.Filter):
    """Lets the same warning pass once in `every_s` seconds; errors, and levels below a warning, always."""

    def __init__(self, every_s: float = 10.0, monotonic: Callable[[], float] = time.monotonic) -> None:
        super().__init__()
        self._every_s, self._monotonic = every_s, monotonic  # the wall time of records may be set back
        self._last: dict[tuple[str, int, str], float] = {}

    def filter(self, record: logging.LogRecord) -> bool:
        """Whether the record is logged."""
        if record.levelno != logging.WARNING:
            return True
        message, now = (record.pathname, record.lineno, record.getMessage()), self._monotonic()
        if now - self._last.get(message, float("-inf")) < self._every_s:
            return False
        if len(self._last) > 1000:
            self._last.clear()
        self._last[message] = now
        return True
