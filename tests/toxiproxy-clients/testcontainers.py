"""What the modules of Testcontainers do with a Toxiproxy container, by plain HTTP: wait for /version, put proxies on
the ports 8666 to 8697 for everybody, cut a connection by a bandwidth of 0 and let it go on again without a byte lost.
Usage: testcontainers.py API_HOST API_PORT"""

import hashlib
import json
import random
import sys
import threading
import time
import urllib.request

from echo import PATIENCE, ask, connect, echo_server, receive

API = "http://%s:%s" % (sys.argv[1], sys.argv[2])
PORTS = range(8666, 8698)
# A fourth is read, and the client's buffer with what a kernel lends the proxy for sending (4 MiB) holds less than the
# rest: something is left to hold back, however fast it goes.
BYTES = 16_000_000
RECEIVE_BUFFER = 262_144


def call(method, path, body=None):
    data = None if body is None else json.dumps(body).encode()
    request = urllib.request.Request(API + path, data=data, method=method)
    with urllib.request.urlopen(request, timeout=PATIENCE) as answer:
        return answer.status


def started():
    deadline = time.monotonic() + PATIENCE
    while time.monotonic() < deadline:
        try:
            return call("GET", "/version") == 200
        except OSError:
            time.sleep(0.05)
    return False


def set_cut(is_cut):
    for stream in ("downstream", "upstream"):
        name = "CUT_CONNECTION_" + stream.upper()
        if is_cut:
            toxic = {"name": name, "type": "bandwidth", "stream": stream, "toxicity": 1, "attributes": {"rate": 0}}
            assert call("POST", "/proxies/p8666/toxics", toxic) == 200
        else:
            assert call("DELETE", "/proxies/p8666/toxics/" + name) == 204


assert started(), "GET /version was never 200"
upstream = echo_server()
for port in PORTS:
    body = {"name": "p%d" % port, "listen": "0.0.0.0:%d" % port, "upstream": upstream}
    assert call("POST", "/proxies", body) == 201
for port in PORTS:
    assert ask("127.0.0.1:%d" % port) == b"hello", port

sent = random.Random(1).randbytes(BYTES)
with connect("127.0.0.1:8666", RECEIVE_BUFFER) as connection:
    sending = threading.Thread(target=connection.sendall, args=(sent,))
    sending.start()
    first = receive(connection, BYTES // 4)
    set_cut(True)
    # What had left the proxy before is still taken; then nothing comes.
    connection.settimeout(0.5)
    held = b""
    try:
        while piece := connection.recv(65536):
            held += piece
    except TimeoutError:
        pass
    assert len(first) + len(held) < BYTES, "nothing was held back"
    set_cut(False)
    connection.settimeout(PATIENCE)
    got = first + held + receive(connection, BYTES - len(first) - len(held))
    sending.join()
assert hashlib.sha256(got).digest() == hashlib.sha256(sent).digest()
for port in PORTS:
    assert call("DELETE", "/proxies/p%d" % port) == 204
print("Testcontainers: every flow")
