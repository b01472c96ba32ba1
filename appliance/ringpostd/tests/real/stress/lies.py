# A server that errs, made of one that does not: each answer is changed on its way, and the stress must find that.
import itertools, re, sys
LIE = sys.argv[6]
truth = response
def rarely(pattern, change):
    "Changes every third match, so that the sessions come to work at all."
    count = itertools.count(1)
    return lambda text: re.sub(pattern, change, text) if re.search(pattern, text) and next(count) % 3 == 0 else text
LIES = {
    "a number beyond EXISTS": rarely(r"^\* (\d+) FETCH", "* 70000 FETCH"),
    "an EXPUNGE that is not told": lambda text: re.sub(r"^\* \d+ EXPUNGE$", "* OK nothing", re.sub(r"^\* VANISHED [0-9:,]+$", "* OK nothing", text)),
    "EXISTS falls": lambda text: re.sub(r"^\* (\d\d) EXISTS$", "* 1 EXISTS", text),
    "another UID": rarely(r"UID (\d+) ", lambda found: f"UID {int(found.group(1)) + 1} "),
    "a flag is missing": rarely(r"\\Flagged ?", ""),
    "flags too many": rarely(r"FETCH (.*)FLAGS \(.*?\)", r"FETCH \1FLAGS (\\Seen \\Draft \\Answered \\Flagged \\Deleted)"),
    "a keyword that was not announced": rarely(r"FETCH (.*)FLAGS \(", r"FETCH \1FLAGS (other "),
    "MODSEQ falls": rarely(r"MODSEQ \(\d+\)", "MODSEQ (1)"),
    "UIDNEXT falls": rarely(r"UIDNEXT \d+", "UIDNEXT 1"),
    "HIGHESTMODSEQ falls": rarely(r"HIGHESTMODSEQ \d+", "HIGHESTMODSEQ 1"),
    "a UID is given twice": lambda text: re.sub(r"APPENDUID (\d+) [0-9:,]+", r"APPENDUID \1 1", text),
    "other octets": rarely(r"^(\* \d+ FETCH .*BODY\[\])", r"\1"),
    "a search in no order": lambda text: re.sub(r"^\* SEARCH (\d+)", r"* SEARCH \1 \1", re.sub(r"^(\* ESEARCH .* ALL (\d+).*)", r"\1,\2", text)),
    "STORE that changed nothing": rarely(r"^\* \d+ FETCH .*", "* OK nothing"),
}
def response(wire):
    text, literals = truth(wire)
    told = LIES[LIE](text)
    if LIE == "other octets" and literals:
        literals = [literal.replace(b"\r\n\r\n", b"\r\n\r\n.", 1) for literal in literals]
    return told, literals
