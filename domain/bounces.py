"""Bounces: what a mail server's refusal means for the address. Pure rules, from the most to the least exact.

Only a mailbox or a domain that does not exist is a reason never to write again. So a doubt counts for the address:
whatever speaks of us (reputation, authentication, relaying, content) or of a state that may pass (full, locked, busy)
outweighs any code: servers put the wrong code on the right sentence more often than the other way round.

Sources: RFC 3463 and the IANA registry of enhanced status codes, RFC 5321 §4.2, RFC 7504 and 7505.
"""

import re
from datetime import timedelta
from enum import StrEnum
from uuid import UUID

from domain.values import UtcTime, Value

SOFT_LIMIT = 5
"""So many messages in a row that were not delivered suppress an address for a while."""
SOFT_SUPPRESSION = timedelta(days=30)


class Kind(StrEnum):
    """What became of a message after it was handed over."""

    GONE = "gone"
    """The mailbox or its domain does not exist: a hard bounce."""
    NOT_NOW = "not_now"
    """It could not be delivered to this address; it may be possible again: a soft bounce."""
    REFUSED = "refused"
    """It was refused for what we are or what we wrote; that says nothing about the address."""
    DELAYED = "delayed"
    """It is still being tried."""
    DELIVERED = "delivered"
    COMPLAINED = "complained"
    """The recipient called it spam."""


class Remark(Value):
    """What a mail says of one recipient.

    Attributes:
        recipient: The address, as it is written there.
        action: RFC 3464: failed, delayed, delivered, relayed, expanded; empty if not told.
        status: The most telling enhanced status code.
        code: The SMTP reply code.
        diagnostic: The words of the server that refused.
        text: The sentence that gives the reason, as the mail tells it to people.
        context: All that the mail says of this recipient to people.
        command: The SMTP command that was refused.
        reporter: The server that wrote the report.
        category: What the sending server itself makes of it (PowerMTA).
    """

    recipient: str
    action: str = ""
    status: str | None = None
    code: int | None = None
    diagnostic: str = ""
    text: str = ""
    context: str = ""
    command: str | None = None
    reporter: str = ""
    category: str = ""

    @property
    def said(self) -> str:
        """The words to judge by; a program's exit code is not one."""
        return self.diagnostic if re.search(r"[^\W\d_]{3}", self.diagnostic) else self.text


class Feedback(Value):
    """What came back for one message, understood.

    Attributes:
        key: Names it: the same feedback read twice has the same key.
        recipient: The address it is about, as told.
        message_id: Our message, if it was named.
        detail: Status and reply code, for people; no words of the server, which may hold personal data (G8).
    """

    kind: Kind
    key: str
    recipient: str | None = None
    message_id: UUID | None = None
    at: UtcTime | None = None
    detail: str = ""


def _any(*patterns: str) -> re.Pattern[str]:
    return re.compile("|".join(patterns), re.IGNORECASE)


