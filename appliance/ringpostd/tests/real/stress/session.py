# One session of IMAP: what it was told of its mailbox, held to RFC 9051 and RFC 7162 at each response.
import itertools

# RFC 9051 §7.5.1: while these run (without UID) no message loses its number.
BY_NUMBER = {"FETCH", "STORE", "SEARCH"}
names = itertools.count(1)

class Session:
    def __init__(self, model, picks, ports):
        self.model, self.picks, self.name = model, picks, f"session {next(names)}"
        self.trace = collections.deque(maxlen=60)
        kind = picks.choice(["plain", "starttls", "tls"])
        self.wire = Wire(ports["imaps"] if kind == "tls" else ports["imap"])
        if kind == "tls":
            self.wire.secure()
        self.tags, self.box, self.entries, self.keywords = itertools.count(1), None, [], set()
        self.qresync = self.condstore = self.rev2 = self.idling = False
        self.running, self.start, self.found, self.changed, self.codes = [], 0, None, {}, {}
        self.selecting = None
        greeting = self.respond()
        if not greeting.startswith("* OK"):
            raise Fault(f"{self.name}: {greeting}")
        if kind == "starttls":
            self.ok("STARTTLS")
            self.wire.secure()
        if picks.random() < 0.5:
            self.ok("LOGIN alice@example.org ringpost")
        else:
            self.ok("AUTHENTICATE PLAIN " + base64.b64encode(b"\0alice@example.org\0ringpost").decode())
        if picks.random() < 0.4:
            self.ok("COMPRESS DEFLATE")
            self.wire.compress()
            kind += "+compress"
        extension = picks.choice(["", "CONDSTORE", "QRESYNC", "IMAP4rev2", "QRESYNC IMAP4rev2"])
        if extension:
            self.ok("ENABLE " + extension)
        self.qresync, self.rev2 = "QRESYNC" in extension, "rev2" in extension
        self.condstore = self.qresync or "CONDSTORE" in extension
        self.name += f" ({kind} {extension})"

    def fault(self, words):
        shown = "\n  ".join(self.trace)
        raise Fault(f"{self.name} in {self.box and self.box.name}: {words}\n  {shown}")

    def respond(self):
        "Reads one response, and holds it to what was told before."
        text, literals = response(self.wire)
        self.trace.append(f"< {text[:300]}")
        if text.startswith("* "):
            self.untagged(text[2:], literals)
        return text

    def send(self, *texts):
        "Commands, all at once; a literal in one is non-synchronizing. Their tags."
        self.start, self.found, self.changed, self.codes = self.model.tick(), None, {}, {}
        tags, octets = [], b""
        for text in texts:
            tag = f"t{next(self.tags)}"
            tags.append(tag)
            octets += f"{tag} ".encode() + (text if isinstance(text, bytes) else text.encode()) + b"\r\n"
            words = (text if isinstance(text, str) else text[:60].decode("utf-8", "replace")).split(" ")
            self.running.append(" ".join(words[:2]) if words[0] == "UID" else words[0])
            self.trace.append(f"> {tag} {text[:200]}")
        self.wire.send(octets)
        return tags

    def finish(self, tags):
        "Reads until each is answered, in any order that the server likes. Their answers."
        answers = {}
        while len(answers) < len(tags):
            text = self.respond()
            tag, _, answer = text.partition(" ")
            if tag in tags:
                self.running.pop(0)
                answers[tag] = answer
                self.code(answer)
            elif not text.startswith("*"):
                self.fault(f"an answer that was not asked for: {text}")
        return [answers[tag] for tag in tags]

    def command(self, text):
        return self.finish(self.send(text))[0]

    def ok(self, text):
        answer = self.command(text)
        if not answer.startswith("OK"):
            self.fault(f"{text[:200]} was answered {answer}")
        return answer

    def code(self, answer):
        found = re.match(r"(?:OK|NO|BAD) \[([A-Z]+)(?: ([^\]]*))?\]", answer)
        if found:
            self.codes[found.group(1)] = found.group(2)

    def untagged(self, text, literals):
        words = text.split(" ")
        if words[0] == "BYE":
            return
        if words[0] == "OK":
            self.code(text)
            return
        if words[0] == "FLAGS":
            self.keywords = set(values(text, literals)[1])
            return
        if words[0] == "VANISHED":
            return self.vanished(text)
        if words[0] in ("SEARCH", "ESEARCH"):
            return self.searched(text)
        if words[0] == "STATUS":
            self.found = self.pairs(values(text, literals)[-1])
            return
        if not words[0].isdigit():
            return
        number = int(words[0])
        if words[1] == "EXISTS":
            if number < len(self.entries):
                self.fault(f"{text}, and there were {len(self.entries)}")
            self.entries.extend([None] * (number - len(self.entries)))
        elif words[1] == "EXPUNGE":
            self.may_lose_numbers(text)
            if self.qresync:
                self.fault(f"{text} where VANISHED is due (RFC 7162 §3.2.10)")
            if not 1 <= number <= len(self.entries):
                self.fault(f"{text} of {len(self.entries)}")
            uid = self.entries.pop(number - 1)
            if uid is not None:
                self.model.saw(self.box, uid, "gone", None, self.start, self.name)
        elif words[1] == "FETCH":
            self.fetched(number, values(text, literals)[2])

    @staticmethod
    def pairs(items):
        return dict(zip(items[::2], items[1::2]))

    def may_lose_numbers(self, text):
        if not self.running and not self.idling:
            self.fault(f"{text} while no command runs")
        if self.running and self.running[0] in BY_NUMBER:
            self.fault(f"{text} while {self.running[0]} runs")

    def vanished(self, text):
        if not self.qresync:
            self.fault(text)
        uids = numbers(text.split(" ")[-1])
        if "(EARLIER)" in text:
            if not (self.running and self.running[0] in ("SELECT", "UID FETCH")):
                self.fault(text)
            for uid in uids:
                if uid in self.entries:
                    self.fault(f"{text}, and {uid} is there")
            return
        self.may_lose_numbers(text)
        for uid in uids:
            if uid in self.entries:
                self.entries.remove(uid)
            else:
                self.entries.pop(self.unknown(uid, text))
            self.model.saw(self.box, uid, "gone", None, self.start, self.name)

    def unknown(self, uid, text):
        """Where a message of this UID may be whose UID was not told yet: UIDs rise with the numbers."""
        for index, entry in enumerate(self.entries):
            if entry is None:
                before = [other for other in self.entries[:index] if other is not None]
                behind = [other for other in self.entries[index:] if other is not None]
                if (not before or before[-1] < uid) and (not behind or uid < behind[0]):
                    return index
        self.fault(f"{text}, and {uid} was not there")

    def searched(self, text):
        if text.startswith("SEARCH"):
            text = text.partition(" (MODSEQ")[0]
            self.found = [int(word) for word in text.split(" ")[1:]]
        else:
            found = re.search(r" ALL ([0-9:,]+)", text)
            self.found = numbers(found.group(1)) if found else []
        if self.found != sorted(set(self.found)):
            self.fault(f"{text} is in no order")
        if self.running and self.running[0] == "SEARCH" and self.found and self.found[-1] > len(self.entries):
            self.fault(f"{text} of {len(self.entries)}")

    def fetched(self, number, items):
        if not 1 <= number <= len(self.entries):
            self.fault(f"FETCH of {number}, and there are {len(self.entries)}")
        items = self.pairs(items)
        uid = items.get("UID")
        uid = int(uid) if uid else self.entries[number - 1]
        if uid is None:
            return
        if self.entries[number - 1] is None:
            below = max((known for known in self.entries[:number - 1] if known), default=0)
            above = min((known for known in self.entries[number:] if known), default=uid + 1)
            if not below < uid < above:
                self.fault(f"UID {uid} of {number} between {below} and {above}")
            self.entries[number - 1] = uid
        elif self.entries[number - 1] != uid:
            self.fault(f"{number} has UID {uid}, and had {self.entries[number - 1]}")
        if "FLAGS" in items:
            flags = frozenset(items["FLAGS"]) - {"\\Recent"}
            unknown = {flag for flag in flags if not flag.startswith("\\")} - self.keywords
            if unknown:
                self.fault(f"{unknown} of UID {uid} is not among FLAGS {self.keywords}")
            self.changed[uid] = flags
            # Until IDLE ends, a change may be told of which another one followed.
            self.model.saw(self.box, uid, "flags", flags, 0 if self.idling else self.start, self.name)
        if "MODSEQ" in items:
            with self.model.lock:
                message = self.box.by_uid.get(uid)
                floor = self.floors.get(uid, 0)
                self.model.modseq(self.box, uid, int(items["MODSEQ"][0]), floor, self.name)
                self.floors[uid] = int(items["MODSEQ"][0])
        if "RFC822.SIZE" in items and uid in self.box.content and self.box.content[uid][0] != int(items["RFC822.SIZE"]):
            self.fault(f"UID {uid} has {items['RFC822.SIZE']} octets, and had {self.box.content[uid][0]}")
        for name, octets in items.items():
            if name == "BODY[]":
                self.model.read(self.box, uid, octets, self.name)

    def select(self, box, verb="SELECT"):
        with self.model.lock:
            next_uid, highest, gone = box.next, box.highest, set(box.gone)
        self.box, self.entries, self.keywords, self.floors = box, [], set(), {}
        self.ok(f"{verb} {box.name}")
        with self.model.lock:
            validity = int(self.codes["UIDVALIDITY"])
            if box.validity not in (None, validity):
                self.fault(f"UIDVALIDITY {validity} was {box.validity}")
            box.validity = validity
            told = int(self.codes["UIDNEXT"])
            if told < next_uid:
                self.fault(f"UIDNEXT {told} was {next_uid} before")
            box.next = max(box.next, told)
            if int(self.codes["HIGHESTMODSEQ"]) < highest:
                self.fault(f"HIGHESTMODSEQ {self.codes['HIGHESTMODSEQ']} was {highest} before")
        self.ok("UID FETCH 1:* (FLAGS)")
        if None in self.entries:
            self.learn()
        back = gone & set(self.entries)
        if back:
            self.fault(f"{back} went before, and came back")

    def learn(self):
        "The UIDs of what arrived."
        if None in self.entries:
            first = self.entries.index(None)
            above = max((uid for uid in self.entries[:first] if uid), default=0)
            self.ok(f"UID FETCH {above + 1}:* (FLAGS)")

    def idle(self, within):
        "Idles until something is told or the time is over."
        tags = self.send("IDLE")
        if not self.respond().startswith("+"):
            self.fault("IDLE was not begun")
        self.idling = True
        if not self.wire.buffer and not getattr(self.wire.socket, "pending", lambda: 0)():
            if select.select([self.wire.socket], [], [], within)[0]:
                self.respond()
        self.wire.send(b"DONE\r\n")
        self.finish(tags)
        self.idling = False

    def logout(self):
        self.running.append("LOGOUT")
        self.wire.send(b"bye LOGOUT\r\n")
        text = ""
        while not text.startswith("bye "):
            text = self.respond()
        self.wire.close()
