"""Starts Thunderbird without a window and drives it from inside: Marionette, JSON over TCP, in the chrome context.

`Thunderbird(directory)` is a fresh profile; `do(name, script, …)` runs JavaScript in it with what `PRELUDE` offers and
answers what the script returns. A script that fails or takes beyond all reason ends the story with its words.
"""

import json
import os
import pathlib
import socket
import subprocess
import time

STEP_WITHIN_MS = 120_000

# No wizard, no tips, nothing asked of any other machine, no polling: what is seen without asking, IDLE told.
PREFERENCES = {
    "app.donation.eoy.version.viewed": 999,
    "app.update.enabled": False,
    "datareporting.policy.dataSubmissionEnabled": False,
    "extensions.update.enabled": False,
    "mail.provider.suppress_dialog_on_startup": True,
    "mail.rights.version": 1,
    "mail.server.default.check_time": 600,
    "mail.shell.checkDefaultClient": False,
    "mail.spotlight.firstRunDone": True,
    "mailnews.start_page.enabled": False,
    "mailnews.start_page_override.mstone": "ignore",
    "network.captive-portal-service.enabled": False,
    "network.connectivity-service.enabled": False,
    "network.proxy.type": 0,
    "services.settings.server": "data:,nobody",
    "toolkit.telemetry.enabled": False,
}

