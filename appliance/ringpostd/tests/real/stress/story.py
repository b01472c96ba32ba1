# Many sessions on one account, each a thread: what they do is chosen at random, and bounded by count.
# Arguments: the base of the daemon's ports, the seed, how many sessions, how many commands of each, the mailboxes (new ones, or INBOX that is empty).
import collections, random, select, smtplib, sys, traceback

BASE, SEED, SESSIONS, COMMANDS = (int(word) for word in sys.argv[1:5])
PORTS = {"imap": BASE + 143, "imaps": BASE + 993, "lmtp": BASE + 24}
NAMES = sys.argv[5].split(",")
FLAGS = ["\\Seen", "\\Answered", "\\Flagged", "\\Draft", "kw0", "kw1", "kw2", "$Forwarded"]

class Owner(threading.Thread):
    def __init__(self, model, index):
        super().__init__(name=f"owner {index}", daemon=True)
        self.model, self.index, self.picks = model, index, random.Random(f"{SEED} {index}")
        self.mine = {box: [] for box in model.boxes.values()}
        self.count, self.failure, self.done, self.temporary = 0, None, collections.Counter(), 0

    def run(self):
        try:
            left = COMMANDS
            while left > 0:
                session = Session(self.model, self.picks, PORTS)
                session.select(self.model.boxes[self.picks.choice(NAMES)])
                turn = min(left, self.picks.randrange(20, 80))
                left -= turn
                for _ in range(turn):
                    self.step(session)
                if self.picks.random() < 0.7:
                    session.logout()
                else:
                    self.break_off(session)
        except Lost as error:
            self.failure = f"{self.name}: {session.name} lost its connection: {error}\n  " + "\n  ".join(session.trace)
        except Exception:
            self.failure = f"{self.name}: {traceback.format_exc()}"

    def token(self):
        self.count += 1
        return f"{self.index}.{self.count}"

    def kept(self, session):
        "Messages of ours in this mailbox that are not given up, as far as this session was told of them."
        known = set(session.entries)
        return [message for message in self.mine[session.box] if not message.may_go() and message.uid in known]

    def step(self, session):
        deeds = [(self.append, 6), (self.store, 8), (self.fetch, 8), (self.search, 5), (self.place, 5), (self.give_up, 3), (self.expunge, 3), (self.idle, 2),
                 (self.status, 2), (self.select, 2), (self.noop, 3), (self.pipeline, 3), (self.temporary_box, 1), (self.deliver, 1), (self.conditional, 3), (self.saved, 2)]
        deed = self.picks.choices([deed for deed, _ in deeds], [weight for _, weight in deeds])[0]
        self.done[deed.__name__] += 1
        deed(session)
        # Most look at once at what arrived, some do not.
        if self.picks.random() < 0.7:
            session.learn()

    def flags(self):
        return self.picks.sample(FLAGS, self.picks.randrange(4))

    def append(self, session):
        box = self.model.boxes[self.picks.choice(NAMES)]
        letters = []
        for _ in range(self.picks.choice([1, 1, 1, 3])):
            token, flags = self.token(), self.flags()
            letters.append((self.model.made(token, self, flags), flags, content(token)))
        with self.model.lock:
            floor = box.next
        session.ok(f"APPEND {box.name}".encode() + b"".join(b" (%s) {%d+}\r\n%s" % (" ".join(flags).encode(), len(octets), octets) for _, flags, octets in letters))
        validity, uids = session.codes["APPENDUID"].split(" ")
        self.placed(box, validity, [message for message, _, _ in letters], numbers(uids), floor)

    def placed(self, box, validity, messages, uids, floor):
        with self.model.lock:
            if box.validity not in (None, int(validity)):
                raise Fault(f"{box.name}: UIDVALIDITY {validity} was {box.validity}")
            for message, uid in zip(messages, uids, strict=True):
                self.model.placed(box, message, uid, floor)
                self.mine[box].append(message)

    def change(self, session, messages, how, flags, text):
        "A STORE to messages of ours. What it answers of them is what they have now."
        with self.model.lock:
            for message in messages:
                before = message.flags()
                after = before | flags if how == "+" else before - flags if how == "-" else frozenset(flags)
                message.states.append([frozenset(after), self.model.tick(), None])
        session.ok(text)
        with self.model.lock:
            for message in messages:
                message.states[-1][2] = self.model.tick()
                told = session.changed.get(message.uid)
                if "SILENT" not in text and told != message.flags():
                    session.fault(f"{text}: UID {message.uid} was answered with {told}, and has {sorted(message.flags())}")

    def store(self, session):
        kept = self.kept(session)
        if not kept:
            return self.append(session)
        messages = self.picks.sample(kept, min(len(kept), self.picks.randrange(1, 5)))
        how, flags = self.picks.choice(["+", "-", ""]), self.flags()
        silent = self.picks.choice(["", ".SILENT"])
        if self.picks.random() < 0.5:
            which, verb = ",".join(str(message.uid) for message in messages), "UID STORE"
        else:
            which, verb = ",".join(str(session.entries.index(message.uid) + 1) for message in messages), "STORE"
        self.change(session, messages, how, set(flags), f"{verb} {which} {how}FLAGS{silent} ({' '.join(flags)})")

    def conditional(self, session):
        "RFC 7162 §3.1.3, of one that only we change: since what it has nothing changed, and since before it something did."
        kept = self.kept(session)
        if not kept or not session.condstore:
            return self.fetch(session)
        message = self.picks.choice(kept)
        session.ok(f"UID FETCH {message.uid} (MODSEQ)")
        modseq, flag = session.floors[message.uid], self.picks.choice(FLAGS)
        answer = session.ok(f"UID STORE {message.uid} (UNCHANGEDSINCE {modseq - 1}) FLAGS ({flag})")
        if session.codes.get("MODIFIED") != str(message.uid):
            session.fault(f"no MODIFIED of UID {message.uid}, which has MODSEQ {modseq}: {answer}")
        differs = message.flags() != {flag}
        self.change(session, [message], "", {flag}, f"UID STORE {message.uid} (UNCHANGEDSINCE {modseq}) FLAGS ({flag})")
        if "MODIFIED" in session.codes:
            session.fault(f"MODIFIED of UID {message.uid}, which had MODSEQ {modseq}")
        if differs and session.floors[message.uid] <= modseq:
            session.fault(f"MODSEQ of UID {message.uid} stayed {modseq}")

    def give_up(self, session):
        kept = self.kept(session)
        if kept:
            message = self.picks.choice(kept)
            self.change(session, [message], "+", {DELETED}, f"UID STORE {message.uid} +FLAGS.SILENT ({DELETED})")

    def expunge(self, session):
        given = [message.uid for message in self.mine[session.box] if message.may_go() and message.moved is None]
        if given and self.picks.random() < 0.4:
            session.ok(f"UID EXPUNGE {','.join(str(uid) for uid in given[-20:])}")
            return
        begun = self.model.tick()
        session.ok("EXPUNGE")
        with self.model.lock:
            session.box.expunged = max(session.box.expunged, begun)

    def place(self, session):
        "COPY or MOVE of messages of ours."
        kept = self.kept(session)
        if not kept:
            return self.append(session)
        messages = sorted(self.picks.sample(kept, min(len(kept), self.picks.randrange(1, 6))), key=lambda message: message.uid)
        box = self.model.boxes[self.picks.choice([name for name in NAMES if name != session.box.name])]
        moves, by_uid = self.picks.random() < 0.4, self.picks.random() < 0.6
        which = ",".join(str(message.uid if by_uid else session.entries.index(message.uid) + 1) for message in messages)
        copies = [self.model.made(message.token, self, message.flags()) for message in messages]
        with self.model.lock:
            floor = box.next
            for message in messages if moves else []:
                message.moved = self.model.tick()
        session.ok(f"{'UID ' if by_uid else ''}{'MOVE' if moves else 'COPY'} {which} {box.name}")
        validity, sources, uids = session.codes["COPYUID"].split(" ")
        if numbers(sources) != [message.uid for message in messages]:
            session.fault(f"COPYUID {sources} of {[message.uid for message in messages]}")
        self.placed(box, validity, copies, numbers(uids), floor)
        left = {message.uid for message in messages} & set(session.entries)
        if moves and left:
            session.fault(f"{left} were moved, and no response says that they went")

    def fetch(self, session):
        what = self.picks.choice(["(FLAGS)", "(UID FLAGS RFC822.SIZE)", "(UID BODY.PEEK[])", "(UID ENVELOPE INTERNALDATE)", "(UID BODYSTRUCTURE FLAGS)",
                                  "(UID MODSEQ)" if session.condstore else "(UID)"])
        count = len(session.entries)
        if not count:
            return session.ok("NOOP")
        first, last = sorted(self.picks.randrange(1, count + 1) for _ in range(2))
        if "BODY.PEEK" in what:
            last = min(last, first + 10)
        if self.picks.random() < 0.5:
            session.ok(f"FETCH {first}:{last} {what}")
        else:
            uids = [uid for uid in session.entries[first - 1:last] if uid]
            if uids:
                session.ok(f"UID FETCH {uids[0]}:{uids[-1]} {what}")

    def search(self, session):
        kept, uid = self.kept(session), self.picks.choice(["", "UID "])
        message = self.picks.choice(kept) if kept else None
        key = self.picks.choice(["ALL", "UNDELETED FLAGGED", "KEYWORD kw0 UNSEEN", "OR ANSWERED DRAFT", "SUBJECT \"token\"", "NOT KEYWORD $Forwarded"])
        if message and self.picks.random() < 0.5:
            key = f'HEADER SUBJECT "token {message.token} end"'
        session.ok(f"{uid}SEARCH {key}")
        if session.found is None:
            session.fault("a SEARCH without a result")
        if "HEADER" in key:
            wanted = message.uid if uid else session.entries.index(message.uid) + 1
            if wanted not in session.found:
                session.fault(f"{wanted} is not found by {key}: {session.found}")

    def noop(self, session):
        session.ok(self.picks.choice(["NOOP", "CHECK", "NOOP"]))

    def status(self, session):
        box = self.model.boxes[self.picks.choice(NAMES)]
        with self.model.lock:
            next_uid, highest = box.next, box.highest
        session.ok(f"STATUS {box.name} (MESSAGES UIDNEXT UIDVALIDITY UNSEEN HIGHESTMODSEQ)")
        told = {name: int(number) for name, number in session.found.items()}
        if told["UIDNEXT"] < next_uid or told["HIGHESTMODSEQ"] < highest or box.validity not in (None, told["UIDVALIDITY"]) or told["UNSEEN"] > told["MESSAGES"]:
            session.fault(f"STATUS {told}; before: UIDNEXT {next_uid}, HIGHESTMODSEQ {highest}, UIDVALIDITY {box.validity}")

    def select(self, session):
        session.ok(self.picks.choice(["UNSELECT", "NOOP"]))
        session.select(self.model.boxes[self.picks.choice(NAMES)])

    def idle(self, session):
        session.idle(self.picks.choice([0, 0.02, 0.1]))

    def pipeline(self, session):
        "Several commands at once, none of which means something else after another."
        texts = [self.picks.choice(["NOOP", "UID SEARCH FLAGGED", "UID FETCH 1:* (FLAGS)", "STATUS INBOX (MESSAGES)", "UID SEARCH ALL", 'LIST "" *']) for _ in range(4)]
        for answer in session.finish(session.send(*texts)):
            if not answer.startswith("OK"):
                session.fault(f"{texts} were answered {answer}")

    def saved(self, session):
        "RFC 9051 §6.4.4.1: what was found is asked for by `$`, whatever goes in between; numbers mean what they meant."
        uid = self.picks.choice(["", "UID "])
        key = self.picks.choice(["ALL", "FLAGGED", "UNSEEN", "KEYWORD kw1", "SUBJECT nowhere"])
        texts = [f"SEARCH RETURN (SAVE) {key}", f"{uid}FETCH $ (UID FLAGS)", "UID FETCH $ (RFC822.SIZE)"]
        for answer in session.finish(session.send(*texts)):
            if not answer.startswith("OK"):
                session.fault(f"{texts} were answered {answer}")

    def temporary_box(self, session):
        "A mailbox that is made, filled, renamed and deleted again, twice under one name: its UIDVALIDITY rises."
        name, validity = f"{NAMES[-1]}.tmp{self.index}", 0
        for _ in range(2):
            session.ok(f"CREATE {name}")
            octets = b"Subject: x\r\n\r\nx\r\n"
            session.ok(b"APPEND %s {%d+}\r\n%s" % (name.encode(), len(octets), octets))
            told, uid = session.codes["APPENDUID"].split(" ")
            if int(told) <= validity or uid != "1":
                session.fault(f"UIDVALIDITY {told} and UID {uid} after {validity}")
            validity = int(told)
            self.temporary += 1
            session.ok(f"RENAME {name} {name}.{self.temporary}")
            session.ok(f"DELETE {name}.{self.temporary}")

    def deliver(self, session):
        if "INBOX" not in NAMES:
            return self.append(session)
        token = self.token()
        self.model.made(token, None, [])
        with smtplib.LMTP("127.0.0.1", PORTS["lmtp"]) as lmtp:
            lmtp.sendmail("s@example.net", ["alice@example.org"], content(token))

    def break_off(self, session):
        "The connection ends in the middle of a literal: what was to come is not there."
        session.wire.send(b"x APPEND INBOX {1000+}\r\nSubject: token never end\r\n\r\nhalf of it")
        session.wire.close()

