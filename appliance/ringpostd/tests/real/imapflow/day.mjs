// A day of mail with imapflow, inside TLS and COMPRESS, with QRESYNC. Arguments: the port of IMAPS, the file of the certificate.
// It goes through these in order: folders, append, IDLE, fetch, download, search, flags, copy, move, delete, and a return after another client's changes.
import assert from 'node:assert/strict';
import { createHash } from 'node:crypto';
import { readFileSync } from 'node:fs';
import { text } from 'node:stream/consumers';
import { ImapFlow } from 'imapflow';

const [port, certificate] = process.argv.slice(2);
const digest = (bytes) => createHash('sha256').update(bytes).digest('hex');

async function connected(more = {}) {
    const trace = [];
    const client = new ImapFlow({
        host: 'localhost', port: Number(port), secure: true, tls: { ca: readFileSync(certificate) }, logger: false, emitLogs: true,
        auth: { user: 'alice@example.org', pass: 'ringpost' }, qresync: true, ...more,
    });
    client.trace = trace;
    client.on('log', (entry) => trace.push(`${entry.src ?? '-'} ${entry.msg ?? ''}`));
    client.on('error', (error) => { throw error; });
    await client.connect();
    return client;
}

// What an event brings, once there are so many of it.
function events(client, name, wanted) {
    const seen = [];
    return new Promise((resolve, reject) => {
        const timer = setTimeout(() => reject(new Error(`${name}: ${JSON.stringify(seen)} of ${wanted}`)), 60000);
        client.on(name, (event) => {
            seen.push(event);
            if (seen.length === wanted) {
                clearTimeout(timer);
                resolve(seen);
            }
        });
    });
}

function letter(subject, lines = 3) {
    const attachment = Buffer.from([...Array(256).keys()]).toString('base64');
    const body = Array.from({ length: lines }, (_, number) => `Zeile ${number}, grüße\r\n.\r\n`).join('');
    return Buffer.from(`From: Ann <ann@example.net>\r\nTo: alice@example.org\r\nSubject: ${subject}\r\nMessage-ID: <${digest(subject).slice(0, 20)}@example.net>\r\n`
        + 'Date: Tue, 1 Jul 2025 23:52:37 +0200\r\nMIME-Version: 1.0\r\nContent-Type: multipart/mixed; boundary=b\r\n\r\n'
        + `--b\r\nContent-Type: text/plain; charset=utf-8\r\nContent-Transfer-Encoding: 8bit\r\n\r\n${body}`
        + `--b\r\nContent-Type: application/octet-stream; name=all.bin\r\nContent-Transfer-Encoding: base64\r\n\r\n${attachment}\r\n--b--\r\n`);
}

const one = await connected();
const other = await connected({ qresync: false, disableCompression: true });
assert(one.enabled.has('QRESYNC') && one.enabled.has('CONDSTORE'), [...one.enabled].join());
assert(one.trace.some((line) => /COMPRESS DEFLATE/.test(line)), one.trace.join('\n'));
assert(!other.trace.some((line) => /COMPRESS DEFLATE/.test(line)));

// Folders, with names that are not ASCII.
for (const path of ['Ablage', 'Ablage/Größe', '日本語']) {
    assert((await one.mailboxCreate(path)).created, path);
}
await one.mailboxRename('日本語', 'Ablage/日本語');
const listed = (await one.list({ statusQuery: { messages: true, uidNext: true } })).map((folder) => folder.path);
assert(['INBOX', 'Ablage', 'Ablage/Größe', 'Ablage/日本語'].every((path) => listed.includes(path)), listed.join());
assert.equal((await one.list()).find((folder) => folder.specialUse === '\\Sent').path, 'Sent');

// 40 messages; the second client idles and hears of each.
await other.mailboxOpen('INBOX');
const arrivals = events(other, 'exists', 1);
const idle = other.idle();
const sent = Array.from({ length: 40 }, (_, number) => letter(`Brief ${number} über Größen`, 1 + number * 7));
for (const [number, message] of sent.entries()) {
    const appended = await one.append('INBOX', message, number % 4 === 0 ? ['\\Seen', 'Project'] : [], new Date('2025-07-02T10:00:00Z'));
    assert.equal(appended.uid, number + 1);
}
assert((await arrivals)[0].count >= 1);
await other.noop();
await idle;
assert.equal(other.mailbox.exists, 40);

