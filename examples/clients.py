#!/usr/bin/env python3
"""Runs a thousand concurrent clients, good and bad, against the example `line_server`.

    cargo run --release --example line_server
    python3 examples/clients.py             # in another terminal
    python3 examples/clients.py --help

Most clients are well-behaved: they log in, send some lines each, and read. Some clients never read, some vanish in the
middle of a line, and some send lines that are too long or not UTF-8. The bad clients must not affect the well-behaved
ones: each well-behaved client must receive every line of every other, whole, once, and in the order in which it was sent.
The exit code is 0 if this holds.
"""

import argparse
import asyncio
import collections
import socket
import sys
import time

# All lines together exceed the kernel's buffers for a client that does not read, and the 1,024 lines that the server
# keeps for it.
PADDING = "." * 1500


def main():
    options = parse_options()
    allow_many_files()
    return asyncio.run(Party(options).run())


def parse_options():
    parser = argparse.ArgumentParser(description="Many clients for the example line_server.")
    parser.add_argument("host", nargs="?", default="127.0.0.1")
    parser.add_argument("port", nargs="?", type=int, default=7878)
    parser.add_argument("--clients", type=int, default=1000, help="all of them (default: %(default)s)")
    parser.add_argument("--slow", type=int, default=10, help="that never read (default: %(default)s)")
    parser.add_argument("--vanishing", type=int, default=40, help="that vanish (default: %(default)s)")
    parser.add_argument("--rude", type=int, default=10, help="that send bad lines (default: %(default)s)")
    parser.add_argument("--lines", type=int, default=3, help="of each good client (default: %(default)s)")
    parser.add_argument("--nap", type=float, default=11,
                        help="of those that never read, in seconds, before they look (default: %(default)s)")
    parser.add_argument("--timeout", type=float, default=120, help="in seconds (default: %(default)s)")
    options = parser.parse_args()
    options.good = options.clients - options.slow - options.vanishing - options.rude
    if options.good < 1 or min(options.slow, options.vanishing, options.rude, options.lines) < 0:
        parser.error("there must be good clients")
    return options


def allow_many_files():
    try:
        import resource
    except ImportError:
        return
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))


class Client(asyncio.Protocol):
    """Logs in. `content` is set when the client has succeeded."""

    def __init__(self, party, name):
        self.party = party
        self.name = name
        self.rest = b""
        self.got = 0
        self.logged_in = asyncio.get_running_loop().create_future()
        self.content = asyncio.get_running_loop().create_future()
        self.lost = asyncio.get_running_loop().create_future()
        self.wrong = []
        self.transport = None

    async def enter(self):
        options = self.party.options
        for attempt in range(20):
            try:
                await self.connect(asyncio.get_running_loop(), options.host, options.port)
                break
            except (ConnectionResetError, TimeoutError):
                await asyncio.sleep(0.02 * attempt)  # the kernel's queue is full
        self.say(f"LOGIN {self.name}")
        await self.logged_in

    async def connect(self, loop, host, port):
        await loop.create_connection(lambda: self, host, port)

    def say(self, line):
        self.transport.write(f"{line}\n".encode())

    def connection_made(self, transport):
        self.transport = transport

    def connection_lost(self, error):
        if not self.content.done():
            self.wrong.append(f"{self.name} was disconnected: {error}")
        for future in (self.logged_in, self.content, self.lost):
            if not future.done():
                future.set_result(False)

    def data_received(self, data):
        *lines, self.rest = (self.rest + data).split(b"\n")
        for line in lines:
            self.got += 1
            if self.logged_in.done():
                self.hear(line)
            else:
                self.logged_in.set_result(line == b"OK")

    def hear(self, line):
        pass


class Good(Client):
    """Sends lines, and reads and checks all lines of the good clients."""

    def __init__(self, party, name):
        super().__init__(party, name)
        self.next_of = collections.defaultdict(int)
        self.missing = party.options.good * party.options.lines

    async def talk(self):
        for number in range(self.party.options.lines):
            self.say(f"{number} {PADDING}")
            await asyncio.sleep(0)

    def hear(self, line):
        name, _, said = line.partition(b": ")
        if not name.startswith(b"good-"):
            return
        expected = b"%d %s" % (self.next_of[name], PADDING.encode())
        if said != expected:
            self.wrong.append(f"{self.name} expected {expected[:8]!r} of {name!r} and got {said[:8]!r}")
        self.next_of[name] += 1
        self.missing -= 1
        if self.missing == 0:
            self.party.served += 1
            self.content.set_result(True)


