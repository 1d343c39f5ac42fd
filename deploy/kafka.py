"""A real Apache Kafka on loopback, for development and tests: one node, KRaft, no root, no container.

Maven fetches the jars once, the machine's Java runs them.  `make kafka` and `make kafka-stop` are the
command line below; tests start their own:

    with KafkaBroker(Path("/tmp/broker")) as kafka:
        print(kafka.brokers)  # 127.0.0.1:23456

One node keeps one copy of everything and speaks plain text: nothing for production.  Linux only.
"""

import argparse
import base64
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
JAVA_AT_LEAST = 17  # what a broker of Kafka 4 needs

LOG4J = """\
rootLogger.level = warn
rootLogger.appenderRef.stdout.ref = stdout
appender.stdout.type = Console
appender.stdout.name = stdout
appender.stdout.layout.type = PatternLayout
appender.stdout.layout.pattern = %d %p %m (%c)%n
"""


class KafkaFailed(Exception):
    """The broker cannot be had; the first line says why and what to do, the log's tail may follow."""


class KafkaBroker:
    """One broker whose data, log and pid file are in `folder`: started again there, it has its data.

    `port` 0 takes a free one and keeps it for as long as the object lives.  `config` overrides
    broker settings.  Where another process has one running, the object takes its port and can end it.
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
        """The address, as `bootstrap.servers` wants it."""
        return f"127.0.0.1:{self.port}"

    @property
    def listeners(self) -> str:
        """The broker's `listeners`; `config` may add to them."""
        return f"PLAINTEXT://{self.brokers},CONTROLLER://127.0.0.1:{self._controller_port}"

    @property
    def pid(self) -> int | None:
        """The process that runs in this folder, whoever started it; None when there is none."""
        if self._process:
            self._process.poll()  # takes leave of a child that ended
        try:
            pid = int(self._pid_file.read_text().split()[0])
            command = Path(f"/proc/{pid}/cmdline").read_bytes()
        except (OSError, ValueError, IndexError):
            return None
        return pid if os.fsencode(self._properties) in command else None  # else the pid is another's by now

    def start(self, wait_s: float = 60) -> None:
        """Start it and wait until it answers.  `KafkaFailed` with the log's tail if it does not."""
        if self.pid:
            raise KafkaFailed(f"a broker already runs in {self.folder}")
        if not _is_free(self.port):
            raise KafkaFailed(f"port {self.port} is taken: end what listens there or choose another port")
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
        except BaseException:  # Ctrl-C too: what does not answer is not left behind
            self.kill()
            raise

    def stop(self, wait_s: float = 30) -> None:
        """End it in good order, or after `wait_s` without mercy.  Does nothing when none runs."""
        self._end(signal.SIGTERM, wait_s)
        self.kill()

    def kill(self) -> None:
        """End it as a power cut would (kill -9)."""
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
                raise KafkaFailed(f"Kafka ended at start; {self.log} says:\n{self._tail()}")
            if time.monotonic() > until:
                raise KafkaFailed(f"Kafka did not answer in {wait_s:.0f} s; {self.log} says:\n{self._tail()}")
            time.sleep(0.05)

    def _end(self, how: signal.Signals, wait_s: float) -> None:
        if not (pid := self.pid):
            return
        os.kill(pid, how)
        until = time.monotonic() + wait_s
        while not self._is_gone() and time.monotonic() < until:
            time.sleep(0.05)
        if not self.pid:
            self._pid_file.unlink(missing_ok=True)

    def _is_gone(self) -> bool:
        """Its threads end one by one: only a free port says that the last one has."""
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
            "auto.create.topics.enable": "false",  # a mistyped name is an error, as on a well-kept cluster
            "offsets.topic.replication.factor": 1,
            "offsets.topic.num.partitions": 8,
            "transaction.state.log.replication.factor": 1,
            "transaction.state.log.min.isr": 1,
            "transaction.state.log.num.partitions": 4,
            "share.coordinator.state.topic.replication.factor": 1,
            "share.coordinator.state.topic.min.isr": 1,
            "group.initial.rebalance.delay.ms": 0,  # 3 s by default, to wait for more members
            "broker.session.timeout.ms": 4000,  # after kill -9 it waits for its former self to be given up
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
        done = subprocess.run(command, capture_output=True, text=True)
        if done.returncode:
            why = (done.stderr or done.stdout).splitlines() or ["it said nothing"]
            raise KafkaFailed(f"Kafka could not format {self.folder / 'data'}: {why[0]}")

    def _java(self, *arguments: str, heap: str = "128m") -> list[str]:
        return [
            _find_java() or "java", f"-Xmx{heap}", "-XX:+UseG1GC", "-XX:MaxGCPauseMillis=20",
            f"-Dlog4j2.configurationFile={self.folder / 'log4j2.properties'}",
            "-cp", f"{self.jars}/*", *arguments,
        ]  # fmt: skip

    def _tail(self, lines: int = 15) -> str:
        return "\n".join(self.log.read_text(errors="replace").splitlines()[-lines:])