_ABOUT_US = _any(
    r"\bspf\b", r"\bdkim\b", r"\bdmarc\b", r"unauthenticated", r"authenticat", r"not authori[sz]ed", r"\bspam",
    r"\bube\b", r"unsolicited", r"\bjunk\b", r"virus", r"malware", r"phish", r"reputation", r"black-?list",
    r"block(?:ed)?[ -]?list", r"\bdnsbl", r"\brbl\b", r"spamhaus", r"barracudacentral", r"\bblocked\b(?! mailbox)",
    r"client host", r"reverse dns", r"\bptr\b", r"\brdns\b", r"rate limit",
    r"too many (?:messages|connections|recipients|hops|errors)",
    r"relay(?:ing)?\b.{0,20}\b(?:denied|not|prohibited|disallowed)", r"no relay",
    r"(?:not|n't|unable to|refuse to) (?:\w+ ){0,4}relay", r"insecure mail relay", r"polic(?:y|ies)", r"\bsender\b",
    r"\bfrom:? ?(?:address|header|domain|field)", r"mail from", r"content", r"header", r"attachment",
    r"too (?:large|big)", r"size (?:limit|exceed)", r"exceeds? .{0,20}size", r"message size", r"message length",
    r"line limit", r"loop", r"hop count", r"protocol (?:violation|error)",
    r"\bcommand\b.{0,30}(?:not|unknown|reject)", r"not verified", r"\bgroups?\b.{0,60}(?:post|member|permission)",
    r"not a member", r"members? only", r"purported responsible",
    r"(?:your|client|sending) (?:ip|isp|server|domain|mail server)",
    r"\bip (?:name|address).{0,40}(?:lookup|list|block|reject|reputation)", r"\bhelo\b", r"\behlo\b",
    r"my name was rejected", r"greylist", r"security", r"scored", r"suspicious", r"abuse", r"complain",
    r"quota for sending", r"relay quota", r"invalid ip\b", r"receiving mail at a rate",
    r"reached .{0,30}(?:limit|quota)", r"recipient(?:'s)? preferences",
)  # fmt: skip
_LISTED = _any(
    r"\b(?:spamhaus|spamcop|barracudacentral|sorbs|uceprotect|abuseat|proofpoint|cloudmark|senderscore|surbl)\.",
)
"""Links to those who keep lists of senders: a reply may say nothing else, and links are not read for words."""
_MAY_PASS = _any(
    r"\bquota", r"(?:mailbox|inbox|account|storage|maildir|folder)\W+(?:\w+\W+){0,5}(?:full|exceed|over)",
    r"\bfull\b", r"exceed(?:s|ed|ing)?\b.{0,40}(?:mailbox|storage|allowed|limit)", r"mailbox.{0,30}exceed",
    r"disk space", r"no space", r"insufficient (?:system )?(?:storage|space|disk)", r"storage", r"suspend",
    r"disabled", r"inactive(?! e-?mail address)", r"\blocked\b", r"frozen", r"discontinued", r"expired", r"deactivat",
    r"not active", r"dormant", r"temporar", r"try (?:again )?later", r", try again", r"on hold", r"timed?[ -]?out",
    r"\bdeferred\b", r"connection (?:refused|reset|lost|dropped|closed)", r"lost connection", r"unable to connect",
    r"could not connect", r"failed connect", r"not? (?:able to )?establish", r"multiple retries", r"queue too long",
    r"too long", r"retry", r"\bbusy\b", r"overload", r"unavailable,? (?:try|closing)",
    r"service (?:is )?(?:currently )?(?:not available|unavailable)", r"system error", r"internal error",
    r"local error", r"mailer error", r"ldap", r"malformed or unexpected", r"servfail",
    r"name ?server.{0,60}lookup fail", r"host name lookup fail", r"dns query failed", r"couldn't create",
    r"no such file", r"permission denied", r"procmail", r"vacation",
    r"out of (?:the )?office", r"容量|一杯|停止",
)  # fmt: skip
_STATE = _any(
    r"account (?:is|has been) (?:currently )?(?:disabled|suspended|locked|inactive)",
    r"mailbox (?:is )?full",
    r"over quota",
    r"not enough disk space",
)
_NO_DOMAIN = _any(
    r"host(?: or domain name)?(?: \S+)? not found", r"host unknown", r"unknown host", r"no such (?:host|domain)",
    r"domain (?:name )?(?:does not|doesn't) exist", r"domain not found", r"unknown domain", r"invalid domain",
    r"bad destination (?:system|host)", r"couldn't find any host", r"unroute?able address",
    r"couldn't find a mail exchanger", r"no mx (?:record )?(?:found|for)", r"indicated no smtp service", r"null ?mx",
    r"nxdomain", r"domain is not reachable", r"(?:host|domain|system) does not accept (?:any )?(?:mail|messages)",
    r"no smtp service here", r"all (?:relevant )?mx records point to non-existent hosts", r"nodename nor servname",
    r"illegal (?:host|domain)",
)  # fmt: skip
_NO_MAILBOX = _any(
    r"(?:user|recipient|mailbox|account|alias|address|addressee)\b.{0,60}"
    r"(?:unknown|not (?:found|exist|recogni[sz]ed|known)|(?:does|do) ?(?:not|n't) exist"
    r"|no longer (?:valid|available|exists?|on))",
    r"(?:unknown|no such|invalid|non-?existent|illegal|unrecogni[sz]ed)"
    r"(?: or (?:illegal|invalid|unknown|non-?existent))?(?: local)? "
    r"(?:user|recipient|mailbox|alias|account|addressee|final delivery userid|e-?mail address|rcpt)",
    r"no (?:such )?(?:mailbox|user|person|recipient)s?(?: here| by that| with that| of that| for)", r"not listed in",
    r"not our (?:user|customer)", r"does(?: not|n't) have an? \S+ account", r"bad destination mailbox", r"has moved",
    r"recipientnotfound", r"no account by that name", r"not a valid (?:user|mailbox|recipient|address)",
    r"mailbox unavailable", r"unknown to us", r"could not be found",
)  # fmt: skip
_UNMISTAKABLE = _any(
    r"not listed in (?:domino|public|the)", r"recipient name is not recognized", r"^unknown user: ",
    r"invalid final delivery userid", r"no valid recipients for", r"no mailbox here by that name",
    r"見つかりません|リストにありません|存在しません", r"adresse d au moins un destinataire invalide",
    r"adresse (?:du )?destinataire invalide", r"dd this user doesn't have an? \S+ account",
    r"because the address couldn't be found", r"#5\.1\.0 address rejected", r"addressee unknown",
)  # fmt: skip
"""Sentences that only a server says that has looked the mailbox up."""
_PLAIN = re.compile(r"^550 (?:<@>: user unknown|requested action not taken: mailbox unavailable)", re.IGNORECASE)
"""Replies in which a few large services say nothing but that."""
_NAMES_NOBODY = re.compile(r"\b550:? : ")
"""`550 : User unknown`: some carriers say so of mail that their filter refused."""
_CHOSEN_BY_RECIPIENT = re.compile(r"inbound-smtp\.[a-z0-9-]+\.amazonaws\.com", re.IGNORECASE)
"""The recipient's own rules choose code and words of these bounces (SES receipt rules)."""
_REJECTED = re.compile(r"recipient address rejected(?:\.|: access denied|$)", re.IGNORECASE)
_ADDRESS = re.compile(r"<?[^\s<>\"'(),;:\[\]@]{1,64}@[^\s<>\"'(),;:\[\]@]{1,255}>?")
_QUIET = re.compile(r"https?://\S+")
_STATUS_GONE = {"5.1.1", "5.1.2", "5.1.3", "5.1.6", "5.1.10", "5.1.351", "5.4.4"}
_STATUS_ABOUT_CONTENT = {"5.2.0", "5.6.0"}
_STATUS_ABOUT_US = ("5.7.", "5.6.", "5.3.4", "5.2.3", "5.1.7", "5.1.8", "5.5.")