PRELUDE = r"""
const { MailServices } = ChromeUtils.importESModule("resource:///modules/MailServices.sys.mjs");
const { setTimeout } = ChromeUtils.importESModule("resource://gre/modules/Timer.sys.mjs");
const Flags = Ci.nsMsgFolderFlags;
const sleep = ms => new Promise(ok => setTimeout(ok, ms));
const until = async (what, probe) => {
  for (const end = Date.now() + 90000; Date.now() < end; await sleep(50)) {
    const found = await probe();
    if (found) return found;
  }
  throw new Error("it never happened: " + what);
};
const outcome = (ok, bad, what) => code =>
  Components.isSuccessCode(code) ? ok() : bad(new Error(what + ": 0x" + code.toString(16)));
// Runs an operation that takes an nsIUrlListener until it is over.
const done = start => new Promise((ok, bad) => start({
  QueryInterface: ChromeUtils.generateQI(["nsIUrlListener"]),
  OnStartRunningUrl() {},
  OnStopRunningUrl(url, code) { outcome(ok, bad, url && url.spec)(code); },
}));
const copied = start => new Promise((ok, bad) => start({
  QueryInterface: ChromeUtils.generateQI(["nsIMsgCopyServiceListener"]),
  onStartCopy() {}, onProgress() {}, setMessageKey() {}, getMessageId() { return null; },
  onStopCopy(code) { outcome(ok, bad, "copy")(code); },
}));
const win = Services.wm.getMostRecentWindow("mail:3pane");
const pane = () => win.document.getElementById("tabmail").currentAbout3Pane;
const account = name => MailServices.accounts.accounts.find(a => a.incomingServer.username == name);
const server = () => account("alice@example.org").incomingServer;
const root = () => server().rootFolder;
const child = (...names) => names.reduce((f, name) => f.getChildNamed(name), root());
const special = flag => root().getFolderWithFlags(flag);
const inbox = server && MailServices.accounts.accounts.length && special(Flags.Inbox);
const update = f => done(l => f.QueryInterface(Ci.nsIMsgImapMailFolder).updateFolderWithListener(win.msgWindow, l));
const headers = f => [...f.msgDatabase.enumerateMessages()];
const subjects = f => headers(f).map(h => h.mime2DecodedSubject);
const find = (f, subject) => headers(f).find(h => h.mime2DecodedSubject == subject);
const arrives = (f, subject) => until(subject + " in " + f.name, () => find(f, subject));
const paths = () => root().descendants.map(f => f.URI.slice(root().URI.length + 1));
const parsed = async (f, subject) => {
  const { MsgHdrToMimeMessage } = ChromeUtils.importESModule("resource:///modules/gloda/MimeMessage.sys.mjs");
  const header = await arrives(f, subject);
  return new Promise(ok => MsgHdrToMimeMessage(header, null, (h, mime) => ok(mime), true, { partsOnDemand: false }));
};
const bytesOf = async (f, subject) => {
  const { NetUtil } = ChromeUtils.importESModule("resource://gre/modules/NetUtil.sys.mjs");
  const uri = (await parsed(f, subject)).allAttachments[0].url;
  return new Promise((ok, bad) => NetUtil.asyncFetch({ uri, loadUsingSystemPrincipal: true }, (stream, code) =>
    outcome(() => ok(NetUtil.readInputStreamToString(stream, stream.available())), bad, uri)(code)));
};
// An account on our server; `to` is the SMTP port.
const enter = async (user, from, to, socketType, more) => {
  const incoming = MailServices.accounts.createIncomingServer(user, "127.0.0.1", "imap").QueryInterface(Ci.nsIImapIncomingServer);
  Object.assign(incoming, { port: from, socketType, password: "ringpost", authMethod: Ci.nsMsgAuthMethod.passwordCleartext });
  Object.assign(incoming, more);
  const outgoing = MailServices.outgoingServer.createServer("smtp").QueryInterface(Ci.nsISmtpServer);
  const submits = socketType == Ci.nsMsgSocketType.SSL ? Ci.nsMsgSocketType.alwaysSTARTTLS : socketType;
  Object.assign(outgoing, { hostname: "127.0.0.1", port: to, socketType: submits, authMethod: Ci.nsMsgAuthMethod.none });
  const identity = MailServices.accounts.createIdentity();
  Object.assign(identity, { email: user, fullName: user.split("@")[0], composeHtml: false, smtpServerKey: outgoing.key });
  const made = MailServices.accounts.createAccount();
  made.addIdentity(identity);
  made.incomingServer = incoming;
  incoming.performExpand(win.msgWindow);
  await until("the folders", () => incoming.rootFolder.subFolders.length >= 6);
  return incoming.rootFolder.getFolderWithFlags(Flags.Inbox);
};
// What a user says to a certificate that nobody vouches for; the first port begins with TLS.
const trust = async (...ports) => {
  const service = Cc["@mozilla.org/network/socket-transport-service;1"].getService(Ci.nsISocketTransportService);
  const transport = service.createTransport(["ssl"], "127.0.0.1", ports[0], null, null);
  const output = transport.openOutputStream(0, 0, 0);
  const input = transport.openInputStream(0, 0, 0).QueryInterface(Ci.nsIAsyncInputStream);
  output.write("a NOOP\r\n", 8);
  await new Promise(ok => input.asyncWait({ onInputStreamReady: ok }, 0, 0, Services.tm.currentThread));
  const info = await transport.tlsSocketControl.asyncGetSecurityInfo();
  input.close();
  const overrides = Cc["@mozilla.org/security/certoverride;1"].getService(Ci.nsICertOverrideService);
  const certificate = info.serverCert ?? info.failedCertChain[0];
  for (const port of ports) overrides.rememberValidityOverride("127.0.0.1", port, {}, certificate, false);
};
const compose = async (mode, user, to, subject, body, attached) => {
  const identity = account(user).defaultIdentity;
  const fields = Cc["@mozilla.org/messengercompose/composefields;1"].createInstance(Ci.nsIMsgCompFields);
  Object.assign(fields, { from: identity.fullAddress, to, subject });
  if (attached) {
    const attachment = Cc["@mozilla.org/messengercompose/attachment;1"].createInstance(Ci.nsIMsgAttachment);
    Object.assign(attachment, { url: "data:text/plain," + attached, name: "words.txt" });
    fields.addAttachment(attachment);
  }
  const send = Cc["@mozilla.org/messengercompose/send;1"].createInstance(Ci.nsIMsgSend);
  await new Promise((ok, bad) => send.createAndSendMessage(
    null, identity, account(user).key, fields, false, false, Ci.nsIMsgCompDeliverMode[mode], null,
    "text/plain", body, null, null, {
      QueryInterface: ChromeUtils.generateQI(["nsIMsgSendListener", "nsIMsgCopyServiceListener"]),
      onStartSending() {}, onProgress() {}, onStatus() {}, onSendProgress() {}, onStartCopy() {}, setMessageKey() {},
      onGetDraftFolderURI() {}, getMessageId() { return null; },
      onStopSending(id, code) { Components.isSuccessCode(code) || outcome(ok, bad, "send")(code); },
      onTransportSecurityError(id, code) { bad(new Error("TLS: " + code)); },
      onSendNotPerformed(id, code) { bad(new Error("not sent: " + code)); },
      onStopCopy(code) { outcome(ok, bad, "copy of what was sent")(code); },
    }, null, null, Ci.nsIMsgCompType.New));
};
const search = (f, attrib, op, set) => new Promise((ok, bad) => {
  const session = Cc["@mozilla.org/messenger/searchSession;1"].createInstance(Ci.nsIMsgSearchSession);
  session.addScopeTerm(Ci.nsMsgSearchScope.onlineMail, f);
  const term = session.createTerm();
  Object.assign(term, { attrib: Ci.nsMsgSearchAttrib[attrib], op: Ci.nsMsgSearchOp[op], booleanAnd: true });
  const value = term.value;
  value.attrib = term.attrib;
  Object.assign(value, set);
  term.value = value;
  session.appendTerm(term);
  const hits = [];
  session.registerListener({
    QueryInterface: ChromeUtils.generateQI(["nsIMsgSearchNotify"]),
    onSearchHit(header) { hits.push(header.mime2DecodedSubject); },
    onSearchDone(code) { outcome(() => ok(hits), bad, "search")(code); },
    onNewSearch() {},
  });
  session.search(null);
});
"""