class Slow(Client):
    """Logs in, and then never reads."""

    async def enter(self):
        await super().enter()
        self.transport.pause_reading()

    async def connect(self, loop, host, port):
        """Connects with a small receive buffer, which fills up quickly."""
        small = socket.socket()
        small.setblocking(False)
        small.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        await loop.sock_connect(small, (host, port))
        await loop.create_connection(lambda: self, sock=small)

    async def was_disconnected(self):
        """Checks for a disconnect, after a sleep that is longer than the server's patience."""
        await asyncio.sleep(self.party.options.nap)
        self.transport.resume_reading()
        done, _ = await asyncio.wait([self.lost], timeout=5)
        return bool(done)


class Vanishing(Client):
    """Vanishes in the middle of a line, usually with unread input, so that its connection is reset."""

    async def talk(self):
        self.say("I have to")
        self.transport.write(b"go in the middle of a li")
        await asyncio.sleep(0.02)
        self.transport.abort()


class Rude(Client):
    """Sends bad lines, and counts the errors that it receives for them."""

    BAD = [b"\xff\xfe not UTF-8\n", b"x" * 100_000 + b"\n"]

    def __init__(self, party, name):
        super().__init__(party, name)
        self.errors = 0

    async def talk(self):
        for line in self.BAD:
            self.transport.write(line)

    def hear(self, line):
        self.errors += line.startswith(b"ERR ")
        if self.errors == len(self.BAD) and not self.content.done():
            self.content.set_result(True)


class Party:
    def __init__(self, options):
        self.options = options
        self.served = 0

    async def run(self):
        try:
            return await asyncio.wait_for(self.meet(), self.options.timeout)
        except asyncio.TimeoutError:
            print(f"FAILED: after {self.options.timeout} s {self.served} of {self.options.good} "
                  "good clients had got every line", file=sys.stderr)
            return 1
        except OSError as error:
            print(f"FAILED: {error}; is the server running?", file=sys.stderr)
            return 1

    async def meet(self):
        options = self.options
        good = [Good(self, f"good-{number}") for number in range(options.good)]
        slow = [Slow(self, f"slow-{number}") for number in range(options.slow)]
        vanishing = [Vanishing(self, f"vanishing-{number}") for number in range(options.vanishing)]
        rude = [Rude(self, f"rude-{number}") for number in range(options.rude)]
        everyone = [*good, *slow, *vanishing, *rude]

        wrong = await self.enter(everyone)
        if not wrong:
            await self.talk(good, vanishing, rude)
            disconnected = sum(await asyncio.gather(*(client.was_disconnected() for client in slow)))
            print(f"{disconnected} of {len(slow)} that never read were disconnected")
            wrong = [line for client in [*good, *rude] for line in client.wrong]
        for client in everyone:
            client.transport.close()

        for line in wrong[:20]:
            print(f"WRONG: {line}", file=sys.stderr)
        print(f"FAILED: {len(wrong)} things were wrong" if wrong else "all is well")
        return 1 if wrong else 0

    async def enter(self, everyone):
        start = time.monotonic()
        await asyncio.gather(*(client.enter() for client in everyone))
        refused = [f"{client.name} was not let in" for client in everyone if not client.logged_in.result()]
        seconds = time.monotonic() - start
        print(f"{len(everyone) - len(refused)} clients logged in after {seconds:.2f} s")
        return refused

    async def talk(self, good, vanishing, rude):
        start = time.monotonic()
        await asyncio.gather(*(client.talk() for client in [*vanishing, *rude, *good]))
        await asyncio.gather(*(client.content for client in [*good, *rude]))
        seconds = time.monotonic() - start
        lines = sum(client.got for client in good)
        print(f"{self.served} of {len(good)} good clients got every line of each other: "
              f"{lines} lines in {seconds:.2f} s, {lines / seconds:,.0f} a second")
        print(f"{len(vanishing)} vanished, and {len(rude)} rude ones got their errors")


if __name__ == "__main__":
    sys.exit(main())