def kind(remark: Remark) -> Kind:
    """Judge what was said of a recipient."""
    status = remark.status or ""
    if remark.action in {"delivered", "relayed", "expanded"} or status.startswith("2."):
        return Kind.DELIVERED
    if remark.action == "delayed":
        return Kind.DELAYED
    said = _ADDRESS.sub("<@>", _QUIET.sub(" ", remark.said))
    if remark.command in {"MAIL", "EHLO"} or _ABOUT_US.search(said) or _LISTED.search(remark.said):
        return Kind.REFUSED
    if _may_pass(remark, said, status):
        return Kind.NOT_NOW
    if _gone(remark, said, status):
        return Kind.GONE
    return Kind.REFUSED if status.startswith(_STATUS_ABOUT_US) else Kind.NOT_NOW


def _may_pass(remark: Remark, said: str, status: str) -> bool:
    if _MAY_PASS.search(said) or _STATE.search(remark.context):
        return True
    # A server that does not know the user, and said so until it was given up, will not come to know it.
    if status == "4.1.1" and remark.action == "failed" and _NO_MAILBOX.search(said):
        return False
    return status.startswith("4.") or 400 <= (remark.code or 0) < 500


def _gone(remark: Remark, said: str, status: str) -> bool:
    if _NAMES_NOBODY.search(said) or _CHOSEN_BY_RECIPIENT.search(remark.reporter):
        return False
    if remark.category in {"bad-mailbox", "bad-domain"} or _UNMISTAKABLE.search(said) or status in _STATUS_GONE:
        return True
    if _NO_DOMAIN.search(said) or remark.code == 556 or (remark.code == 521 and status in {"", "5.3.2"}):
        return remark.command != "DATA"
    if remark.action == "failed" and remark.command is None and _PLAIN.search(said):
        return True
    # A server that refuses a user after it has seen the content may have refused the content.
    return (
        remark.command == "RCPT"
        and status not in _STATUS_ABOUT_CONTENT
        and bool(_NO_MAILBOX.search(said) or _REJECTED.search(said))
    )