def available(jars: Path = JARS) -> str | None:
    """Why no broker can be started here, on one line; None when Java and Maven (or the jars) are there."""
    if not (java := _find_java()):
        return f"there is no java: install Java {JAVA_AT_LEAST} or later (a headless runtime will do)"
    said = subprocess.run([java, "-version"], capture_output=True, text=True).stderr
    version = re.search(r'version "(\d+)', said)
    if not version or int(version[1]) < JAVA_AT_LEAST:
        return f"{java} is Java {version[1] if version else '?'}: install Java {JAVA_AT_LEAST} or later"
    if not _are_there(jars) and not shutil.which("mvn"):
        return "there is no mvn: install Maven, which fetches Kafka's jars"
    return None


def fetch_jars(jars: Path = JARS) -> None:
    """Have Kafka's jars in this folder; done already, it does nothing.  `KafkaFailed` if that fails."""
    if reason := available(jars):
        raise KafkaFailed(reason)
    if _are_there(jars):
        return
    jars.parent.mkdir(parents=True, exist_ok=True)
    # Made beside and renamed: an interrupted fetch leaves nothing that looks whole.
    made = Path(tempfile.mkdtemp(prefix="jars-", dir=jars.parent))
    try:
        command = [
            "mvn",
            "-q",
            "-B",
            "-f",
            str(POM),
            "dependency:copy-dependencies",
            f"-DoutputDirectory={made}",
        ]
        done = subprocess.run(command, capture_output=True, text=True)
        if done.returncode:
            why = [line for line in done.stdout.splitlines() if line.startswith("[ERROR]")]
            raise KafkaFailed(f"Maven could not fetch Kafka's jars: {(why or ['it said nothing'])[0]}")
        shutil.copy(POM, made / POM.name)
        if not _are_there(jars):  # another process may have been faster
            shutil.rmtree(jars, ignore_errors=True)
            made.rename(jars)
    finally:
        shutil.rmtree(made, ignore_errors=True)


def free_port() -> int:
    """A free port below those that Linux gives to outgoing connections.

    From those, a client that calls a broker while it is down could be given the broker's own port,
    connect to itself and keep the port taken.
    """
    while not _is_free(port := random.randrange(20_000, 32_000)):
        pass
    return port


def answers(port: int) -> bool:
    """Whether a Kafka there says that it knows a live broker; an open port alone says too little."""
    request = struct.pack(">hhihi", 3, 1, 0, -1, 0)  # Metadata, version 1, of no topic
    try:
        with socket.create_connection(("127.0.0.1", port), timeout=2) as connection:
            connection.sendall(struct.pack(">i", len(request)) + request)
            _size, _correlation, brokers = struct.unpack(">iii", connection.recv(12, socket.MSG_WAITALL))
            return brokers > 0
    except (OSError, struct.error):
        return False


def _is_free(port: int) -> bool:
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)  # closed connections linger; no matter
        try:
            probe.bind(("127.0.0.1", port))
        except OSError:
            return False
        return True


def _are_there(jars: Path) -> bool:
    pom = jars / POM.name
    return pom.is_file() and pom.read_bytes() == POM.read_bytes()


def _find_java() -> str | None:
    home = os.environ.get("JAVA_HOME")
    return shutil.which(f"{home}/bin/java" if home else "java")


def main() -> None:
    """`python deploy/kafka.py start | stop | status`."""
    parser = argparse.ArgumentParser(
        description="A real single-node Apache Kafka on loopback, for development; its data outlives a stop.",
        epilog="example: python deploy/kafka.py start --port 9092",
    )
    parser.add_argument("do", choices=["start", "stop", "status"])
    parser.add_argument("--port", type=int, default=9092, help="to listen on (default: %(default)s)")
    parser.add_argument("--folder", type=Path, default=FOLDER, help="for data and log (default: .kafka)")
    asked = parser.parse_args()
    kafka = KafkaBroker(asked.folder, asked.port)
    try:
        print({"start": _start, "stop": _stop, "status": _status}[asked.do](kafka))
    except KafkaFailed as error:
        sys.exit(f"kafka: {error}")


def _start(kafka: KafkaBroker) -> str:
    if kafka.pid:
        return f"Kafka already runs at {kafka.brokers}"
    if not available() and not _are_there(kafka.jars):
        print("fetching Kafka's jars (45 MB), once", flush=True)
    kafka.start()
    return f"Kafka runs at {kafka.brokers}; its data is in {kafka.folder}"


def _stop(kafka: KafkaBroker) -> str:
    if not kafka.pid:
        return "Kafka does not run"
    kafka.stop()
    return "Kafka has stopped"


def _status(kafka: KafkaBroker) -> str:
    return f"Kafka runs at {kafka.brokers}, process {kafka.pid}" if kafka.pid else "Kafka does not run"


if __name__ == "__main__":
    main()