class Thunderbird:
    def __init__(self, directory):
        self.profile = pathlib.Path(directory)
        self.profile.mkdir()
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            self.port = free.getsockname()[1]
        preferences = PREFERENCES | {"marionette.port": self.port}
        lines = [f"user_pref({json.dumps(name)}, {json.dumps(value)});\n" for name, value in preferences.items()]
        (self.profile / "user.js").write_text("".join(lines))
        words = ["thunderbird", "--headless", "--marionette", "--remote-allow-system-access", "--no-remote"]
        with open(self.profile / "words", "wb") as said:
            self.process = subprocess.Popen(
                words + ["--profile", str(self.profile)],
                stdout=said, stderr=said, env=os.environ | {"HOME": str(self.profile)},
            )
        try:
            self._connect()
        except BaseException:
            self.end()
            raise

    def _connect(self):
        end = time.monotonic() + 120
        while True:
            try:
                self.socket = socket.create_connection(("127.0.0.1", self.port), timeout=STEP_WITHIN_MS / 1000 + 30)
                break
            except OSError:
                if time.monotonic() > end or self.process.poll() is not None:
                    raise
                time.sleep(0.1)
        self.file = self.socket.makefile("rb")
        self.count = 0
        self._receive()
        self.call("WebDriver:NewSession", {})
        self.call("WebDriver:SetTimeouts", {"script": STEP_WITHIN_MS})
        self.call("Marionette:SetContext", {"value": "chrome"})

    def _receive(self):
        size = b""
        while (byte := self.file.read(1)) != b":":
            if not byte:
                raise EOFError("Thunderbird went away")
            size += byte
        return json.loads(self.file.read(int(size)))

    def call(self, name, parameters):
        self.count += 1
        text = json.dumps([0, self.count, name, parameters]).encode()
        self.socket.sendall(b"%d:%s" % (len(text), text))
        _, _, error, result = self._receive()
        if error:
            raise RuntimeError(f"{error['error']}: {error['message']}")
        return result

    def do(self, name, script, *arguments):
        """Runs `script`, an async function's body; its `arguments` are `a[0]`, `a[1]`, …"""
        begin = time.monotonic()
        text = f"const a = [...arguments];\n{PRELUDE}\nreturn (async () => {{ {script} }})();"
        parameters = {"script": text, "args": list(arguments), "sandbox": "system", "newSandbox": True}
        try:
            result = self.call("WebDriver:ExecuteScript", parameters)["value"]
        except RuntimeError as error:
            raise SystemExit(f"{name}: {error}") from None
        print(f"{time.monotonic() - begin:6.1f} s  {name}", flush=True)
        return result

    def agree(self):
        """Answers the question that Thunderbird asks."""
        self.call("WebDriver:AcceptAlert", {})

    def end(self):
        self.process.kill()
        self.process.wait()
