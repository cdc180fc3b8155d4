#!/usr/bin/env python3
"""A consumer of Sluice's frames in Python's standard library alone; docs/link.md explains it.

It joins a camera's group `analyze` and prints one line of JSON for each frame that it gets, until the run is over:

    python3 examples/consumer.py nats://127.0.0.1:4222 cam0 py-1

With `--analyze-policy lossless` and no other analyser it gets every frame, else the newest that it can keep up with.
"""

import fcntl
import json
import mmap
import os
import secrets
import select
import socket
import struct
import sys
import time
import urllib.parse
import zlib

GROUP = "analyze"
ARMED, FRAMES, END, CLOSED = 1, 3, 6, 8
READY, RELEASES, FINISHED = 33, 34, 37
HEARTBEAT, RESET, JOIN, WELCOME = 64, 65, 66, 67

HEADER = struct.Struct("<4sB3xQQQ")  # magic, kind, connection, number, ack
OFFER = struct.Struct("<QQqqQQI4x")  # seq, frame id, device time, host time, generation, epoch, slot, and a checksum that this consumer has no use for
RELEASE = struct.Struct("<QQQIB3x")  # seq, generation, epoch, slot, outcome
SLAB = struct.Struct("<8sII6Q16s32s")  # magic, version, slots, frame bytes, stride, slots at, losses at, data at, total, run, camera
SLOT = struct.Struct("<QQQqq")  # generation, seq, frame id, device time, host time


class Nats:
    """As much of the NATS protocol as a consumer needs. A real one would reconnect."""

    def __init__(self, url):
        u = urllib.parse.urlsplit(url)
        self.socket = socket.create_connection((u.hostname, u.port or 4222), timeout=10)
        self.buffer = b""
        options = {"verbose": False, "pedantic": False, "name": "consumer.py", "lang": "python", "version": "1"}
        if u.username:
            options |= {"user": u.username, "pass": u.password or ""}
        self.send(b"CONNECT " + json.dumps(options).encode() + b"\r\n")

    def send(self, data):
        self.socket.sendall(data)

    def subscribe(self, subject):
        self.send(b"SUB %s 1\r\n" % subject.encode())

    def publish(self, subject, payload):
        self.send(b"PUB %s %d\r\n%s\r\n" % (subject.encode(), len(payload), payload))

    def messages(self, timeout):
        """Payloads that have come in; waits for some at most for the given time."""
        if select.select([self.socket], [], [], timeout)[0]:
            data = self.socket.recv(1 << 20)
            if not data:
                raise ConnectionError("the broker has closed the connection")
            self.buffer += data
        while b"\r\n" in self.buffer:
            line, rest = self.buffer.split(b"\r\n", 1)
            if line.startswith(b"MSG "):
                size = int(line.split()[-1])
                if len(rest) < size + 2:
                    return
                self.buffer = rest[size + 2 :]
                yield rest[:size]
                continue
            self.buffer = rest
            if line == b"PING":
                self.send(b"PONG\r\n")
            elif line.startswith(b"-ERR"):
                raise ConnectionError(line.decode())


class Link:
    """One connection to acquire: numbers, confirmations, repeats."""

    def __init__(self, nats, camera, name):
        self.nats, self.base, self.name = nats, f"sluice.{camera}.link", name
        nats.subscribe(f"{self.base}.down.{GROUP}.{name}")
        self.nonce = secrets.token_hex(8)
        self.health = {"frames": 0}
        self.begin()

    def begin(self):
        """A new connection: nothing of the old one counts any more."""
        self.conn = secrets.randbits(64) | 1
        self.joined = False
        self.sent, self.seen, self.owed = 0, 0, False
        self.out, self.ahead = {}, {}  # by number: sent and not confirmed; received before its time
        self.beat = self.asked = 0.0

    def packet(self, kind, number, body=b""):
        return HEADER.pack(b"SLU1", kind, self.conn, number, self.seen) + body

    def transmit(self, kind, number, body=b""):
        self.owed = False
        self.nats.publish(f"{self.base}.up.{GROUP}.{self.name}", self.packet(kind, number, body))

    def send(self, kind, body):
        self.sent += 1
        self.out[self.sent] = [kind, body, time.monotonic()]
        self.transmit(kind, self.sent, body)

    def tick(self):
        """What is due by time: the request to join, heartbeats, repeats, confirmations."""
        now = time.monotonic()
        if not self.joined:
            if now - self.asked > 0.2:
                self.asked = now
                request = {"v": 2, "group": GROUP, "name": self.name, "pid": os.getpid(), "host": socket.gethostname(),
                           "nonce": self.nonce, "conn": str(self.conn)}
                self.nats.publish(f"{self.base}.join.{GROUP}", self.packet(JOIN, 0, json.dumps(request).encode()))
            return
        if now - self.beat > 1:
            self.beat = now
            self.transmit(HEARTBEAT, 0, json.dumps({"busy": 0, "starved": 1, "blocked": 0, "bytes": 0} | self.health).encode())
        for number, entry in list(self.out.items())[:256]:
            if now - entry[2] > 0.2:
                entry[2] = now
                self.transmit(entry[0], number, entry[1])
        if self.owed:
            self.transmit(HEARTBEAT, 0)

    def messages(self):
        """Yields (kind, body) of what acquire says, once each and in order."""
        for data in self.nats.messages(0.02):
            if len(data) < HEADER.size:
                continue
            magic, kind, conn, number, ack = HEADER.unpack_from(data)
            body = data[HEADER.size :]
            if magic != b"SLU1" or conn != self.conn:
                continue
            if ack <= self.sent:
                for n in [n for n in self.out if n <= ack]:
                    del self.out[n]
            if kind == WELCOME:
                refused = json.loads(body).get("refused")
                if refused:
                    sys.exit(f"acquire refuses: {refused}")
                self.joined = True
            elif kind == RESET:
                self.begin()
            elif number > self.seen:
                self.ahead[number] = (kind, body)
            elif number:
                self.owed = True  # a repeat: our confirmation was lost
            while self.seen + 1 in self.ahead:
                self.seen += 1
                self.owed = True
                yield self.ahead.pop(self.seen)
        self.tick()


