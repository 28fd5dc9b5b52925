"""The HTTP that all vendors share, against servers that fail, lie, repeat themselves, stall and swell."""

from __future__ import annotations

import gzip
import json
import logging
import socket
import threading
import time
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from math import inf
from typing import Any

import pytest

from include.errors import BudgetSpentError, MisfitError, RefusedError, SourceError
from include.sources import http, wire
from include.sources.answers import NoJsonError, decode, retry_after
from include.sources.gate import Limits, OpenGate
from include.sources.http import RateLimitedError, VendorHttp
from tests.faults.proxy import Answer, Cut, Fault, FaultProxy, Hang

SECRET = "s3cret/key+1"


class Noted(OpenGate):
    """Lets everything through and remembers what it was told."""

    def __init__(self, seconds: float = inf) -> None:
        self.seconds = seconds
        self.told: list[tuple[Any, ...]] = []

    def remaining(self) -> float:
        return self.seconds

    def admit(self, weight: int = 1) -> None:
        self.told.append(("admit", weight))

    def pause(self, seconds: float, reason: str) -> None:
        self.told.append(("pause", round(seconds), reason))

    def succeeded(self) -> None:
        self.told.append(("succeeded",))

    def failed(self, reason: str) -> None:
        self.told.append(("failed", reason))


@pytest.fixture
def vendor() -> Iterator[FaultProxy]:
    with FaultProxy() as server:
        yield server


@pytest.fixture
def gate() -> Noted:
    return Noted()