// Fetch, download, search.
const opened = await one.mailboxOpen('INBOX');
assert.equal(opened.exists, 40);
const query = { uid: true, flags: true, envelope: true, bodyStructure: true, internalDate: true, size: true, source: true, threadId: true, labels: true };
let count = 0;
for await (const message of one.fetch('1:*', query)) {
    assert.equal(digest(message.source), digest(sent[message.uid - 1]));
    assert.equal(message.size, sent[message.uid - 1].length);
    assert.equal(message.envelope.subject, `Brief ${message.uid - 1} über Größen`);
    assert.equal(message.internalDate.toISOString(), '2025-07-02T10:00:00.000Z');
    assert.equal(message.bodyStructure.childNodes.length, 2);
    assert.equal(message.flags.has('Project'), (message.uid - 1) % 4 === 0);
    assert(message.emailId && typeof message.modseq === 'bigint', message);
    count += 1;
}
assert.equal(count, 40);
const { content, meta } = await one.download('9', '1', { uid: true });
// The last end of line is the boundary's.
assert.equal(await text(content), Array.from({ length: 57 }, (_, number) => `Zeile ${number}, grüße\r\n.`).join('\r\n'));
assert.equal(meta.contentType, 'text/plain');
const parts = await one.downloadMany('9', ['1', '2'], { uid: true });
assert.deepEqual([...parts['2'].content], [...Array(256).keys()]);
assert.deepEqual(await one.search({ subject: 'Brief 7 über' }, { uid: true }), [8]);
assert.deepEqual(await one.search({ keyword: 'Project', uid: '1:10' }, { uid: true }), [1, 5, 9]);
assert.deepEqual(await one.search({ or: [{ header: { 'message-id': `<${digest('Brief 3 über Größen').slice(0, 20)}@example.net>` } }, { body: 'Zeile 273' }] }, { uid: true }), [4, 40]);
assert.equal((await one.search({ since: new Date('2025-07-01'), before: new Date('2025-07-03') }, { uid: true })).length, 40);
assert.equal((await one.search({ all: true }, { uid: true, returnOptions: ['COUNT'] })).count, 40);

// Flags, conditional ones too; the other client is told.
const changes = events(other, 'flags', 4);
assert(await one.messageFlagsAdd('2:3', ['\\Flagged', '$Work'], { uid: true }));
const since = (await one.status('INBOX', { highestModseq: true })).highestModseq;
assert(await one.messageFlagsSet('4', ['\\Answered'], { uid: true, unchangedSince: since }));
assert(await one.messageFlagsRemove('5', ['Project'], { uid: true }));
await other.noop();
assert.deepEqual((await changes).map((event) => [event.uid, [...event.flags].sort().join()]), [[2, '$Work,\\Flagged'], [3, '$Work,\\Flagged'], [4, '\\Answered'], [5, '\\Seen']]);
const changed = await one.fetchAll('1:*', { flags: true }, { uid: true, changedSince: since });
assert.deepEqual(changed.map((message) => [message.uid, [...message.flags].sort().join()]), [[4, '\\Answered'], [5, '\\Seen']]);

// Copy, move, delete.
const copied = await one.messageCopy('10:12', 'Ablage/Größe', { uid: true });
assert.deepEqual([...copied.uidMap], [[10, 1], [11, 2], [12, 3]]);
const moved = await one.messageMove('20:24', 'Ablage/日本語', { uid: true });
assert.deepEqual([...moved.uidMap.values()], [1, 2, 3, 4, 5]);
assert(await one.messageDelete('25', { uid: true }));
assert.equal(one.mailbox.exists, 34);
await one.mailboxOpen('Ablage/日本語');
assert.deepEqual((await one.fetchAll('1:*', { source: true })).map((message) => digest(message.source)), sent.slice(19, 24).map(digest));
const kept = await one.mailboxOpen('INBOX');
assert.equal((await one.getQuota('INBOX')).path, 'INBOX');

// Away, and back by QRESYNC.
await one.logout();
await other.messageDelete('30:32', { uid: true });
await other.messageFlagsAdd('33', ['\\Flagged'], { uid: true });
await other.append('INBOX', letter('spät'));
const back = await connected();
const vanished = events(back, 'expunge', 3);
const flags = events(back, 'flags', 2);
const again = await back.mailboxOpen('INBOX', { uidValidity: kept.uidValidity, changedSince: kept.highestModseq });
assert(again.qresync && again.exists === 32, JSON.stringify({ ...again, flags: null, permanentFlags: null }, (_, value) => typeof value === 'bigint' ? `${value}` : value));
assert.deepEqual((await vanished).map((event) => [event.uid, event.vanished, event.earlier]), [[30, true, true], [31, true, true], [32, true, true]]);
assert.deepEqual((await flags).map((event) => event.uid).sort(), [33, 41]);
assert(back.trace.some((line) => /SELECT INBOX \(QRESYNC/.test(line)), back.trace.join('\n'));
await back.mailboxDelete('Ablage/Größe');
await back.logout();
await other.logout();
console.log('a good day');
