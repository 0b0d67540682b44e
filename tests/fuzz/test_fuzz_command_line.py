"""The nastiest files through the command line: exit status 2, one line, and no traceback."""

from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from lane_hf.run import main

LONG = "a secret about somebody, told in many words: " * 3
GOOD = "text,label\n" + "happy joy,glad\nsad cry,sad\n" * 8


def parquet(**columns: list[object]) -> bytes:
    sink = pa.BufferOutputStream()
    pq.write_table(pa.table(columns), sink)
    return sink.getvalue().to_pybytes()


FILES: dict[str, tuple[str, bytes]] = {
    "no header": ("train.csv", f"{LONG},glad\n{LONG},sad\n".encode()),
    "no header, many columns": ("train.csv", (",".join(f"{LONG}{at}" for at in range(9)) + "\n").encode() * 2),
    "a text as a label": ("train.csv", f"text,label\na,{LONG}\nb,{LONG}\n".encode()),
    "terminal control": ("train.csv", b"text,label\n\x1b]0;title\x07\x1b[2J,a\n" + b"x" * 99 + b",,\n"),
    "bidi in names": ("train.json", '[{"\u202etext\u2028\x9b2J": "a", "b": "c"}]'.encode()),
    "megabyte in an open quote": ("train.tsv", b'text\tlabel\n"' + b"x" * 2**20),
    "megabyte header": ("train.csv", b"x" * 2**20 + b"\na,b\n"),
    "UTF-16": ("train.csv", GOOD.encode("utf-16")),
    "UTF-16 without a mark": ("train.tsv", GOOD.replace(",", "\t").encode("utf-16-be")),
    "latin-1": ("train.csv", (GOOD + "färben,glad\n").encode("latin-1")),
    "gb18030": ("train.csv", (GOOD + "東京,glad\n").encode("gb18030")),
    "zero bytes": ("train.csv", bytes(4096)),
    "half a character": ("train.jsonl", b'{"text": "a", "label": "b"}\n{"text": "\\ud83d", "label": "c"}\n'),
    "the same name twice": ("train.jsonl", b'{"text": "a", "text": "b", "label": "c"}\n'),
    "json in depth": ("train.json", b"[" * 10**6),
    "json of numbers": ("train.json", b"[1e999, NaN, -Infinity]"),
    "cut parquet": ("train.parquet", parquet(text=["a", "b"], label=["a", "b"])[:-9]),
    "parquet in name only": ("train.parquet", b"PAR1" + bytes(64) + b"PAR1"),
    "parquet of bytes": ("train.parquet", parquet(text=[b"\xff", b"\xfe"], label=["a", "b"])),
    "parquet of lists": ("train.parquet", parquet(text=["a", "b"], label=[["a"], ["b"]])),
}


@pytest.mark.parametrize(("name", "content"), FILES.values(), ids=FILES)
def test_a_hostile_file_is_refused_in_one_line(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], name: str, content: bytes
) -> None:
    path = tmp_path / name
    path.write_bytes(content)
    argv = [f"--train_file={path}", f"--test_file={path}", f"--output_dir={tmp_path / 'out'}", "--do_predict"]
    assert main(argv) == 2
    out, err = capsys.readouterr()
    assert out == ""
    assert err.endswith("\n")
    (line,) = err.splitlines()
    assert line.startswith(f"error: {path}")
    assert line.isprintable() or "\ufffd" in line
    assert LONG[:41] not in line
    assert len(line) < len(str(path)) + 500
    assert not (tmp_path / "out").exists()


def test_a_configuration_file_is_refused_in_one_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "config.yaml"
    path.write_text("hub_token: hf_abcdefgh\nseed: !!python/object/apply:os.getcwd []\n")
    assert main([str(path)]) == 2
    out, err = capsys.readouterr()
    assert out == ""
    (line,) = err.splitlines()
    assert line.startswith(f"error: {path}: cannot be read (could not determine a constructor for the tag")
    assert "hf_abcdefgh" not in line
