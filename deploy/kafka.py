"""A real Apache Kafka on loopback, for development and tests: one node, KRaft, no root, no container.

Maven fetches the jars once, and the installed Java runs them.  `make kafka` and `make kafka-stop` call the
command line below; tests start brokers of their own:

    with KafkaBroker(Path("/tmp/broker")) as kafka:
        print(kafka.brokers)  # 127.0.0.1:23456

One node keeps one replica of everything and takes plain text: not for production.  Linux only.
"""

import argparse
import base64
import fcntl
import os
import random
import re
import shutil
import signal
import socket
import struct
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

HERE = Path(__file__).resolve().parent
POM = HERE / "kafka-pom.xml"
FOLDER = HERE.parent / ".kafka"
JARS = FOLDER / "jars"
MIN_JAVA = 17  # a broker of Kafka 4 needs it

LOG4J = """\
rootLogger.level = warn
rootLogger.appenderRef.stdout.ref = stdout
appender.stdout.type = Console
appender.stdout.name = stdout
appender.stdout.layout.type = PatternLayout
appender.stdout.layout.pattern = %d %p %m (%c)%n
"""


class KafkaFailed(Exception):
    """The broker cannot be started; the first line says why and what to do, the end of its log may follow."""


class KafkaBroker:
    """One broker whose data, log and pid file are in `folder`: it keeps its data when it is started again.

    `port` 0 chooses a free port and keeps it as long as the object lives.  `heap` is Java's, such as "512m".
    `config` overrides broker settings.  If another process has started a broker in `folder`, the object takes
    its port and can stop it.
    """

    def __init__(
        self,
        folder: Path,
        port: int = 0,
        heap: str = "512m",
        config: dict[str, Any] | None = None,
        jars: Path = JARS,
    ) -> None:
        self.folder, self.heap, self.config, self.jars = folder.resolve(), heap, config or {}, jars
        self.log = self.folder / "kafka.log"
        self._properties = self.folder / "server.properties"
        self._pid_file = self.folder / "broker.pid"
        self._process: subprocess.Popen[bytes] | None = None
        self.port = int(self._pid_file.read_text().split()[1]) if self.pid else port or free_port()
        self._controller_port = free_port()

    @property
    def brokers(self) -> str:
        """The address of the broker, for `bootstrap.servers`."""
        return f"127.0.0.1:{self.port}"

    @property
    def listeners(self) -> str:
        """The value of the broker's setting `listeners`, which `config` may extend."""
        return f"PLAINTEXT://{self.brokers},CONTROLLER://127.0.0.1:{self._controller_port}"

    @property
    def pid(self) -> int | None:
        """The id of the broker process of this folder, whoever started it; None if none runs."""
        if self._process:
            self._process.poll()  # reaps a child that has ended
        try:
            pid = int(self._pid_file.read_text().split()[0])
            command = Path(f"/proc/{pid}/cmdline").read_bytes()
        except (OSError, ValueError, IndexError):
            return None
        return pid if os.fsencode(self._properties) in command else None  # a reused pid is another process

    def start(self, wait_s: float = 60) -> None:
        """Start the broker and wait until it answers; `KafkaFailed` if it does not within `wait_s`."""
        if self.pid:
            raise KafkaFailed(f"a broker is already running in {self.folder}")
        if not _is_free(self.port):
            raise KafkaFailed(
                f"port {self.port} is taken: stop the process that listens on it, or choose another port"
            )
        fetch_jars(self.jars)
        self._write_config()
        if not (self.folder / "data/meta.properties").exists():
            self._format()
        with self.log.open("ab") as log:
            self._process = subprocess.Popen(
                self._java("kafka.Kafka", str(self._properties), heap=self.heap),
                stdin=subprocess.DEVNULL, stdout=log, stderr=log,
                start_new_session=True,  # Ctrl-C at a test run is not for the broker
            )  # fmt: skip
        self._pid_file.write_text(f"{self._process.pid} {self.port}\n")
        try:
            self._wait(self._process, wait_s)
        except BaseException:  # Ctrl-C too: no broker is left behind that does not answer
            self.kill()
            raise

    def stop(self, wait_s: float = 30) -> None:
        """Stop the broker with SIGTERM, or with SIGKILL after `wait_s`; does nothing if none runs."""
        self._end(signal.SIGTERM, wait_s)
        self.kill()

    def kill(self) -> None:
        """Kill the broker with SIGKILL, as a power cut would end it."""
        self._end(signal.SIGKILL, 10)

    def __enter__(self) -> "KafkaBroker":
        self.start()
        return self

    def __exit__(self, *error: object) -> None:
        self.stop()

    def _wait(self, process: subprocess.Popen[bytes], wait_s: float) -> None:
        until = time.monotonic() + wait_s
        while not answers(self.port):
            if process.poll() is not None:
                raise KafkaFailed(f"Kafka ended during its start; the end of {self.log}:\n{self._tail()}")
            if time.monotonic() > until:
                raise KafkaFailed(
                    f"Kafka did not answer within {wait_s:.0f} s; the end of {self.log}:\n{self._tail()}"
                )
            time.sleep(0.05)

    def _end(self, number: signal.Signals, wait_s: float) -> None:
        if not (pid := self.pid):
            return
        os.kill(pid, number)
        until = time.monotonic() + wait_s
        while not self._is_gone() and time.monotonic() < until:
            time.sleep(0.05)
        if not self.pid:
            self._pid_file.unlink(missing_ok=True)

    def _is_gone(self) -> bool:
        """Whether the broker has ended: its threads end one by one, and the last one frees the port."""
        ended = self._process is None or self._process.poll() is not None
        return ended and not self.pid and _is_free(self.port)

    def _write_config(self) -> None:
        properties = {
            "process.roles": "broker,controller",
            "node.id": 1,
            "controller.quorum.voters": f"1@127.0.0.1:{self._controller_port}",
            "listeners": self.listeners,
            "advertised.listeners": f"PLAINTEXT://{self.brokers}",
            "controller.listener.names": "CONTROLLER",
            "log.dirs": self.folder / "data",
            "auto.create.topics.enable": "false",  # a mistyped name is an error, as in production
            "offsets.topic.replication.factor": 1,
            "offsets.topic.num.partitions": 8,
            "transaction.state.log.replication.factor": 1,
            "transaction.state.log.min.isr": 1,
            "transaction.state.log.num.partitions": 4,
            "transaction.abort.timed.out.transaction.cleanup.interval.ms": 1000,
            "share.coordinator.state.topic.replication.factor": 1,
            "share.coordinator.state.topic.min.isr": 1,
            "group.initial.rebalance.delay.ms": 0,  # 3 s by default, to wait for more members
            "broker.session.timeout.ms": 4000,  # after kill -9 it waits until its old session has timed out
            "broker.heartbeat.interval.ms": 1000,
            "log.cleaner.dedupe.buffer.size": 32 * 1024 * 1024,  # a quarter of the default: the heap is small
            **self.config,
        }
        self.folder.mkdir(parents=True, exist_ok=True)
        self._properties.write_text("".join(f"{name}={value}\n" for name, value in properties.items()))
        (self.folder / "log4j2.properties").write_text(LOG4J)

    def _format(self) -> None:
        cluster = base64.urlsafe_b64encode(b"freshet" + os.urandom(9)).decode()[:22]  # 16 bytes, no leading -
        command = self._java("kafka.tools.StorageTool", "format", "-t", cluster, "-c", str(self._properties))
        result = subprocess.run(command, capture_output=True, text=True)
        if result.returncode:
            reason = (result.stderr or result.stdout).splitlines() or ["no output"]
            raise KafkaFailed(f"Kafka could not format {self.folder / 'data'}: {reason[0]}")

    def _java(self, *arguments: str, heap: str = "128m") -> list[str]:
        return [
            _find_java() or "java", f"-Xmx{heap}", "-XX:+UseG1GC", "-XX:MaxGCPauseMillis=20",
            f"-Dlog4j2.configurationFile={self.folder / 'log4j2.properties'}",
            "-cp", f"{self.jars}/*", *arguments,
        ]  # fmt: skip

    def _tail(self, lines: int = 15) -> str:
        return "\n".join(self.log.read_text(errors="replace").splitlines()[-lines:])


