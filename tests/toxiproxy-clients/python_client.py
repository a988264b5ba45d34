"""toxiproxy-python through its main flows. Usage: python_client.py API_HOST API_PORT"""

import sys
import time

from echo import ask, connect, echo_server, is_refused, receive
from toxiproxy import Toxiproxy
from toxiproxy.exceptions import InvalidToxic, NotFound, ProxyExists


def raises(wanted, call, *arguments, **named):
    try:
        call(*arguments, **named)
    except wanted:
        return True
    return False


server = Toxiproxy()
server.update_api_consumer(sys.argv[1], int(sys.argv[2]))
upstream = echo_server()

assert server.running()
assert b"git" in server.version()
server.destroy_all()
assert server.proxies() == {}

proxy = server.create(upstream=upstream, name="echo")
assert proxy.enabled and proxy.upstream == upstream and proxy.listen.startswith("127.0.0.1:")
assert raises(ProxyExists, server.create, upstream=upstream, name="echo")
assert server.get_proxy("nobody") is None
assert ask(proxy.listen) == b"hello"

with proxy.down():
    assert is_refused(proxy.listen)
assert ask(proxy.listen) == b"hello"

proxy.add_toxic(type="latency", attributes={"latency": 200, "jitter": 0})
toxic = proxy.get_toxic("latency_downstream")
assert (toxic.type, toxic.stream, toxic.toxicity) == ("latency", "downstream", 1.0)
assert toxic.attributes == {"latency": 200, "jitter": 0}
begun = time.monotonic()
assert ask(proxy.listen) == b"hello"
assert 0.2 <= time.monotonic() - begun < 5
assert proxy.destroy_toxic("latency_downstream")
assert proxy.toxics() == {}
assert raises(NotFound, proxy.destroy_toxic, "latency_downstream")
assert raises(InvalidToxic, proxy.add_toxic, type="nonsense")

proxy.add_toxic(name="cap", type="limit_data", stream="downstream", attributes={"bytes": 3})
with connect(proxy.listen) as connection:
    connection.sendall(b"hello")
    assert receive(connection, 5) == b"hel"
assert server.reset()
assert proxy.toxics() == {} and ask(proxy.listen) == b"hello"

populated = server.populate([
    {"name": "echo", "upstream": upstream, "listen": proxy.listen},
    {"name": "second", "upstream": upstream, "listen": "127.0.0.1:0"},
])
assert [proxy.name for proxy in populated] == ["second"]
assert sorted(server.proxies()) == ["echo", "second"]
assert ask(populated[0].listen) == b"hello"
assert server.destroy(proxy)
assert is_refused(proxy.listen)
server.destroy_all()
assert server.proxies() == {}
print("toxiproxy-python: every flow")
