"""A web server and an FTP server of this machine, for tests: what they hold, how they fail, and what they were asked."""

from __future__ import annotations

import re
import socketserver
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any


@dataclass
class File:
    """A file that is served, and what is wrong with its server."""

    body: bytes
    tag: str = '"1"'
    modified: str = ""
    kind: str = "application/octet-stream"
    ranges: bool = True
    honours_if_range: bool = True
    tells_length: bool = True
    drops: list[int] = field(default_factory=list)  # bytes after which each of the next answers breaks off
    codes: list[int] = field(default_factory=list)  # what each of the next answers is instead


class Server:
    """The files of a web server by path, and a log."""

    def __init__(self) -> None:
        self.files: dict[str, File] = {}
        self.asked: list[tuple[str, str, str]] = []  # method, path, range
        self.sent = 0
        self.redirects: dict[str, str] = {}
        self.base = ""

    def url(self, path: str) -> str:
        return f"{self.base}/{path}"

    def put(self, path: str, body: bytes, **how: Any) -> str:
        self.files[f"/{path}"] = File(body, **how)
        return self.url(path)

    def gets(self) -> list[str]:
        return [span for method, _, span in self.asked if method == "GET"]


def _handler(server: Server) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        def log_message(self, *_: object) -> None:
            pass

        def do_HEAD(self) -> None:
            self.answer(body=False)

        def do_GET(self) -> None:
            self.answer(body=True)

        def answer(self, body: bool) -> None:
            server.asked.append((self.command, self.path, self.headers.get("Range", "")))
            if self.path in server.redirects:
                self.send_response(302)
                self.send_header("Location", server.redirects[self.path])
                self.send_header("Content-Length", "0")
                self.end_headers()
                return
            file = server.files.get(self.path)
            if file is None or (body and file.codes):
                self.send_error(404 if file is None else file.codes.pop(0))
                return
            start = self.start(file)
            if start is None:
                self.send_error(416)
                return
            self.send_head(file, start)
            if body:
                self.send_body(file, start)

        def start(self, file: File) -> int | None:
            span = re.fullmatch(r"bytes=(\d+)-", self.headers.get("Range", ""))
            same = not file.honours_if_range or self.headers.get("If-Range", file.tag) in (file.tag, file.modified)
            if span is None or not file.ranges or not same:
                return 0
            return int(span[1]) if int(span[1]) < len(file.body) else None

        def send_head(self, file: File, start: int) -> None:
            self.send_response(206 if start else 200)
            if start:
                self.send_header("Content-Range", f"bytes {start}-{len(file.body) - 1}/{len(file.body)}")
            if file.tells_length:
                self.send_header("Content-Length", str(len(file.body) - start))
            self.send_header("Content-Type", file.kind)
            for name, value in (("ETag", file.tag), ("Last-Modified", file.modified)):
                if value:
                    self.send_header(name, value)
            self.end_headers()

        def send_body(self, file: File, start: int) -> None:
            rest = file.body[start:]
            body = rest[: file.drops.pop(0)] if file.drops else rest
            server.sent += len(body)
            self.wfile.write(body)
            self.close_connection = True

    return Handler


@contextmanager
def web_server() -> Iterator[Server]:
    server = Server()
    with ThreadingHTTPServer(("127.0.0.1", 0), _handler(server)) as http:
        server.base = f"http://127.0.0.1:{http.server_port}"
        thread = threading.Thread(target=http.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        yield server
        http.shutdown()
        thread.join()


class FtpServer:
    """One file behind FTP, and a log of commands."""

    def __init__(self, path: str, body: bytes) -> None:
        self.path, self.body = path, body
        self.drops: list[int] = []
        self.changed = "20200101000000"
        self.commands: list[str] = []
        self.address = ""

    def reply(self, command: str, argument: str) -> str:
        if command in ("SIZE", "MDTM"):
            return f"213 {len(self.body) if command == 'SIZE' else self.changed}" if argument == self.path else "550 no such file"
        known = {"USER": "331 password?", "PASS": "230 welcome" if argument == "m1234" else "530 no", "QUIT": "221 bye"}
        return known.get(command, "200 fine")


@contextmanager
def ftp_server(server: FtpServer) -> Iterator[FtpServer]:
    class Handler(socketserver.StreamRequestHandler):
        def handle(self) -> None:
            self.rest = 0
            self.say("220 hello")
            for line in self.rfile:
                command, _, argument = line.decode().strip().partition(" ")
                server.commands.append(f"{command} {argument}".strip())
                if command == "PASV":
                    self.data = socketserver.TCPServer(("127.0.0.1", 0), socketserver.BaseRequestHandler)
                    port = self.data.server_address[1]
                    self.say(f"227 here (127,0,0,1,{port // 256},{port % 256})")
                elif command == "REST":
                    self.rest = int(argument)
                    self.say("350 go on")
                elif command == "RETR":
                    self.send()
                else:
                    self.say(server.reply(command, argument))

        def say(self, text: str) -> None:
            self.wfile.write(f"{text}\r\n".encode())

        def send(self) -> None:
            self.say("150 coming")
            connection, _ = self.data.get_request()
            rest = server.body[self.rest :]
            body = rest[: server.drops.pop(0)] if server.drops else rest
            with connection:
                connection.sendall(body)
            self.data.server_close()
            self.say("226 done" if len(body) == len(rest) else "426 broke off")

    class Threads(socketserver.ThreadingTCPServer):
        daemon_threads = True

    with Threads(("127.0.0.1", 0), Handler) as ftp:
        server.address = f"127.0.0.1:{ftp.server_address[1]}"
        thread = threading.Thread(target=ftp.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        yield server
        ftp.shutdown()
        thread.join()
