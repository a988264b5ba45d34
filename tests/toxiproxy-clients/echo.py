"""What the Python flows need of sockets: a server that echoes, and a client with a deadline."""

import socket
import threading

PATIENCE = 10


def echo_server():
    """Serves for as long as the program runs; the result is its address, HOST:PORT."""
    listener = socket.create_server(("127.0.0.1", 0))

    def serve():
        while True:
            connection, _ = listener.accept()
            threading.Thread(target=echo, args=(connection,), daemon=True).start()

    threading.Thread(target=serve, daemon=True).start()
    return "127.0.0.1:%d" % listener.getsockname()[1]


def echo(connection):
    with connection:
        try:
            while piece := connection.recv(65536):
                connection.sendall(piece)
        except OSError:
            pass


def connect(address, receive_buffer=None):
    host, port = address.rsplit(":", 1)
    connection = socket.socket()
    connection.settimeout(PATIENCE)
    if receive_buffer is not None:
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_buffer)
    try:
        connection.connect((host, int(port)))
    except OSError:
        connection.close()
        raise
    return connection


def receive(connection, count):
    """Exactly so many bytes, or fewer if the peer closes."""
    got = b""
    while len(got) < count and (piece := connection.recv(count - len(got))):
        got += piece
    return got


def ask(address, word=b"hello"):
    """The echo of one word over a connection of its own; empty if the peer closes first."""
    with connect(address) as connection:
        connection.sendall(word)
        return receive(connection, len(word))


def is_refused(address):
    try:
        connect(address).close()
    except ConnectionRefusedError:
        return True
    return False