def available(jars: Path = JARS) -> str | None:
    """The reason why no broker can be started here, on one line; None if Java and Maven or the jars exist."""
    if not (java := _find_java()):
        return f"java not found: install Java {MIN_JAVA} or later (a headless runtime is enough)"
    output = subprocess.run([java, "-version"], capture_output=True, text=True).stderr
    version = re.search(r'version "(\d+)', output)
    if not version or int(version[1]) < MIN_JAVA:
        return f"{java} is Java {version[1] if version else '?'}: install Java {MIN_JAVA} or later"
    if not _are_fetched(jars) and not shutil.which("mvn"):
        return "mvn not found: install Maven, which fetches Kafka's jars"
    return None


def fetch_jars(jars: Path = JARS) -> None:
    """Fetch Kafka's jars into this folder, unless they are there; `KafkaFailed` if Maven cannot."""
    if reason := available(jars):
        raise KafkaFailed(reason)
    if _are_fetched(jars):
        return
    jars.parent.mkdir(parents=True, exist_ok=True)
    # Tests in several processes begin at once, and two Mavens would fill one local repository.
    with open(jars.parent / "jars.lock", "w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not _are_fetched(jars):
            _fetch(jars)


def _fetch(jars: Path) -> None:
    # Fetched beside it and renamed: an interrupted fetch leaves no folder that looks complete.
    fetched = Path(tempfile.mkdtemp(prefix="jars-", dir=jars.parent))
    try:
        command = [
            "mvn",
            "-q",
            "-B",
            "-f",
            str(POM),
            "dependency:copy-dependencies",
            f"-DoutputDirectory={fetched}",
        ]
        result = subprocess.run(command, capture_output=True, text=True)
        if result.returncode:
            errors = [line for line in result.stdout.splitlines() if line.startswith("[ERROR]")]
            raise KafkaFailed(f"Maven could not fetch Kafka's jars: {(errors or ['no output'])[0]}")
        shutil.copy(POM, fetched / POM.name)
        shutil.rmtree(jars, ignore_errors=True)
        fetched.rename(jars)
    finally:
        shutil.rmtree(fetched, ignore_errors=True)


def free_port() -> int:
    """A free port below the range that Linux uses for outgoing connections.

    Within that range, a client that connects to a broker that is down could be given the broker's own port,
    connect to itself and keep the port taken.
    """
    while not _is_free(port := random.randrange(20_000, 32_000)):
        pass
    return port


def answers(port: int) -> bool:
    """Whether a Kafka on this port knows a live broker; an open port alone does not show that."""
    request = struct.pack(">hhihi", 3, 1, 0, -1, 0)  # Metadata request, version 1, of no topic
    try:
        with socket.create_connection(("127.0.0.1", port), timeout=2) as connection:
            connection.sendall(struct.pack(">i", len(request)) + request)
            _size, _correlation, brokers = struct.unpack(">iii", connection.recv(12, socket.MSG_WAITALL))
            return int(brokers) > 0
    except (OSError, struct.error):
        return False


def _is_free(port: int) -> bool:
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)  # connections in TIME_WAIT do not count
        try:
            probe.bind(("127.0.0.1", port))
        except OSError:
            return False
        return True


