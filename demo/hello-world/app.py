"""The demo app: answers a greeting, and can be told to be slow or to fail.

GET  /greeting            {"content", "version", "instance"}
GET  /health              200, or 503 while it is told to be unhealthy
GET  /echo                method, path and headers as they arrived; POST echoes the size of the body
GET  /events              server-sent events, one a second
GET  /ws                  a WebSocket that echoes text
POST /behave?KEY=VALUE    change behaviour: slow=MS, fail=PERCENT, status=CODE, healthy=0|1, exit=CODE
Any GET takes ?slow=MS and ?fail=CODE for itself alone.

Variables: PORT (8080), START_DELAY and CRASH_AFTER in seconds, GREETING; SLOW, FAIL and HEALTHY as with /behave.
"""
import base64
import hashlib
import json
import os
import random
import signal
import socket
import struct
import sys
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import parse_qs, urlsplit

VERSION = os.environ.get("PLATFORMER_RELEASE", "").rpartition("@")[2]
if not VERSION:
    try:
        VERSION = open("VERSION").read().strip()
    except OSError:
        VERSION = "unknown"

behaviour = {
    "slow": float(os.environ.get("SLOW", 0)),
    "fail": float(os.environ.get("FAIL", 0)),
    "status": 500,
    "healthy": float(os.environ.get("HEALTHY", 1)),
}


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    # Longer than a proxy keeps its idle connections, so that the proxy closes them and not we.
    timeout = 90

    def setup(self):
        super().setup()
        self.request.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)

    def do_GET(self):
        url = urlsplit(self.path)
        query = parse_qs(url.query)
        if url.path == "/health":
            return self.answer(200 if behaviour["healthy"] else 503, {"healthy": bool(behaviour["healthy"])})
        time.sleep((behaviour["slow"] + int(query.get("slow", ["0"])[0])) / 1000)
        if "fail" in query:
            return self.answer(int(query["fail"][0]), {"error": "as asked"})
        if random.random() * 100 < behaviour["fail"]:
            return self.answer(int(behaviour["status"]), {"error": "as told"})
        if url.path == "/echo":
            return self.answer(200, {"method": self.command, "path": self.path, "headers": dict(self.headers)})
        if url.path == "/events":
            return self.events()
        if url.path == "/ws":
            return self.websocket()
        if url.path in ("/", "/greeting"):
            content = os.environ.get("GREETING", "Hello, World!")
            return self.answer(200, {"content": content, "version": VERSION, "instance": socket.gethostname()})
        return self.answer(404, {"error": "not found"})

    do_HEAD = do_GET

    def do_POST(self):
        url = urlsplit(self.path)
        size = 0
        left = int(self.headers.get("Content-Length", 0))
        while left > 0:
            chunk = self.rfile.read(min(left, 65536))
            if not chunk:
                break
            size += len(chunk)
            left -= len(chunk)
        if url.path == "/behave":
            for key, values in parse_qs(url.query).items():
                if key == "exit":
                    self.answer(200, {"exit": values[0]})
                    os._exit(int(values[0]))
                behaviour[key] = float(values[0])
            return self.answer(200, behaviour)
        return self.answer(200, {"received": size})

    def answer(self, status, body):
        data = (json.dumps(body) + "\n").encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(data)

    def events(self):
        self.send_response(200)
        self.send_header("Content-Type", "text/event-stream")
        self.send_header("Connection", "close")
        self.end_headers()
        self.close_connection = True
        for number in range(3600):
            self.wfile.write(f"id: {number}\ndata: {VERSION}\n\n".encode())
            self.wfile.flush()
            time.sleep(1)

    def websocket(self):
        key = self.headers.get("Sec-WebSocket-Key", "") + "258EAFA5-E914-47DA-95CA-C5AB0DC85B11"
        self.send_response(101)
        self.send_header("Upgrade", "websocket")
        self.send_header("Connection", "Upgrade")
        self.send_header("Sec-WebSocket-Accept", base64.b64encode(hashlib.sha1(key.encode()).digest()).decode())
        self.end_headers()
        self.close_connection = True
        # The time-out of plain requests does not hold for a connection that is meant to stay.
        self.request.settimeout(None)
        while True:
            head = self.rfile.read(2)
            if len(head) < 2 or head[0] & 15 == 8:
                return
            length = head[1] & 127
            if length == 126:
                length = struct.unpack(">H", self.rfile.read(2))[0]
            mask = self.rfile.read(4)
            data = bytes(b ^ mask[i % 4] for i, b in enumerate(self.rfile.read(length)))
            size = bytes([len(data)]) if len(data) < 126 else struct.pack(">BH", 126, len(data))
            self.wfile.write(b"\x81" + size + data)
            self.wfile.flush()

    def log_message(self, *arguments):
        pass


class Server(ThreadingHTTPServer):
    daemon_threads = True
    request_queue_size = 1024


def stop(*_):
    """Accept no more, let requests under way finish for a moment."""
    threading.Thread(target=server.shutdown).start()


time.sleep(float(os.environ.get("START_DELAY", "0")))
server = Server(("", int(os.environ.get("PORT", "8080"))), Handler)
signal.signal(signal.SIGTERM, stop)
if "CRASH_AFTER" in os.environ:
    threading.Timer(float(os.environ["CRASH_AFTER"]), lambda: os._exit(3)).start()
print(f"hello-world {VERSION} listens on port {server.server_port}", flush=True)
server.serve_forever(poll_interval=0.05)
sys.exit(0)