class Slab:
    """The frames in shared memory, read-only."""

    def __init__(self, path, run):
        folder = f"/dev/shm/sluice-{os.getuid()}"
        if os.path.dirname(path) != folder or os.stat(folder).st_uid != os.getuid():
            sys.exit(f"{path} is not a slab of ours")
        fd = os.open(path, os.O_RDONLY | os.O_NOFOLLOW)
        try:
            self.memory = mmap.mmap(fd, 0, prot=mmap.PROT_READ)
        finally:
            os.close(fd)
        (magic, version, self.slots, self.bytes, self.stride, self.table, _, self.data, total, run_id, _) = SLAB.unpack_from(self.memory)
        if magic != b"SLUICESL" or version != 3 or total != len(self.memory) or run_id.hex() != run:
            sys.exit(f"{path} is not the slab of run {run}")

    def record(self, slot):
        return SLOT.unpack_from(self.memory, self.table + 128 * slot)

    def pixels(self, slot):
        at = self.data + self.stride * slot
        return memoryview(self.memory)[at : at + self.bytes]


def presence(camera, name):
    """Takes the lock that says that this process lives. It is held until the process ends."""
    folder = f"/dev/shm/sluice-{os.getuid()}"
    os.makedirs(folder, mode=0o700, exist_ok=True)
    path = f"{folder}/{camera}.{name}.member"
    while True:
        fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW, 0o600)
        # struct flock: the whole file. An open file description lock, which needs no close() to be careful about.
        fcntl.fcntl(fd, fcntl.F_OFD_SETLK, struct.pack("hhqqi4x", fcntl.F_WRLCK, os.SEEK_SET, 0, 0, 0))
        if os.path.exists(path) and os.path.samestat(os.fstat(fd), os.stat(path)):
            break
        os.close(fd)  # a member of that name has just left, and its file with it
    os.pwrite(fd, b"%-11d\n" % os.getpid(), 0)
    return fd


def work(slab, offer):
    """What this consumer is for. The pixels must not be used after the release."""
    seq, frame_id, device, _, generation, _, slot = offer
    if slot >= slab.slots or slab.record(slot)[:2] != (generation, seq):
        return  # it was released before, or reclaimed
    with slab.pixels(slot) as pixels:
        crc = zlib.crc32(pixels)
    if slab.record(slot)[0] != generation:
        return  # the slot was filled anew while we read
    print(json.dumps({"seq": seq, "frame_id": frame_id, "time_device_ns": str(device), "crc32": crc}), flush=True)


def main():
    url, camera, name = sys.argv[1:]
    lock = presence(camera, name)
    link = Link(Nats(url), camera, name)
    slab, run = None, None
    while True:
        for kind, body in link.messages():
            if kind == ARMED:
                armed = json.loads(body)
                if armed["spec"]["run"] != run:
                    run = armed["spec"]["run"]
                    slab = Slab(armed["slab"], run)
                link.send(READY, json.dumps({"run": run}).encode())
            elif kind == FRAMES:
                offers = list(OFFER.iter_unpack(body))
                for offer in offers:
                    work(slab, offer)
                link.health["frames"] += len(offers)
                link.send(RELEASES, b"".join(RELEASE.pack(o[0], o[4], o[5], o[6], 0) for o in offers))
            elif kind == END:
                print(json.dumps({"captured": json.loads(body)["captured"]}), flush=True)
                link.send(FINISHED, json.dumps({"run": run}).encode())
            elif kind == CLOSED and json.loads(body)["run"] == run:
                link.tick()  # confirms
                os.close(lock)
                return


if __name__ == "__main__":
    main()
