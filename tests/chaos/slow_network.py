"""A TCP proxy on loopback that passes every byte on, but late."""

import asyncio
import threading
from contextlib import suppress

CHUNK_BYTES = 64 * 1024


class SlowNetwork:
    """Passes connections to `port` on to `target_port`, each byte `delay_s` later in either direction.

    It runs on a thread of its own, from the construction to `close`.
    """

    def __init__(self, port: int, target_port: int, delay_s: float) -> None:
        self._port, self._target_port, self._delay_s = port, target_port, delay_s
        self._loop = asyncio.new_event_loop()
        listening = threading.Event()
        self._thread = threading.Thread(target=self._run, args=(listening,), daemon=True)
        self._thread.start()
        listening.wait(10)

    def close(self) -> None:
        """End every connection, and the thread."""
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(10)

    def _run(self, listening: threading.Event) -> None:
        asyncio.set_event_loop(self._loop)
        self._loop.run_until_complete(asyncio.start_server(self._connected, "127.0.0.1", self._port))
        listening.set()
        self._loop.run_forever()

    async def _connected(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            target_reader, target_writer = await asyncio.open_connection("127.0.0.1", self._target_port)
        except OSError:  # no broker: the client sees the connection end
            writer.close()
            return
        await asyncio.gather(self._pass(reader, target_writer), self._pass(target_reader, writer))

    async def _pass(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Pass bytes on until the reader's end, `delay_s` after each came; then end the writer."""
        under_way: asyncio.Queue[tuple[float, bytes]] = asyncio.Queue()
        reading = asyncio.ensure_future(self._read(reader, under_way))
        with suppress(ConnectionError):
            while True:
                due, data = await under_way.get()
                await asyncio.sleep(due - self._loop.time())
                if not data:
                    break
                writer.write(data)
                await writer.drain()
        reading.cancel()
        writer.close()

    async def _read(
        self, reader: asyncio.StreamReader, under_way: asyncio.Queue[tuple[float, bytes]]
    ) -> None:
        data = b"-"
        while data:
            try:
                data = await reader.read(CHUNK_BYTES)
            except ConnectionError:
                data = b""
            under_way.put_nowait((self._loop.time() + self._delay_s, data))