def _are_fetched(jars: Path) -> bool:
    pom = jars / POM.name
    return pom.is_file() and pom.read_bytes() == POM.read_bytes()


def _find_java() -> str | None:
    home = os.environ.get("JAVA_HOME")
    return shutil.which(f"{home}/bin/java" if home else "java")


def main() -> None:
    """The command line: `python deploy/kafka.py start | stop | status`."""
    parser = argparse.ArgumentParser(
        description="Run a single-node Apache Kafka on loopback, for development; its data outlives a stop.",
        epilog="example: python deploy/kafka.py start --port 9092",
    )
    parser.add_argument("command", choices=["start", "stop", "status"])
    parser.add_argument("--port", type=int, default=9092, help="port to listen on (default: %(default)s)")
    parser.add_argument(
        "--folder", type=Path, default=FOLDER, help="folder for data and log (default: .kafka)"
    )
    arguments = parser.parse_args()
    kafka = KafkaBroker(arguments.folder, arguments.port)
    try:
        print({"start": _start, "stop": _stop, "status": _status}[arguments.command](kafka))
    except KafkaFailed as error:
        sys.exit(f"kafka: {error}")


def _start(kafka: KafkaBroker) -> str:
    if kafka.pid:
        return f"Kafka is already running at {kafka.brokers}"
    if not available() and not _are_fetched(kafka.jars):
        print("fetching Kafka's jars (45 MB), only this time", flush=True)
    kafka.start()
    return f"Kafka is running at {kafka.brokers}; its data is in {kafka.folder}"


def _stop(kafka: KafkaBroker) -> str:
    if not kafka.pid:
        return "Kafka is not running"
    kafka.stop()
    return "Kafka has stopped"


def _status(kafka: KafkaBroker) -> str:
    return (
        f"Kafka is running at {kafka.brokers}, process {kafka.pid}" if kafka.pid else "Kafka is not running"
    )


if __name__ == "__main__":
    main()
