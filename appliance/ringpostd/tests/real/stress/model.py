# What is true of the mailboxes, as far as anyone can say who has seen all answers. Each message is changed by one session, its owner, and any session may
# remove what its owner gave up with \Deleted; so whatever a session sees has one explanation.
import collections, hashlib, threading

DELETED = "\\Deleted"

class Message:
    def __init__(self, token, owner, flags, begun):
        self.token, self.owner = token, owner
        # [flags, begun, ended]: `ended` is None until the server has said OK.
        self.states = [[frozenset(flags), begun, None]]
        self.uid, self.moved, self.modseq = None, None, 0
    def flags(self):
        return self.states[-1][0]
    def may_go(self):
        return self.moved is not None or any(DELETED in flags for flags, _, _ in self.states)
    def allows(self, flags, start, now):
        "Whether it could be seen with these flags, between the start of a command and now."
        for index, (state, begun, _) in enumerate(self.states):
            over = any(ended is not None and ended < start for _, _, ended in self.states[index + 1:])
            if state == flags and begun <= now and not over:
                return True
        return False

class Box:
    def __init__(self, name):
        self.name, self.validity, self.next, self.highest = name, None, 1, 0
        self.by_uid = {}
        # By UID: octets and digest, the same for ever.
        self.content = {}
        # What was seen of a UID before its owner was told which it is.
        self.early = collections.defaultdict(list)
        # When the last EXPUNGE of everything began that was answered OK.
        self.expunged = 0
        self.gone = {}

class Model:
    def __init__(self, names):
        self.lock, self.clock = threading.RLock(), 0
        self.boxes = {name: Box(name) for name in names}
        self.tokens = {}
    def tick(self):
        with self.lock:
            self.clock += 1
            return self.clock
    def made(self, token, owner, flags):
        with self.lock:
            message = Message(token, owner, flags, self.tick())
            self.tokens.setdefault(token, []).append(message)
            return message
    def placed(self, box, message, uid, floor):
        "Its owner learns its UID. `floor`: the UIDNEXT that was reported before the command."
        with self.lock:
            if uid < floor:
                raise Fault(f"{box.name}: UID {uid} is below the UIDNEXT {floor} that was reported before")
            if uid in box.by_uid:
                raise Fault(f"{box.name}: UID {uid} was given twice")
            message.uid, message.states[0][2] = uid, self.tick()
            box.by_uid[uid] = message
            box.next = max(box.next, uid + 1)
            if uid in box.content and box.content[uid][2] != message.token:
                raise Fault(f"{box.name}: UID {uid} is {box.content[uid][2]} and was to be {message.token}")
            for seen in box.early.pop(uid, []):
                self.judge(box, uid, *seen)
    def judge(self, box, uid, what, flags, start, now, who):
        message = box.by_uid[uid]
        if what == "gone" and not message.may_go():
            raise Fault(f"{who}: UID {uid} of {box.name} went, and its owner did not give it up")
        if what == "flags" and not message.allows(flags, start, now):
            raise Fault(f"{who}: UID {uid} of {box.name} has {sorted(flags)}, between {start} and {now}; its states: {message.states}")
    def saw(self, box, uid, what, flags, start, who):
        with self.lock:
            seen = (what, flags, start, self.tick(), who)
            if uid in box.by_uid:
                self.judge(box, uid, *seen)
            else:
                box.early[uid].append(seen)
            if what == "gone":
                box.gone.setdefault(uid, seen[3])
    def read(self, box, uid, octets, who):
        digest = hashlib.sha256(octets).digest()
        token = octets.partition(b"Subject: token ")[2].partition(b" end\r\n")[0].decode()
        with self.lock:
            known = box.content.setdefault(uid, (len(octets), digest, token))
            if known != (len(octets), digest, token):
                raise Fault(f"{who}: the content of UID {uid} of {box.name} was {known}, and is {len(octets)} octets of {token}")
            if uid in box.by_uid and box.by_uid[uid].token != token:
                raise Fault(f"{who}: UID {uid} of {box.name} is {token}, and was placed as {box.by_uid[uid].token}")
            if token not in self.tokens or not octets.endswith(content(token).partition(b"\r\n\r\n")[2]):
                raise Fault(f"{who}: UID {uid} of {box.name} is not as it was sent: {octets[:200]}")
    def modseq(self, box, uid, modseq, floor, who):
        "`floor`: the greatest that was seen of it before the command."
        with self.lock:
            if modseq < floor:
                raise Fault(f"{who}: MODSEQ {modseq} of UID {uid} of {box.name} was {floor} before")
            box.highest = max(box.highest, modseq)
            if uid in box.by_uid:
                box.by_uid[uid].modseq = max(box.by_uid[uid].modseq, modseq)

def content(token):
    "The octets of a letter follow from its token."
    picks = random.Random(token)
    lines = picks.choice([0, 1, 3, 10, 10, 60, 400])
    body = "".join("".join(picks.choices("..ab cd", k=picks.randrange(70))) + "\r\n" for _ in range(lines))
    return f"Subject: token {token} end\r\nFrom: s@example.net\r\nMessage-ID: <{token}@example.net>\r\n\r\n{body}".encode()
