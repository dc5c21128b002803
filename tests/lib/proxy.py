# SPDX-License-Identifier: Apache-2.0
"""proxy.py PORT UPSTREAM: the process behind targets.Proxy; takes `hole`, `open`, `cut` on stdin and repeats each when
it is done."""

import selectors
import socket
import sys

SIZE = 1 << 18


class Relay:
    def __init__(self, port, upstream):
        self.upstream = upstream
        self.swallow = False
        self.select = selectors.DefaultSelector()
        self.peer = {}
        self.listener = socket.create_server(("127.0.0.1", port), backlog=64)
        self.select.register(self.listener, selectors.EVENT_READ, self.accept)
        self.select.register(sys.stdin, selectors.EVENT_READ, self.command)

    def accept(self, _):
        client, _ = self.listener.accept()
        if self.swallow:
            self.peer[client] = None
            return
        try:
            server = socket.create_connection(("127.0.0.1", self.upstream))
        except OSError:
            client.close()
            return
        for one, other in ((client, server), (server, client)):
            one.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            self.peer[one] = other
            self.select.register(one, selectors.EVENT_READ, self.forward)

    def forward(self, sock):
        other = self.peer.get(sock)
        try:
            data = sock.recv(SIZE)
            if data and other:
                other.sendall(data)
        except OSError:
            data = b""
        if not data:
            self.close(sock)
            if other:
                self.close(other)

    def close(self, sock):
        if sock in self.peer:
            del self.peer[sock]
            try:
                self.select.unregister(sock)
            except KeyError:
                pass
            sock.close()

    def command(self, _):
        word = sys.stdin.readline().strip()
        if not word:
            sys.exit(0)
        if word == "hole":
            self.swallow = True
            for sock in list(self.peer):  # nobody reads them any more: bytes are lost, the connections stay
                try:
                    self.select.unregister(sock)
                except KeyError:
                    pass
        elif word == "open":
            self.swallow = False
        elif word == "cut":
            for sock in list(self.peer):
                self.close(sock)
        print(word, flush=True)

    def run(self):
        print("ready", flush=True)
        while True:
            for key, _ in self.select.select():
                key.data(key.fileobj)


Relay(int(sys.argv[1]), int(sys.argv[2])).run()
