"""Recipients: who a returned mail is about, and what it says of each of them.

The fields of a report come first; where there are none (qmail, Exim, older sendmail, mobile carriers) the words for
people are read: an address that begins a line begins what is said about it, and in a transcript of the session what is
said about an address stands before it.
"""

import re
from collections.abc import Iterator
from itertools import islice

from adapters.bounces.anatomy import MAX_RECIPIENTS, MAX_TEXT, Anatomy, Fields
from domain.bounces import Remark

_ADDRESS = r"[^\s<>\"'(),;:\[\]@]{1,64}@[^\s<>\"'(),;:\[\]@]{0,253}[^\s<>\"'(),;:\[\].@]"
_ANY = re.compile(rf"<?({_ADDRESS})>?")
_BEGINS = re.compile(
    rf"^[ \t*>-]*(?:Recipient(?: address)?: |Addressed To: |RCPT TO: )?[<\"]?({_ADDRESS})[>\"]?(?=$|[\s:;,(.<])",
    re.IGNORECASE,
)
_ANSWERED = re.compile(rf"^[45]\d\d (?:[45]\.\d+\.\d+ )?<?({_ADDRESS})>?\.\.\. ")
_SYSTEM = re.compile(r"^(mailer-?daemon|postmaster|mail-?daemon|root|no-?reply)@", re.IGNORECASE)
_REPLY = re.compile(r"(?<![\d.\[])([245]\d\d)(?:[ -]+#?|: ?|$)([245]\.\d{1,3}\.\d{1,3})?(?![\d.])")
_REPLY_LINE = re.compile(r"(?<![\d.\[:])[45]\d\d[ :-]|(?<![\d.\[/v#])[45]\.[0-9]\.\d{1,3}(?![\d.])|ERROR_CODE")
_STATUS = re.compile(r"(?<![\d.\[/v])([245]\.[0-9]\.\d{1,3})(?![\d.])")
_TRANSCRIPT = re.compile(r"(?:^[ \t>]*<<< .*(?:\n|\Z))+", re.MULTILINE)
_AFTERMATH = re.compile(
    r"^(?:503|554 5\.5\.1|554 5\.0\.0 ?no|354|[235]\d\d 2\.)|need rcpt|no valid recipients", re.IGNORECASE
)
_COMMANDS = (
    (
        "DATA",
        r"end of (?:data|message)|after (?:sending )?data\b|\.<CRLF>|\[(?:DATA|BODY)\]|(?:TEXT|DATA) command|SMTP:DATA",
    ),
    ("DATA", r"(?:reply to|response to|>>>|final) \"?DATA\b"),
    ("RCPT", r"\(state 1[34]\)|does not like recipient|\[RCPT_TO\]|SMTP:RCPT|RCPT(?: TO)? (?:command|response)"),
    ("RCPT", r"(?:reply to|after|response to|>>>|\bour) (?:pipelined )?\"?RCPT\b"),
    ("MAIL", r"sender was rejected|\[MAIL_FROM\]|SMTP:MAIL|MAIL FROM (?:command|response)"),
    ("MAIL", r"(?:reply to|after|response to|>>>|\bour) (?:pipelined )?\"?MAIL (?:FROM|command)"),
    ("EHLO", r"my name was rejected|initial connection|refused to talk"),
    ("EHLO", r"(?:reply to|after|response to|>>>) \"?(?:EHLO|HELO)\b"),
)
_COMMAND = [(command, re.compile(pattern, re.IGNORECASE)) for command, pattern in _COMMANDS]


def remarks(mail: Anatomy) -> list[Remark]:
    """List what a mail says of each recipient it names (of a hundred at most); none if it names nobody."""
    sections = _sections(mail)
    # Each word is judged by many rules, so that words that many recipients share are read in part.
    most = MAX_TEXT // max(1, min(MAX_RECIPIENTS, max(len(sections), len(mail.recipients))))
    sections = {recipient: said[:most] for recipient, said in islice(sections.items(), MAX_RECIPIENTS)}
    if mail.recipients:
        return [_of_report(mail, fields, sections) for fields in mail.recipients]
    return [_remark(mail, recipient, said, {}) for recipient, said in sections.items()]


def _of_report(mail: Anatomy, fields: Fields, sections: dict[str, str]) -> Remark:
    recipient = address(fields.get("final-recipient", "")) or address(fields.get("original-recipient", ""))
    said = mail.notice if len(mail.recipients) == 1 else sections.get(recipient.lower(), "")
    return _remark(mail, recipient, said, fields)


