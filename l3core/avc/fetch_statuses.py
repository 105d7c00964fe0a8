"""What became of a video that was asked for: a closed list, and what of it a site's answer means."""

import re

OK = "ok"
STATUSES = {
    OK: "it is there",
    "gone": "removed, or never there (404, 410)",
    "private": "for those whom its owner lets see it",
    "geo-blocked": "not for this country",
    "forbidden": "refused (401, 403), or for those only who are logged in, of age, or members",
    "broken": "no video, or nothing in the seconds wanted",
    "rate-limited": "the site has had too many requests from here (429)",
    "network": "no connection, or the site itself failed (5xx)",
    "timeout": "it took too long",
    "failed": "anything else; the error says what",
}
# What may be better the next time, and is tried again then.
TRANSIENT = frozenset({"rate-limited", "network", "timeout"})
# The first that is found in a message counts. YouTube's words, yt-dlp's and FFmpeg's.
_WORDS = (
    ("rate-limited", r"not a bot|rate[- ]limit|captcha|too many requests|try again later"),
    ("geo-blocked", r"in your country|your location|geo[- ]?restrict|from your (country|region)"),
    ("private", r"private video|video is private"),
    (
        "gone",
        r"been removed|been terminated|account .*terminated|no longer available|does not exist"
        r"|video unavailable|video is unavailable|not available anymore|been deleted",
    ),
    ("forbidden", r"confirm your age|age[- ]restricted|members[- ]only|sign in|log ?in|premium"),
    ("broken", r"unsupported url|invalid data found|moov atom not found|no video formats found"),
    (
        "network",
        r"timed out|connection (refused|reset|aborted)|name resolution|name or service"
        r"|network is unreachable|unable to connect|remote end closed|incompleteread",
    ),
    ("broken", r"ffmpeg exited with code"),
)
_HTTP = re.compile(r"http error (\d{3})|server returned (\d{3})", re.IGNORECASE)
MOST_CHARACTERS = 500


def status_of(message: str, http: int | None = None) -> str:
    """The status that an error means.

    Args:
        message: of yt-dlp, and what FFmpeg said.
        http: status of the answer, where it is known; else it is looked for in the message.
    """
    by_words = _by_words(message)
    if http is None and (found := _HTTP.search(message)):
        http = int(found[1] or found[2])
    by_answer = None if http is None else _by_answer(http)
    if by_words in ("geo-blocked", "private", "rate-limited"):  # an answer says less
        return by_words
    return by_answer or by_words or "failed"


def _by_words(message: str) -> str | None:
    return next((status for status, words in _WORDS if re.search(words, message.lower())), None)


def _by_answer(http: int) -> str | None:
    if http == 429:
        return "rate-limited"
    if http in (404, 410):
        return "gone"
    if http == 451:
        return "geo-blocked"
    if http in (401, 402, 403, 407):
        return "forbidden"
    return "network" if http >= 500 or http == 408 else None


def in_one_line(message: str) -> str:
    """An error's text for a ledger: without colours and yt-dlp's advice, not too long."""
    text = re.sub(r"\x1b\[[0-9;]*m", "", message)
    text = re.split(r"; please report this issue|\. ?(?:Use|See|For more information)[ ,]", text)[0]
    return " ".join(text.split()).removeprefix("ERROR: ")[:MOST_CHARACTERS]
