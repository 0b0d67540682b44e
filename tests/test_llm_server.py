"""Labels from a server: answers, failures, costs, the key, and runs that are killed."""

import os
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from language_models import NAMES, base, make_data, read
from openai_server import KEY, FakeServer, Reply, answer, failure, text_of

sys.path.insert(0, str(Path(__file__).parents[1] / "benchmarks"))
import llm_fewshot as benchmark
from llm import server
from llm.answers import label_of
from llm.prompts import make_prompt


@pytest.mark.parametrize(
    ("answer", "expected"),
    [
        ("joy", 2),
        (" Joy.\n", 2),
        ("The label is JOY!", 2),
        ("Label: joyful", 3),
        ("joy, or joyful", -1),
        ("joy joy", 2),
        ("enjoy", -1),
        ("", -1),
        ("happiness", -1),
        ("Very Negative", 5),
        ("it is very_negative", 5),
        ("very negative, not negative", -1),
        (":)", 6),
        (":(", 7),
        (":-|", -1),
        ("c", 8),
        ("C#", 9),
        ("it is c", -1),
    ],
)
def test_answers_become_labels(answer: str, expected: int) -> None:
    assert label_of(answer, [*NAMES, "negative", "very negative", ":)", ":(", "c", "C#"]) == expected


@pytest.fixture
def fake(monkeypatch: pytest.MonkeyPatch) -> Iterator[FakeServer]:
    monkeypatch.setenv("OPENAI_API_KEY", KEY)
    monkeypatch.setenv("NO_PROXY", "*")
    running = FakeServer()
    yield running
    running.stop()