def _remark(mail: Anatomy, recipient: str, said: str, fields: Fields) -> Remark:
    told = fields.get("diagnostic-code", "")
    diagnostic = re.sub(r"^[\w-]+ ?; *", "", told)
    text = _sentence(said, recipient)
    code, status = _codes(diagnostic)
    text_code, text_status = _codes(text)
    own = _STATUS.search(fields.get("status", ""))
    live = "RCPT" if "x-nai-header" in mail.headers else None
    return Remark(
        recipient=recipient,
        action=fields.get("action", "").split(" ")[0].lower(),
        status=status or _telling(own[1] if own else None, text_status),
        code=code or text_code,
        diagnostic=diagnostic,
        text=text,
        context=" ".join(said.split()),
        command=_command(diagnostic) or _command(" ".join(said.split())) or live,
        reporter=mail.report.get("reporting-mta", ""),
        category=fields.get("x-powermta-bouncecategory", ""),
    )


def _sentence(said: str, recipient: str) -> str:
    """Choose the words that give the reason: the server's reply, else what stands with the recipient's address."""
    paragraphs = [p for p in re.split(r"\n[\s|>]*\n|\n[ \t]*[-=_*]{4,}[^\n]*", said) if p.strip()]
    replies = [p for p in paragraphs if _REPLY_LINE.search(p)]
    if replies:
        named = [p for p in replies if recipient.lower() in p.lower()]
        words = " ".join((named or replies)[-1].split())
        words = _session(named[-1] if named else replies[-1], recipient) or words
        found = _REPLY.search(words)
        return re.split(r"\",|\"\}|\\n", words[found.start() :] if found else words)[0]
    near = [n for n, p in enumerate(paragraphs) if recipient.lower() in p.lower()]
    chosen = paragraphs[near[-1] : near[-1] + 2] if near else paragraphs
    return " ".join(" ".join(chosen).split())


def _session(transcript: str, recipient: str) -> str | None:
    """Choose the reply from the transcript of a session: the other server's own words before those about them."""
    replies = [" ".join(reply.replace("<<<", " ").split()) for reply in _TRANSCRIPT.findall(transcript)]
    telling = [reply for reply in replies if not _AFTERMATH.search(reply)]
    if telling:
        return next((reply for reply in telling if recipient.lower() in reply.lower()), telling[-1])
    return next((line for line in transcript.split("\n") if _answers(line, recipient)), None)


def _answers(line: str, recipient: str) -> bool:
    match = _ANSWERED.match(line)
    return match is not None and match[1].lower() == recipient.lower()


def _codes(text: str) -> tuple[int | None, str | None]:
    reply = _REPLY.search(text)
    return (int(reply[1]) if reply else None), _telling(*_STATUS.findall(text))


def _telling(*statuses: str | None) -> str | None:
    """Choose the first status that says more than its class: `5.0.0` is "for good", `5.1.0` "the address, somehow"."""
    known = [status for status in statuses if status]
    return next((status for status in known if not status.endswith((".0.0", ".1.0"))), known[0] if known else None)


def _command(text: str) -> str | None:
    return next((command for command, pattern in _COMMAND if pattern.search(text)), None)


def _sections(mail: Anatomy) -> dict[str, str]:
    """Say what the words for people say of each address, in order."""
    lines = mail.notice.split("\n")
    ours = {
        address.lower() for name in ("to", "from", "sender") for address in _ANY.findall(mail.headers.get(name, ""))
    }
    failed = [address.lower() for address in _ANY.findall(mail.headers.get("x-failed-recipients", ""))]
    anchors = [
        (n, a) for n, a in _anchors(lines) if (a in failed if failed else a not in ours and not _SYSTEM.match(a))
    ]
    found: dict[str, str] = {}
    if any(line.startswith(("<<<", ">>>")) for line in lines):
        begin = 0
        for number, address in anchors:
            found[address] = found.get(address, "") + "\n" + "\n".join(lines[begin : number + 1])
            begin = number + 1
    else:
        ends = [*(number for number, _ in anchors[1:]), len(lines)][: len(anchors)]
        for (number, address), end in zip(anchors, ends, strict=True):
            found[address] = found.get(address, "") + "\n" + "\n".join(lines[number:end])
    for address in failed:
        found.setdefault(address, mail.notice)
    if not found:
        mentioned = [address.lower() for address in _ANY.findall(f"{mail.notice} {mail.original.get('to', '')}")]
        if named := [address for address in mentioned if not _SYSTEM.match(address)] or mentioned:
            found[next((address for address in named if address not in ours), named[0])] = mail.notice
    if len(found) == 1:
        return dict.fromkeys(found, mail.notice)
    return found


def _anchors(lines: list[str]) -> Iterator[tuple[int, str]]:
    for number, line in enumerate(lines):
        match = _BEGINS.match(line) or _ANSWERED.match(line)
        if match:
            yield number, match[1].lower()


def address(field: str) -> str:
    """Read the address of a report's field (`rfc822; ada@example.com`)."""
    match = _ANY.search(field.partition(";")[2] or field)
    return match[1] if match else (field.partition(";")[2] or field).strip(" <>")