@pytest.fixture(autouse=True)
def pauses(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """The breaks between attempts, noted instead of slept."""
    noted: list[float] = []
    monkeypatch.setattr(http, "sleep", noted.append)
    return noted


def ok(data: Any, **headers: str) -> Answer:
    return Answer(200, json.dumps(data).encode(), {"Content-Type": "application/json"} | headers)


def get(url: str, gate: Noted, path: str = "/v1/x", seconds: float = 5, **more: Any) -> Any:
    options = {name: more.pop(name) for name in ("headers", "secret", "secret_params", "advice") if name in more}
    with VendorHttp("Acme", url, gate, seconds=seconds, **options) as api:
        return api.get(path, **more).data


# The gate


def test_every_attempt_passes_the_gate_and_the_end_is_told(vendor: FaultProxy, gate: Noted) -> None:
    vendor.add(Answer(500, b"oops"), times=2)
    vendor.add(ok([1]))
    assert get(vendor.url, gate, weight=4) == [1]
    assert gate.told == [("admit", 4), ("admit", 4), ("admit", 4), ("succeeded",)]


def test_a_failure_for_good_is_told_once_and_the_error_says_that_it_was(vendor: FaultProxy, gate: Noted) -> None:
    vendor.add(Answer(500, b"oops"), times=None)
    with pytest.raises(SourceError, match=r"Acme: answered 500 \('oops'\) \(attempt 4 of 4, given up\)") as failed:
        get(vendor.url, gate)
    assert gate.told[-1] == ("failed", str(failed.value))
    assert [told[0] for told in gate.told] == ["admit"] * 4 + ["failed"]
    assert failed.value.is_counted


def test_what_the_gate_refuses_is_not_asked_and_no_failure(vendor: FaultProxy, gate: Noted) -> None:
    def refuse(weight: int = 1) -> None:
        raise BudgetSpentError("no room")

    gate.admit = refuse  # type: ignore[method-assign]
    with pytest.raises(BudgetSpentError, match="no room"):
        get(vendor.url, gate)
    assert (vendor.seen, gate.told) == ((), [])


@pytest.mark.parametrize("status", [418, 429])
def test_too_often_is_a_break_for_everybody(vendor: FaultProxy, gate: Noted, pauses: list[float], status: int) -> None:
    vendor.add(Answer(status, b"", {"Retry-After": "17"}))
    vendor.add(Answer(status, b""))
    vendor.add(ok([1]))
    assert get(vendor.url, gate) == [1]
    assert [told for told in gate.told if told[0] == "pause"] == [
        ("pause", 17, f"answered {status}"),
        ("pause", 0, f"answered {status}"),
    ]
    assert pauses[0] == 17


def test_a_rate_limit_in_the_body_is_one_too(vendor: FaultProxy, gate: Noted, pauses: list[float]) -> None:
    def check(answer: Any) -> None:
        if "Note" in answer.data:
            raise RateLimitedError(f"says {answer.data['Note']!r}", 9)

    vendor.add(ok({"Note": "please slow down"}))
    vendor.add(ok({"price": 1}))
    assert get(vendor.url, gate, check=check) == {"price": 1}
    assert ("pause", 9, "says 'please slow down'") in gate.told
    assert pauses == [9]


# Time


def test_a_server_that_answers_byte_by_byte_does_not_hold_us_up(gate: Noted) -> None:
    for head in (b"", b"HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\n"):
        with dripping(head) as url:
            start = time.monotonic()
            with pytest.raises(SourceError, match=r"(no answer|not complete) within 0\.15 s"):
                get(url, gate, seconds=0.15)
            assert time.monotonic() - start < 2


@contextmanager
def dripping(head: bytes) -> Iterator[str]:
    """A server that sends `head` and then a byte every 50 ms, for ever."""
    done = threading.Event()

    def serve(client: socket.socket) -> None:
        with client:
            try:
                client.sendall(head or b"HTTP/1.1 200 OK\r\nX-Slow: ")
                while not done.wait(0.05):
                    client.sendall(b"1")
            except OSError:
                pass  # it had enough

    def accept() -> None:
        while not done.is_set():
            try:
                client, _ = listening.accept()
            except TimeoutError:
                continue
            threading.Thread(target=serve, args=[client], daemon=True).start()

    with socket.create_server(("127.0.0.1", 0)) as listening:
        listening.settimeout(0.05)
        thread = threading.Thread(target=accept)
        thread.start()
        yield f"http://127.0.0.1:{listening.getsockname()[1]}"
        done.set()
        thread.join()


def test_the_time_of_the_pull_bounds_attempts_and_breaks(vendor: FaultProxy, pauses: list[float]) -> None:
    vendor.add(Hang(), times=None)
    gate = Noted(seconds=0.1)
    with pytest.raises(SourceError, match=r"no answer within 0\.1 s \(attempt 1 of 4, given up\)"):
        get(vendor.url, gate, seconds=10)
    assert pauses == []


def test_a_pull_whose_time_is_over_asks_no_more(vendor: FaultProxy) -> None:
    gate = Noted(seconds=0)
    with pytest.raises(RefusedError, match="Acme: the time for this pull is over; no more calls"):
        get(vendor.url, gate)
    assert vendor.seen == ()


NOW = datetime(2026, 3, 14, 12, tzinfo=UTC)


@pytest.mark.parametrize(
    ("value", "seconds"),
    [
        ("17", 17),
        (" 17 ", 17),
        ("1.5", 1.5),
        ("0", 0),
        (format_datetime(NOW + timedelta(seconds=30), usegmt=True), 30),
        ("Saturday, 14-Mar-26 12:00:30 GMT", 30),
        ("Sat Mar 14 12:00:30 2026", 30),
        ("Sat, 14 Mar 2026 13:00:30 +0100", 30),
        (format_datetime(NOW - timedelta(days=1), usegmt=True), 0),
        ("-5", None),
        ("soon", None),
        ("", None),
        ("NaN", None),
        ("1e99", None),
        ("9" * 400, None),
        ("Sat, 99 Mar 2026 12:00:00 GMT", None),
    ],
)
def test_retry_after_in_all_its_forms(value: str, seconds: float | None) -> None:
    """Against the vendor's own clock, which says noon."""
    assert retry_after({"Retry-After": value, "Date": format_datetime(NOW, usegmt=True)}) == seconds


def test_retry_after_without_the_vendors_clock_is_taken_by_ours() -> None:
    later = format_datetime(datetime.now(UTC) + timedelta(seconds=30), usegmt=True)
    assert 27 < (retry_after({"Retry-After": later}) or 0) <= 30
    assert retry_after({}) is None


# Redirects


def test_a_redirect_on_the_same_host_is_followed_with_the_key_and_counted(vendor: FaultProxy, gate: Noted) -> None:
    vendor.add(Answer(301, b"", {"Location": "/v2/x?a=1"}), path=r"/v1/x\?.*")
    vendor.add(ok([1]), path=r"/v2/x\?.*")
    assert get(vendor.url, gate, params={"a": "1"}, secret_params={"apikey": "k"}) == [1]
    assert [seen.request.path for seen in vendor.seen] == ["/v1/x?a=1&apikey=k", "/v2/x?a=1&apikey=k"]
    assert [told[0] for told in gate.told] == ["admit", "admit", "succeeded"]


@pytest.mark.parametrize("place", ["https://evil.example/x", "//evil.example/x", "http://127.0.0.1:1/x"])
def test_the_key_does_not_follow_a_redirect_to_another_host(vendor: FaultProxy, gate: Noted, place: str) -> None:
    vendor.add(Answer(302, b"", {"Location": place}))
    with pytest.raises(
        MisfitError, match=r"Acme: sends us on to another host: 'https?://(evil\.example|127\.0\.0\.1:1)"
    ):
        get(vendor.url, gate, headers={"X-Key": SECRET}, secret=SECRET)
    assert len(vendor.seen) == 1
    assert gate.told[-1][0] == "failed"


@pytest.mark.parametrize("place", ["https://[not", "http://\x00"])
def test_a_redirect_to_what_is_no_address_is_an_error(vendor: FaultProxy, gate: Noted, place: str) -> None:
    vendor.add(Answer(302, b"", {"Location": place}), times=None)
    with pytest.raises(SourceError, match="Acme: "):
        get(vendor.url, gate)


def test_a_circle_of_redirects_ends(vendor: FaultProxy, gate: Noted) -> None:
    vendor.add(Answer(307, b"", {"Location": "/v1/x"}), times=None)
    with pytest.raises(SourceError, match="sends us on more than 3 times"):
        get(vendor.url, gate)
    assert len(vendor.seen) == 4


def test_a_next_page_keeps_its_query_and_gets_the_key(vendor: FaultProxy, gate: Noted) -> None:
    vendor.add(ok([2]))
    assert get(vendor.url, gate, f"{vendor.url}/v3/page?cursor=abc%3D%3D", secret_params={"apikey": "k"}) == [2]
    assert vendor.seen[0].request.path == "/v3/page?cursor=abc%3D%3D&apikey=k"


@pytest.mark.parametrize(
    "page",
    [
        "https://{host}/page",
        "http://evil.example/page",
        "http://{host}@evil.example/page",
        "http://127.0.0.1.evil.example/page",
        "http://user:pw@{host}/page",
    ],
)
def test_a_next_page_elsewhere_is_not_asked_for(vendor: FaultProxy, gate: Noted, page: str) -> None:
    """Nor at the same place by another scheme: the key would travel in the open."""
    page = page.format(host=vendor.url.removeprefix("http://"))
    with pytest.raises(MisfitError, match="another host") as misfit:
        get(vendor.url, gate, page)
    assert misfit.value.raw == page.encode()
    assert vendor.seen == ()


def test_an_address_that_is_none_is_named(gate: Noted) -> None:
    with pytest.raises(SourceError, match=r"Acme: the address http://acme:port is none"):
        get("http://acme:port", gate)
    with pytest.raises(SourceError, match=r"Acme: .*protocol"):
        get("acme.example", gate)


# Bodies

BOMB = gzip.compress(b"[" + b"0" * (wire.MAX_BYTES + 1))


def test_packed_answers_are_unpacked(vendor: FaultProxy, gate: Noted) -> None:
    body = b'{"a": 1}'
    for name, packed in (("gzip", gzip.compress(body)), ("deflate", zlib.compress(body)), ("identity", body)):
        vendor.add(Answer(200, packed, {"Content-Encoding": name}))
        assert get(vendor.url, gate) == {"a": 1}
    assert vendor.seen[0].request.header("Accept-Encoding") == "gzip"


@pytest.mark.parametrize(
    ("answer", "said"),
    [
        (Answer(200, gzip.compress(b'{"a": 1}')[:-9], {"Content-Encoding": "gzip"}), r"is cut off \(gzip\)"),
        (Answer(200, b'{"a": 1}', {"Content-Encoding": "gzip"}), r"cannot be unpacked as it says \(gzip\)"),
        (Answer(200, b"\x0b\x02\x80", {"Content-Encoding": "br"}), "is packed as 'br', which was not asked for"),
        (Answer(200, gzip.compress(BOMB), {"Content-Encoding": "gzip, gzip"}), "is packed as 'gzip, gzip'"),
        (Cut(0.5, ok({"a": 1})), "the connection failed: peer closed connection"),
        (Answer(200, b""), "the answer is empty"),
        (Answer(200, b"<html>Just a moment</html>", {"Content-Type": "application/json"}), "no JSON but '<html>Just a"),
        (Answer(200, b'{"a": 1}{"a": 1}'), "holds more than one JSON document: '{\"a\": 1}{\"a\": 1}'"),
        (Answer(200, b'{"a": 1, "a": 2}'), "names 'a' twice in one object"),
        (Answer(200, b'{"a": NaN}'), "is no JSON but '{\"a\": NaN}'"),
        (Answer(200, b'{"a": "\xe4"}'), "str is not valid UTF-8"),
    ],
)  # fmt: skip
def test_a_body_that_lies_is_tried_again_and_named(vendor: FaultProxy, gate: Noted, answer: Fault, said: str) -> None:
    vendor.add(answer, times=None)
    with pytest.raises(SourceError) as failed:
        get(vendor.url, gate)
    assert said.replace("\\", "") in str(failed.value)
    assert len(vendor.seen) == 4


def test_a_bomb_is_not_unpacked(vendor: FaultProxy, gate: Noted) -> None:
    vendor.add(Answer(200, BOMB, {"Content-Encoding": "gzip"}), times=None)
    with pytest.raises(SourceError, match="larger than 33,554,432 bytes; not read"):
        get(vendor.url, gate)
    assert (len(BOMB) < 100_000, len(vendor.seen)) == (True, 1)


def test_json_is_json_whatever_the_type_says(vendor: FaultProxy, gate: Noted) -> None:
    vendor.add(Answer(200, b'\xef\xbb\xbf{"a": 1}\n', {"Content-Type": "text/plain"}))
    assert get(vendor.url, gate) == {"a": 1}


def test_what_is_no_json_comes_with_its_bytes(vendor: FaultProxy, gate: Noted) -> None:
    vendor.add(Answer(200, b"<html>Just a moment</html>"), times=None)
    with pytest.raises(MisfitError) as misfit:
        get(vendor.url, gate)
    assert misfit.value.raw == b"<html>Just a moment</html>"


@pytest.mark.parametrize(
    ("body", "said"),
    [
        (b"[Infinity]", "is no JSON"),
        (b"[1e400]", "number is infinity"),
        (b"[" + b"9" * 400 + b"]", "number is infinity"),
        (b'["\\ud800"]', "is no JSON"),
        (b"[" * 100_000, "depth limit"),
        (b'{"a":' * 1010 + b"1" + b"}" * 1010, "nested too deeply"),
        (b'[1, {"b": {"c": 1, "c": 1}}]', "names 'c' twice"),
        (b"[1][2]", "more than one JSON document"),
        (b"   ", "is empty"),
    ],
)
def test_json_with_a_surprise_is_refused(body: bytes, said: str) -> None:
    with pytest.raises(NoJsonError, match=said):
        decode(body)


def test_numbers_keep_their_value_as_far_as_a_number_can() -> None:
    assert decode(b"[9223372036854775807, 18446744073709551615, 18446744073709551616, 0.1]") == [
        2**63 - 1,
        2**64 - 1,
        float(2**64),
        0.1,
    ]


# Secrets


@pytest.mark.parametrize(
    "fault",
    [
        Answer(401, f"your key {SECRET} is wrong".encode()),
        Answer(200, f"<p>{SECRET}</p>".encode()),
        Answer(200, json.dumps({"Information": f"key {SECRET}"}).encode()),
        Answer(302, b"", {"Location": "https://evil.example/?apikey=s3cret%2Fkey%2B1"}),
        Answer(302, b"", {"Location": "/again?apikey=s3cret%2Fkey%2B1"}),
        Answer(302, b"", {"Location": f"https://{SECRET}.example/"}),
        Answer(429, f'{{"key": {json.dumps(SECRET)}}}'.encode(), {"X-Key": SECRET, "Retry-After": "1"}),
        Cut(0.5, Answer(200, SECRET.encode(), {"X-Key": SECRET})),
    ],
)
def test_a_key_shows_nowhere_even_if_the_vendor_echoes_it(
    vendor: FaultProxy, gate: Noted, caplog: pytest.LogCaptureFixture, fault: Fault
) -> None:
    for name in [None, *logging.root.manager.loggerDict]:
        caplog.set_level(logging.DEBUG, logger=name)

    def check(answer: Any) -> None:
        raise RateLimitedError(str(answer.data), 1)

    vendor.add(fault, times=None)
    with pytest.raises(SourceError) as failed:
        get(
            vendor.url, gate, secret=SECRET, headers={"X-Key": SECRET}, secret_params={"apikey": SECRET}, check=check
        )  # fmt: skip
    chain: list[BaseException | None] = [failed.value]
    while chain[-1] is not None:
        chain.append(chain[-1].__context__)
    said = f"{chain!r} {gate.told} {getattr(failed.value, 'raw', b'')!r} {caplog.text}"
    assert "httpcore" in caplog.text or "httpx" in caplog.text, "the libraries did log"
    for form in (SECRET, "s3cret%2Fkey%2B1", "s3cret/key%2B1", "s3cret"):
        assert form not in said
    assert vendor.seen[0].request.header("X-Key") == SECRET
    assert "apikey=s3cret%2Fkey%2B1" in vendor.seen[0].request.path


def test_an_echoed_key_does_not_reach_the_data(vendor: FaultProxy, gate: Noted) -> None:
    vendor.add(ok({"Information": f"We have detected your API key as {SECRET}"}))
    assert get(vendor.url, gate, secret=SECRET) == {"Information": "We have detected your API key as ***"}


def test_a_key_too_short_to_be_told_from_data_changes_no_data(vendor: FaultProxy, gate: Noted) -> None:
    vendor.add(ok({"demo": "demo"}))
    assert get(vendor.url, gate, secret="demo") == {"demo": "demo"}


# Limits as text


@pytest.mark.parametrize(
    ("text", "limits"),
    [
        ("60/minute", Limits(60)),
        ("2000/day", Limits(None, 2000)),
        ("60/minute+2000/day", Limits(60, 2000)),
        ("2000/day + 60/minute", Limits(60, 2000)),
    ],
)
def test_a_budget_can_be_read(text: str, limits: Limits) -> None:
    assert Limits.parse(text) == limits


@pytest.mark.parametrize(
    "text", ["", "0/minute", "60", "60/hour", "60/minute+", "1/day+2/day", "-5/day", "1.5/day", "１/day", "1/day,"]
)
def test_what_is_no_budget_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match=r"is no budget; allowed are 60/minute, 2000/day or 60/minute\+2000/day"):
        Limits.parse(text)


def test_a_budget_replaces_only_what_it_names() -> None:
    assert Limits(5, 25).but(Limits(75)) == Limits(75, 25)
