"""A day of mail with Thunderbird. Arguments: SMTP, IMAP and IMAPS ports, a directory for the profile.

Prints `restart` when the daemon is to be killed and started again, and reads a line when that is done.
"""

import imaplib
import smtplib
import sys
import time
from email.message import EmailMessage
from email.utils import localtime

smtp_port, imap_port, imaps_port = map(int, sys.argv[1:4])
MANY = 3000
ALL_BYTES = bytes(range(256)) * 40


def letter(subject, to="alice@example.org", attached=ALL_BYTES):
    message = EmailMessage()
    message["From"], message["To"], message["Subject"] = "Zoë <zoe@example.net>", to, subject
    message["Date"] = localtime()
    message.set_content(f"grüße\n.\n..dots\nbody of {subject}\n")
    message.add_attachment(attached, maintype="application", subtype="octet-stream", filename="all.bin")
    return message


def deliver(*subjects, **more):
    with smtplib.SMTP("127.0.0.1", smtp_port) as smtp:
        for subject in subjects:
            smtp.send_message(letter(subject, **more))


def eventually(check, words):
    """Waits until it is so; Thunderbird tells the server in its own time."""
    end = time.monotonic() + 60
    while not check():
        assert time.monotonic() < end, words()
        time.sleep(0.1)


class Other:
    """Another client of the same account: what it sees is what the server has."""

    def __init__(self, user="alice@example.org"):
        self.imap = imaplib.IMAP4("127.0.0.1", imap_port)
        self.imap.login(user, "ringpost")

    def ok(self, verb, *arguments):
        kind, data = getattr(self.imap, verb)(*arguments)
        assert kind == "OK", (verb, arguments, kind, data)
        return data

    def folders(self):
        return sorted(line.decode().split(' "/" ')[1].strip('"') for line in self.ok("list"))

    def flags(self, mailbox):
        """By subject."""
        if self.ok("select", mailbox, True) == [b"0"]:
            return {}
        found = {}
        for item in self.ok("fetch", "1:*", "(FLAGS BODY.PEEK[HEADER.FIELDS (SUBJECT)])"):
            if isinstance(item, tuple):
                subject = item[1].decode().strip().removeprefix("Subject: ")
                found[subject] = set(item[0].decode().split("FLAGS (")[1].split(")")[0].split())
        return found

    def append_many(self, mailbox, count):
        """Every third is seen. Fifty at once: each alone would wait for the disk."""
        for first in range(0, count, 50):
            for number in range(first, min(first + 50, count)):
                text = f"From: s{number % 37}@example.net\r\nSubject: number {number}\r\nMessage-ID: <{number}@example.net>\r\n\r\n"
                flags = "" if number % 3 else "\\Seen"
                self.imap.send(f"m{number} APPEND {mailbox} ({flags}) {{{len(text)}+}}\r\n{text}\r\n".encode())
            for number in range(first, min(first + 50, count)):
                while not (line := self.imap.readline()).startswith(b"m%d " % number):
                    assert line.startswith(b"* "), line
                assert b" OK " in line, line

    def sees(self, mailbox, check):
        eventually(lambda: check(self.flags(mailbox)), lambda: (mailbox, self.flags(mailbox)))