@pytest.fixture
def naps(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """What would have been slept."""
    slept: list[float] = []
    monkeypatch.setattr(server, "sleep", slept.append)
    return slept


def test_a_server_labels_and_is_not_asked_twice(
    tmp_path: Path, fake: FakeServer, naps: list[float], capsys: pytest.CaptureFixture[str]
) -> None:
    data, output = make_data(tmp_path), tmp_path / "lines.jsonl"
    table = pd.read_csv(data / "toy" / "test.csv")
    table.loc[1, "text"] = table.loc[0, "text"]  # the same text twice is one question
    table.to_csv(data / "toy" / "test.csv", index=False)
    right = {" ".join(text.split()): label for text, label in zip(table["text"], table["label"], strict=True)}
    odd = table.loc[[5, 6, 7], "text"].tolist()
    said = {odd[0]: "no idea", odd[1]: None, odd[2]: f"It is {right[odd[2]].upper()}."}
    fake.reply = lambda number, body: answer(said.get(text_of(body), right[text_of(body)]))
    argv = base(data, server=fake.address, model="org/chat", price_in=2, price_out=500)
    assert benchmark.main(argv) == 0
    line = read(output)[0]
    assert line["method"] == "fewshot[chat,examples=8]"
    wrong = 2 + (table.loc[0, "label"] != table.loc[1, "label"])
    assert line["epochs"][0]["test_accuracy"] == pytest.approx(1 - wrong / 12)
    assert (line["requests"], line["cached"], line["unparsed"]) == (11, 1, 2)
    assert line["cost"] == pytest.approx(11 * (1000 * 2 + 2 * 500) / 1e6)
    assert (line["settings"], line["device"]) == ("max_test_rows=500,answers=written", "127.0.0.1")
    assert set(fake.keys) == {f"Bearer {KEY}"}
    assert naps == []
    for body in fake.asked:
        assert (body["model"], body["temperature"]) == ("org/chat", 0)
        assert body["messages"][0]["content"].count("Text: ") == 9
    characters = sum(len(body["messages"][0]["content"]) for body in fake.asked)
    printed = capsys.readouterr()
    cost = (characters / 4 * 2 + 11 * 32 * 500) / 1e6
    assert printed.err == ""
    assert (
        f"1 cells: 11 requests, about {round(characters / 4):,} tokens in and at most 352 out, cost about {cost:.2f}"
        in printed.out
    )
    # Without the output everything is in the cache: nothing is sent, and the line says what it cost.
    output.unlink()
    assert benchmark.main(argv) == 0
    assert len(fake.asked) == 11
    again = read(output)[0]
    assert (again["requests"], again["cached"], again["cost"]) == (0, 12, pytest.approx(line["cost"]))
    assert again["epochs"] == line["epochs"]
    assert "1 cells: 0 requests" in capsys.readouterr().out
    # Another model is another question.
    assert benchmark.main(base(data, server=fake.address, model="org/other")) == 0
    assert len(fake.asked) == 22
    assert "no prices given" in capsys.readouterr().out
    assert read(output)[1]["cost"] is None


def test_a_busy_server_is_asked_again(tmp_path: Path, fake: FakeServer, naps: list[float]) -> None:
    replies = iter([failure(429), failure(503), failure(429, retry_after="7"), (200, "<html>", {"Content-Type": "a"})])
    replies_of_json = iter([(200, "{", {}), (200, {"choices": []}, {})])
    fake.reply = lambda number, body: next(replies, None) or next(replies_of_json, None) or answer("joy", used=None)
    assert benchmark.main(base(make_data(tmp_path), server=fake.address, max_test_rows=3)) == 0
    assert naps == [1, 2, 7, 8, 16, 32]
    assert fake.texts[:7] == [fake.texts[0]] * 7
    assert len(fake.asked) == 9
    assert read(tmp_path / "lines.jsonl")[0]["requests"] == 3


def test_a_server_that_fails_for_ever_stops_the_run(
    tmp_path: Path, fake: FakeServer, naps: list[float], capsys: pytest.CaptureFixture[str]
) -> None:
    fake.reply = lambda number, body: answer("joy") if number <= 4 else failure(500, f"odd {KEY}\nmore")
    argv = base(make_data(tmp_path), server=fake.address)
    assert benchmark.main(argv) == 1
    assert len(fake.asked) == 4 + 7
    assert naps == [1, 2, 4, 8, 16, 32]
    printed = capsys.readouterr()
    assert printed.err.startswith("error: 127.0.0.1 failed 7 times (Error code: 500")
    assert len(printed.err.splitlines()) == 1
    assert KEY not in printed.err
    assert read(tmp_path / "lines.jsonl") == []
    fake.reply = lambda number, body: answer("joy")
    assert benchmark.main(argv) == 0
    assert len(fake.asked) == 11 + 8
    line = read(tmp_path / "lines.jsonl")[0]
    assert (line["requests"], line["cached"]) == (8, 4)


def test_a_slow_answer_counts_as_failed(tmp_path: Path, fake: FakeServer, naps: list[float]) -> None:
    released = threading.Event()

    def reply(number: int, body: dict[str, Any]) -> Reply:
        if number == 1:
            released.wait(30)
        return answer("joy")

    fake.reply = reply
    argv = base(make_data(tmp_path), server=fake.address, max_test_rows=2, timeout=1)
    assert benchmark.main(argv) == 0
    released.set()
    assert naps == [1]
    assert fake.texts[0] == fake.texts[1] != fake.texts[2]
    assert len(fake.asked) == 3


def test_nobody_is_there(
    tmp_path: Path, fake: FakeServer, naps: list[float], capsys: pytest.CaptureFixture[str]
) -> None:
    fake.stop()
    assert benchmark.main(base(make_data(tmp_path), server=fake.address)) == 1
    assert "failed 7 times (" in capsys.readouterr().err
    assert len(naps) == 6


@pytest.mark.parametrize(
    ("status", "message"),
    [(401, "refuses the key in OPENAI_API_KEY (401)"), (400, "refuses the request: "), (404, "refuses the request: ")],
)
@pytest.mark.usefixtures("naps")
def test_a_refusal_is_final_and_shows_no_key(
    tmp_path: Path,
    fake: FakeServer,
    capsys: pytest.CaptureFixture[str],
    status: int,
    message: str,
) -> None:
    # Wherever the message is cut off, one of them stands there: in one of two cases not with its first letters only.
    said = f"Incorrect keys{'!' * 9 * (status == 404)}: {' '.join([KEY] * 20)}"
    fake.reply = lambda number, body: failure(status, said)
    assert benchmark.main(base(make_data(tmp_path), server=fake.address)) == 2
    assert len(fake.asked) == 1
    printed = capsys.readouterr()
    assert message in printed.err
    assert len(printed.err.splitlines()) == 1
    assert "sk-" not in printed.err + printed.out


def test_the_key_is_in_no_file(
    tmp_path: Path, fake: FakeServer, naps: list[float], capsys: pytest.CaptureFixture[str]
) -> None:
    fake.reply = lambda number, body: (
        answer(f"{fake.keys[-1]} joy") if number % 2 else failure(429, str(fake.keys[-1]))
    )
    assert benchmark.main(base(make_data(tmp_path), server=fake.address)) == 0
    assert read(tmp_path / "lines.jsonl")[0]["unparsed"] == 0
    files = [path for path in tmp_path.rglob("*") if path.is_file()]
    assert {path.name for path in files} >= {"lines.jsonl", "lines.cache.jsonl"}
    assert not [path for path in files if KEY.encode() in path.read_bytes()]
    assert KEY not in "".join(capsys.readouterr())


@pytest.mark.parametrize(
    ("key", "message"),
    [(None, "set OPENAI_API_KEY"), (" ", "set OPENAI_API_KEY"), ("sk-1 2", "characters that no key has")],
)
def test_a_key_that_is_none(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    key: str | None,
    message: str,
) -> None:
    monkeypatch.delenv("OPENAI_API_KEY", raising=False)
    if key is not None:
        monkeypatch.setenv("OPENAI_API_KEY", key)
    assert benchmark.main(base(make_data(tmp_path), server="http://127.0.0.1:1")) == 2
    error = capsys.readouterr().err
    assert message in error
    assert "sk-" not in error


def test_what_costs_too_much_is_not_started(
    tmp_path: Path, fake: FakeServer, naps: list[float], capsys: pytest.CaptureFixture[str]
) -> None:
    data = make_data(tmp_path)
    prices = {"server": fake.address, "price_in": 0, "price_out": 1e6 / 32, "repeats": 2}  # one each: 24 in all
    assert benchmark.main(base(data, **prices, max_cost=23.9)) == 2
    printed = capsys.readouterr()
    assert printed.err == "error: the estimated cost of 24.00 is above --max_cost 23.9: nothing sent\n"
    assert "2 cells: 24 requests" in printed.out
    assert fake.asked == []
    assert benchmark.main(base(data, **prices, max_cost=24.1)) == 0
    assert len(fake.asked) == 24
    # What is paid for does not count again.
    assert benchmark.main(base(data, **{**prices, "repeats": 3}, max_cost=12.1)) == 0
    assert len(fake.asked) == 36


def test_prompts_for_a_server_are_cut_by_characters(
    tmp_path: Path, fake: FakeServer, naps: list[float], capsys: pytest.CaptureFixture[str]
) -> None:
    assert benchmark.main(base(make_data(tmp_path), server=fake.address, max_prompt_tokens=150)) == 0
    sizes = [len(body["messages"][0]["content"]) / 4 + 32 for body in fake.asked]
    assert max(sizes) <= 150
    shown = [body["messages"][0]["content"].count("Text: ") - 1 for body in fake.asked]
    assert 0 < min(shown) < 8
    task = benchmark.make_task({"dataset": "toy", "noise": "uniform:0.25", "seed": 1}, benchmark.parse(base(tmp_path)))
    for body, number, text in zip(fake.asked, shown, task.texts, strict=True):
        prompts = [make_prompt(task.names, task.examples[:n], text) for n in (number, number + 1)]
        assert body["messages"][0]["content"] == prompts[0]
        assert number == 8 or len(prompts[1]) / 4 + 32 > 150
    line = read(tmp_path / "lines.jsonl")[0]
    assert (line["examples_used"], line["examples_least"]) == (pytest.approx(np.mean(shown)), min(shown))
    assert line["settings"] == "max_test_rows=500,answers=written,max_prompt_tokens=150"
    assert len(capsys.readouterr().err.splitlines()) == 1


def test_requests_keep_their_distance(monkeypatch: pytest.MonkeyPatch) -> None:
    now = 100.0
    started: list[float] = []

    def pass_time(seconds: float) -> None:
        nonlocal now
        now += seconds

    monkeypatch.setattr(server, "monotonic", lambda: now)
    monkeypatch.setattr(server, "sleep", pass_time)
    pace = server.Pace(30)
    for took in (0.5, 0.5, 5.0, 0.0, 1.0):
        pace.wait()
        started.append(now)
        pass_time(took)
    assert started == [100.0, 102.0, 104.0, 109.0, 111.0]
    free = server.Pace(None)
    free.wait()
    free.wait()
    assert now == 112.0


def test_a_run_that_is_killed_goes_on_where_it_was(tmp_path: Path, fake: FakeServer) -> None:
    stuck = threading.Event()
    released = threading.Event()

    def reply(number: int, body: dict[str, Any]) -> Reply:
        if number == 6:
            stuck.set()
            released.wait(60)
        return answer("joy")

    fake.reply = reply
    data = make_data(tmp_path)
    argv = base(data, server=fake.address)
    log = tmp_path / "log"
    with log.open("wb") as file:
        process = subprocess.Popen(
            [sys.executable, benchmark.__file__, *argv], stdout=file, stderr=file, env=os.environ
        )
        try:
            assert stuck.wait(60), log.read_text()
        finally:
            process.send_signal(signal.SIGKILL)
            process.wait()
    released.set()
    assert read(tmp_path / "lines.jsonl") == []
    assert len(fake.asked) == 6
    assert benchmark.main(argv) == 0
    # Five were answered, so seven of the twelve are sent: the sixth again, which never came back.
    texts = fake.texts
    assert len(texts) == 6 + 7
    assert texts[6] == texts[5]
    assert len(set(texts)) == 12
    line = read(tmp_path / "lines.jsonl")[0]
    assert (line["requests"], line["cached"]) == (7, 5)
    assert KEY not in log.read_text()
