"""Autobahn's four parts, in the Python 2.7 that they want: wstest.py PACKAGES PART [SPEC or URL].

The suite's own command listens on a port that it must be told, and refuses a Host that names another, as
every client of a proxy does. Here servers listen on a free port of loopback, which they print, and take any.
"""

import json
import site
import sys

packages, part = sys.argv[1:3]
sys.path.insert(0, packages)
site.addsitedir(packages)

from twisted.internet import reactor  # noqa: E402
from autobahntestsuite import fuzzing, testee  # noqa: E402


def listen(factory, _tls):
    factory.externalPort = None
    print("listening on %d" % reactor.listenTCP(0, factory, interface="127.0.0.1").getHost().port)
    sys.stdout.flush()


fuzzing.listenWS = testee.listenWS = listen

if part == "echo-server":
    testee.startServer("ws://127.0.0.1")
elif part == "echo-client":
    testee.startClient(sys.argv[3], ident="sessmux")
elif part == "fuzzing-server":
    fuzzing.startServer(json.loads(sys.argv[3]), None)
elif part == "fuzzing-client":
    fuzzing.startClient(json.loads(sys.argv[3]))
else:
    sys.exit("no such part: " + part)
reactor.run()
