# A terminal for programs that have windows of text: they run until they end, and what they showed is kept.
import pty, select, signal, time
def on_a_terminal(*words):
    "Runs a program on a terminal of its own, to its end; what it wrote there."
    child, terminal = pty.fork()
    if child == 0:
        os.environ.update(TERM="xterm", LINES="40", COLUMNS="120")
        os.execvp(str(words[0]), [str(word) for word in words])
    shown, until = b"", time.monotonic() + 400
    while time.monotonic() < until:
        if not select.select([terminal], [], [], 1)[0]:
            continue
        try:
            more = os.read(terminal, 65536)
        except OSError:
            break
        if not more:
            break
        shown += more
    else:
        os.kill(child, signal.SIGKILL)
    os.waitpid(child, 0)
    os.close(terminal)
    print("ran", words[0], flush=True)
    return shown