def last_look(model, owners):
    "What is there in the end is what is so, and the rest is what was given up."
    picks = random.Random(SEED)
    for box in model.boxes.values():
        session = Session(model, picks, PORTS)
        session.select(box, "EXAMINE")
        session.ok("UID FETCH 1:* (UID FLAGS MODSEQ BODY.PEEK[])")
        there = set(session.entries)
        # What came by LMTP has no owner that was told its UID.
        for uid in there - set(box.by_uid):
            token = box.content[uid][2]
            message = next((message for message in model.tokens[token] if message.owner is None and message.uid is None), None)
            if message is None:
                session.fault(f"UID {uid} is {token} once more")
            model.placed(box, message, uid, 0)
        for uid, message in box.by_uid.items():
            if uid in there:
                if message.moved is not None:
                    session.fault(f"UID {uid} was moved, and is there")
                given = [ended for flags, _, ended in message.states if DELETED in flags]
                if given and max(given) < box.expunged:
                    session.fault(f"UID {uid} outlived an EXPUNGE at {box.expunged}: {message.states}")
            elif not message.may_go():
                session.fault(f"UID {uid} of {message.token} is gone: {message.states}")
        if box.early:
            session.fault(f"was seen, and is explained by no one: {dict(box.early)}")
        session.logout()
    lost = [token for token, messages in model.tokens.items() for message in messages if message.uid is None]
    if lost:
        raise Fault(f"answered, and nowhere: {lost}")

def main():
    model = Model(NAMES)
    first = Session(model, random.Random(SEED), PORTS)
    for name in NAMES:
        if name != "INBOX":
            first.ok(f"CREATE {name}")
    first.logout()
    owners = [Owner(model, index) for index in range(SESSIONS)]
    for owner in owners:
        owner.start()
    for owner in owners:
        owner.join()
    failures = [owner.failure for owner in owners if owner.failure]
    if not failures:
        try:
            last_look(model, owners)
        except Exception:
            failures = [traceback.format_exc()]
    done = sum((owner.done for owner in owners), collections.Counter())
    print(f"seed {SEED}: {dict(done)}; messages: {sum(len(box.by_uid) for box in model.boxes.values())}")
    if failures:
        print("\n".join(failures[:3]))
        sys.exit(1)
    print("0 errors")
