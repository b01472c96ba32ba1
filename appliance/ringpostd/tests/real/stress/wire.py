# A client of IMAP that reads strictly: over plain, STARTTLS, TLS and COMPRESS. It is not the code of the server's other side in `imap::client`, so that
# both would have to err alike.
import base64, re, socket, ssl, zlib

class Fault(Exception):
    "What the server must not do."

class Lost(Exception):
    "The connection ended."

class Wire:
    "Octets, and what is between them and the server."
    def __init__(self, port):
        self.socket = socket.create_connection(("127.0.0.1", port), timeout=90)
        self.buffer, self.packer = b"", None
    def secure(self):
        self.socket = ssl._create_unverified_context().wrap_socket(self.socket, server_hostname="localhost")
    def compress(self):
        self.packer, self.unpacker = zlib.compressobj(6, zlib.DEFLATED, -15), zlib.decompressobj(-15)
    def send(self, octets):
        if self.packer:
            octets = self.packer.compress(octets) + self.packer.flush(zlib.Z_SYNC_FLUSH)
        try:
            self.socket.sendall(octets)
        except (BrokenPipeError, ConnectionError, ssl.SSLEOFError) as error:
            raise Lost(error)
    def more(self):
        try:
            octets = self.socket.recv(65536)
        except (ConnectionError, ssl.SSLEOFError) as error:
            raise Lost(error)
        if not octets:
            raise Lost("closed")
        self.buffer += self.unpacker.decompress(octets) if self.packer else octets
    def line(self):
        while b"\r\n" not in self.buffer:
            self.more()
        line, _, self.buffer = self.buffer.partition(b"\r\n")
        return line
    def octets(self, count):
        while len(self.buffer) < count:
            self.more()
        octets, self.buffer = self.buffer[:count], self.buffer[count:]
        return octets
    def close(self):
        self.socket.close()

def response(wire):
    "One response: its text, in which each literal is a number in braces, and the literals."
    text, literals = b"", []
    while True:
        line = wire.line()
        literal = re.search(rb"~?\{(\d+)\}$", line)
        text += line
        if not literal:
            return text.decode("utf-8"), literals
        literals.append(wire.octets(int(literal.group(1))))

TOKEN = re.compile(r'[()]|"(?:[^"\\]|\\.)*"|~?\{\d+\}|[^\s()"\[]+(?:\[[^\]]*\](?:<\d+>)?)?')
def values(text, literals):
    "The values of a response, lists as lists. Spaces must be single, as the grammar has them."
    if "  " in re.sub(r'"(?:[^"\\]|\\.)*"', '""', text):
        raise Fault(f"two spaces: {text}")
    literals, stack = iter(literals), [[]]
    for token in TOKEN.findall(text):
        if token == "(":
            stack.append([])
        elif token == ")":
            if len(stack) == 1:
                raise Fault(f"a parenthesis too many: {text}")
            done = stack.pop()
            stack[-1].append(done)
        elif re.fullmatch(r"~?\{\d+\}", token):
            stack[-1].append(next(literals))
        else:
            stack[-1].append(token)
    if len(stack) != 1:
        raise Fault(f"a parenthesis is open: {text}")
    return stack[0]

def numbers(text):
    "A set as the server writes it: ascending, no number twice."
    found = []
    for part in text.split(","):
        first, _, last = part.partition(":")
        found.extend(range(int(first), int(last or first) + 1))
        if last and int(last) < int(first):
            raise Fault(f"a range backwards: {text}")
    return found
