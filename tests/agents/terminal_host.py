"""Terminals as terminado's users host them: a shell for each socket, and shells that have names."""

import sys

import terminado
import tornado.ioloop
import tornado.web
from tornado.httpserver import HTTPServer
from tornado.netutil import bind_sockets


class Document(tornado.web.RequestHandler):
    """The page that has the terminal."""

    def get(self):
        self.write("<title>terminal</title>")


def main():
    """Serves until it is told to end."""
    unique = terminado.UniqueTermManager(shell_command=sys.argv[1:])
    named = terminado.NamedTermManager(shell_command=sys.argv[1:])
    routes = [
        (r"/", Document),
        (r"/websocket", terminado.TermSocket, {"term_manager": unique}),
        (r"/named/(\w+)", terminado.TermSocket, {"term_manager": named}),
    ]
    server = HTTPServer(tornado.web.Application(routes))
    sockets = bind_sockets(0, "127.0.0.1")
    server.add_sockets(sockets)
    print(f"listening on 127.0.0.1:{sockets[0].getsockname()[1]}", flush=True)
    tornado.ioloop.IOLoop.current().start()


main()