def the_day(bird):
    other = Other()
    deliver("one", "two", "three")
    folders = bird.do("an account, its folders and their uses", """
      const login = Cc["@mozilla.org/login-manager/loginInfo;1"].createInstance(Ci.nsILoginInfo);
      login.init("imap://127.0.0.1", null, "imap://127.0.0.1", "alice@example.org", "ringpost", "", "");
      await Services.logins.addLoginAsync(login);
      await enter("alice@example.org", a[1], a[0], Ci.nsMsgSocketType.plain);
      MailServices.accounts.defaultAccount = account("alice@example.org");
      for (const use of ["Inbox", "Archive", "Drafts", "Junk", "SentMail", "Trash"])
        if (!special(Flags[use])) throw new Error("no folder is for " + use);
      return paths();
    """, smtp_port, imap_port)
    assert sorted(folders) == ["Archive", "Drafts", "INBOX", "Junk", "Sent", "Trash"], folders

    assert bird.do("what came before is listed", "await update(inbox); return subjects(inbox);") == ["one", "two", "three"]

    time.sleep(3)  # it idles two seconds after it has done something
    deliver("by idle")
    bird.do("IDLE tells of new mail", 'await arrives(inbox, "by idle");')
    deliver("four", "five", "six")
    bird.do("and of every message of a burst", 'for (const s of ["four", "five", "six"]) await arrives(inbox, s);')
    time.sleep(3)
    # While it fetches what IDLE told, EXISTS is not heard: IDLE must say it again.
    deliver("heavy", attached=ALL_BYTES * 1000)
    bird.do("a heavy message", 'await arrives(inbox, "heavy");')
    deliver("beside it")
    bird.do("and one that comes while it is fetched", 'await arrives(inbox, "beside it");')
    other.ok("select", "INBOX")
    other.ok("store", "8:9", "+FLAGS.SILENT", "(\\Deleted)")
    other.ok("expunge")
    bird.do("both go again", 'await until("seven are left", () => headers(inbox).length == 7);')
    time.sleep(3)
    deliver("heavy", attached=ALL_BYTES * 1000)
    bird.do("another heavy message", 'await arrives(inbox, "heavy");')
    other.ok("noop")
    other.ok("store", "8", "+FLAGS.SILENT", "(\\Deleted)")
    other.ok("expunge")
    bird.do("it goes while it is fetched", 'await until("seven are left", () => headers(inbox).length == 7);')

    body, attachment = bird.do("a message is shown", """
      pane().displayFolder(inbox.URI);
      const row = () => pane().gDBView ? pane().gDBView.findIndexOfMsgHdr(find(inbox, "two"), true) : -1;
      await until("its row", () => row() >= 0 && row() < 100);
      pane().threadTree.selectedIndex = row();
      const reader = pane().messageBrowser.contentWindow;
      const text = () => reader.getMessagePaneBrowser().contentDocument?.body?.textContent ?? "";
      await until("its text", () => text().includes("body of two"));
      await until("its attachment", () => reader.currentAttachments.length == 1);
      await until("it is seen", () => find(inbox, "two").isRead);
      return [text(), reader.currentAttachments[0].name];
    """)
    assert "grüße" in body and attachment == "all.bin", (body, attachment)
    other.sees("INBOX", lambda seen: "\\Seen" in seen["two"] and "\\Seen" not in seen["one"])
    data = bird.do("its attachment is whole", 'return bytesOf(inbox, "three");')
    assert data.encode("latin-1") == ALL_BYTES, data

    bird.do("flags are set", """
      const header = find(inbox, "one");
      inbox.markMessagesRead([header], true);
      inbox.markMessagesFlagged([header], true);
      inbox.addKeywordsToMessages([header], "$label1");
    """)
    other.sees("INBOX", lambda seen: seen["one"] == {"\\Seen", "\\Flagged", "$label1"})
    other.ok("select", "INBOX")
    other.ok("store", "2", "+FLAGS", "(\\Flagged Project)")
    other.ok("store", "1", "-FLAGS", "(\\Flagged)")
    bird.do("flags that another client set are seen", """
      await until("the flags", () => find(inbox, "two").isFlagged && !find(inbox, "one").isFlagged);
    """)

    bird.do("folders are made", """
      root().createSubfolder("Träume & Co", null);
      await until("it is there", () => root().containsChildNamed("Träume & Co"));
      child("Träume & Co").createSubfolder("2026", null);
      await until("it is there", () => child("Träume & Co").containsChildNamed("2026"));
    """)
    assert {"Tr&AOQ-ume &- Co", "Tr&AOQ-ume &- Co/2026"} <= set(other.folders()), other.folders()
    bird.do("messages are copied, moved, thrown away", """
      const some = (...names) => names.map(name => find(inbox, name));
      const to = (target, move, ...names) =>
        copied(l => MailServices.copy.copyMessages(inbox, some(...names), target, move, l, win.msgWindow, false));
      await to(child("Träume & Co"), false, "one", "two");
      await to(child("Träume & Co", "2026"), true, "three", "four");
      await copied(l => inbox.deleteMessages(some("two"), win.msgWindow, false, false, l, false));
    """)
    other.sees("INBOX", lambda seen: set(seen) == {"one", "by idle", "five", "six"})
    other.sees('"Tr&AOQ-ume &- Co"', lambda seen: set(seen) == {"one", "two"} and "$label1" in seen["one"])
    other.sees('"Tr&AOQ-ume &- Co/2026"', lambda seen: set(seen) == {"three", "four"})
    other.sees("Trash", lambda seen: set(seen) == {"two"})
    bird.do("a folder is renamed, and what is below goes with it", """
      child("Träume & Co").rename("Reisen", win.msgWindow);
      await until("the new name", () => root().containsChildNamed("Reisen") && child("Reisen").containsChildNamed("2026"));
      await until("the old name is gone", () => !root().containsChildNamed("Träume & Co"));
      await update(child("Reisen"));
      await arrives(child("Reisen"), "one");
      await update(child("Reisen", "2026"));
      await arrives(child("Reisen", "2026"), "three");
    """)
    bird.do("a folder is thrown away", """
      await copied(l => MailServices.copy.copyFolder(child("Reisen", "2026"), special(Flags.Trash), true, l, win.msgWindow));
      await until("it is in the trash", () => special(Flags.Trash).containsChildNamed("2026"));
    """)
    assert "Trash/2026" in other.folders() and "Reisen/2026" not in other.folders()
    bird.do("and removed for good", 'special(Flags.Trash).getChildNamed("2026").deleteSelf(win.msgWindow);')
    bird.agree()
    bird.do("it is gone", 'await until("it is gone", () => !special(Flags.Trash).containsChildNamed("2026"));')
    eventually(lambda: "Trash/2026" not in other.folders(), other.folders)

    bird.do("a draft is saved", 'await compose("SaveAsDraft", "alice@example.org", "bob@example.org", "a draft", "to be continued\\n");')
    other.sees("Drafts", lambda seen: seen == {"a draft": {"\\Draft"}})
    bird.do("a message is sent", """
      const to = "Bob <bob@example.org>, alice@example.org";
      await compose("Now", "alice@example.org", to, "off it goes", "Grüße\\n.\\nend\\n", "attached%20words");
      await arrives(inbox, "off it goes");
    """)
    other.sees("Sent", lambda seen: seen == {"off it goes": {"\\Seen"}})
    Other("bob@example.org").sees("INBOX", lambda seen: "off it goes" in seen)

    hits = bird.do("the server searches", """
      return [
        await search(inbox, "Body", "Contains", { str: "body of five" }),
        await search(inbox, "Body", "Contains", { str: "grüße" }),
        await search(inbox, "Sender", "Contains", { str: "Zoë" }),
        await search(inbox, "MsgStatus", "Is", { status: Ci.nsMsgMessageFlags.Read }),
        await search(inbox, "AgeInDays", "IsLessThan", { age: 3 }),
      ].map(found => found.sort().join());
    """)
    assert hits == ["five", "by idle,five,off it goes,one,six", "by idle,five,one,six", "one", "by idle,five,off it goes,one,six"], hits

    bird.do("what is marked as deleted goes when the folder is compacted", """
      server().QueryInterface(Ci.nsIImapIncomingServer).deleteModel = Ci.nsMsgImapDeleteModels.IMAPDelete;
      await copied(l => inbox.deleteMessages([find(inbox, "six")], win.msgWindow, false, false, l, false)).catch(() => {});
      await until("it is marked", () => find(inbox, "six").flags & Ci.nsMsgMessageFlags.IMAPDeleted);
    """)
    other.sees("INBOX", lambda seen: "\\Deleted" in seen["six"])
    bird.do("compacted", """
      await done(l => inbox.compact(l, win.msgWindow));
      await until("it is gone", () => !find(inbox, "six"));
      server().QueryInterface(Ci.nsIImapIncomingServer).deleteModel = Ci.nsMsgImapDeleteModels.MoveToTrash;
    """)
    other.sees("INBOX", lambda seen: "six" not in seen)
    other.ok("select", "INBOX")
    other.ok("store", "1:*", "+FLAGS.SILENT", "(\\Deleted)")
    other.ok("store", "1", "-FLAGS.SILENT", "(\\Deleted)")
    other.ok("expunge")
    bird.do("what another client expunged goes too", 'await until("one is left", () => subjects(inbox).join() == "one");')

    other.ok("create", "Many")
    other.ok("subscribe", "Many")
    other.append_many("Many", MANY)
    bird.do(f"a folder of {MANY} messages is listed", """
      server().performExpand(win.msgWindow);
      await until("the folder", () => root().containsChildNamed("Many"));
      pane().displayFolder(child("Many").URI);
      await until("its rows", () => pane().gDBView && pane().gDBView.rowCount == a[0]);
      await until("the flags", () => child("Many").getNumUnread(false) == a[0] * 2 / 3);
    """, MANY)

    text = bird.do("read without a network, and marked", """
      const reisen = child("Reisen");
      pane().displayFolder(reisen.URI);
      await done(l => reisen.downloadAllForOffline(l, win.msgWindow));
      Services.io.offline = true;
      const mime = await parsed(reisen, "one");
      reisen.markMessagesFlagged([find(reisen, "one")], true);
      return mime.coerceBodyToPlaintext(reisen);
    """)
    assert "body of one" in text, text
    bird.do("back on the network", """
      Services.io.offline = false;
      Cc["@mozilla.org/messenger/offline-manager;1"].getService(Ci.nsIMsgOfflineManager).goOnline(true, true, win.msgWindow);
    """)
    other.sees("Reisen", lambda seen: "\\Flagged" in seen["one"])

    print("restart", flush=True)
    sys.stdin.readline()
    deliver("after the restart")
    bird.do("connections that broke are made anew", """
      await done(l => inbox.getNewMessages(win.msgWindow, l)).catch(() => {});
      await arrives(inbox, "after the restart");
    """)
    time.sleep(3)
    deliver("and again")
    bird.do("and idle", 'await arrives(inbox, "and again");')

    large = ALL_BYTES * 400
    deliver("large", to="bob@example.org", attached=large)
    data = bird.do("another account, inside of TLS, nothing kept here: a large message in pieces", """
      await trust(a[2], a[1], a[0]);
      const online = { offlineDownload: false, autoSyncOfflineStores: false };
      const box = await enter("bob@example.org", a[2], a[0], Ci.nsMsgSocketType.SSL, online);
      pane().displayFolder(box.URI);
      return bytesOf(box, "large");
    """, smtp_port, imap_port, imaps_port)
    assert data.encode("latin-1") == large
    bird.do("a third by STARTTLS, and its message goes out by STARTTLS", """
      const box = await enter("carol@example.org", a[1], a[0], Ci.nsMsgSocketType.alwaysSTARTTLS);
      await compose("Now", "carol@example.org", "alice@example.org, carol@example.org", "by STARTTLS", "x\\n");
      await arrives(inbox, "by STARTTLS");
      await update(box);
      await arrives(box, "by STARTTLS");
    """, smtp_port, imap_port)
    Other("carol@example.org").sees("Sent", lambda seen: set(seen) == {"by STARTTLS"})


bird = Thunderbird(sys.argv[4])
try:
    the_day(bird)
finally:
    bird.end()
print("a good day")
