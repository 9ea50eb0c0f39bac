"""Autobahn's two fuzzing parts, in the Python 2.7 that they want: wstest.py PACKAGES server|client SPEC.

The suite's own command listens on a port that it must be told, and refuses a Host that names another, as
every client of a proxy does. Here the server listens on a free port of loopback, which it prints, and takes any.
"""

import json
import site
import sys

packages, part, spec = sys.argv[1:]
sys.path.insert(0, packages)
site.addsitedir(packages)

from twisted.internet import reactor  # noqa: E402
from autobahntestsuite import fuzzing  # noqa: E402


def listen(factory, _tls):
    factory.externalPort = None
    print("listening on %d" % reactor.listenTCP(0, factory, interface="127.0.0.1").getHost().port)
    sys.stdout.flush()


fuzzing.listenWS = listen
if part == "server":
    fuzzing.startServer(json.loads(spec), None)
else:
    fuzzing.startClient(json.loads(spec))
reactor.run()
