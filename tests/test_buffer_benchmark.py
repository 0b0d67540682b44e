"""The benchmark of the buffer runs, and measures what it says it measures."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest
import torch

sys.path.insert(0, str(Path(__file__).parents[1] / "benchmarks"))
import buffer as benchmark


@pytest.mark.parametrize("rows", [1, 2, 255, 256, 1000, 8192, 20_011])
def test_shuffled_ids_are_all_rows_once_in_no_order(rows: int) -> None:
    ids = torch.cat(list(benchmark.shuffled_ids(rows)))
    assert ids.sort().values.tolist() == list(range(rows))
    if rows > 200:
        steps = ids.diff().abs().double()
        # Of numbers drawn at random, a third of the range apart on average.
        assert 0.25 < steps.mean().item() / rows < 0.42
        assert torch.corrcoef(torch.stack([ids.double(), torch.arange(rows).double()]))[0, 1].abs() < 0.2


def test_batches_of_an_epoch_hold_every_row_once() -> None:
    batches = list(benchmark.batches_of(20_011))
    assert [len(batch) for batch in batches] == [256] * 78 + [43]
    assert torch.cat(batches).sort().values.tolist() == list(range(20_011))


@pytest.mark.skipif(not Path("/proc/self/clear_refs").exists(), reason="peak memory is measured on Linux only")
def test_peak_memory_is_that_of_the_phase_alone() -> None:
    memory = benchmark.PeakMemory()
    mib = benchmark.MIB
    # Above 32 MiB, where the C library always asks the system for memory instead of reusing what it has.
    first = memory.of(lambda: torch.ones(128 * mib, dtype=torch.uint8))
    second = memory.of(lambda: torch.ones(48 * mib, dtype=torch.uint8))
    assert first / mib == pytest.approx(128, abs=4)
    assert second / mib == pytest.approx(48, abs=4)


def test_a_tiny_run_writes_one_line_a_size_and_prints_tables(tmp_path: Path) -> None:
    output = tmp_path / "buffer.jsonl"
    options = ["--rows", "1e3", "--max_steps", "2", "--steps", "3", "--labels", "--output", str(output)]
    done = subprocess.run([sys.executable, benchmark.__file__, *options], capture_output=True, text=True, check=True)
    (rows,) = (json.loads(line) for line in output.read_text().splitlines())
    assert (rows["kind"], rows["rows"], rows["epoch_steps"], rows["epoch_steps_measured"]) == ("rows", 1000, 4, 2)
    assert rows["state_bytes_per_row"] == 12
    assert rows["epoch_seconds"] > rows["epoch_seconds_measured"] > 0
    for name in ("construct", "average", "save", "load"):
        assert rows[f"{name}_seconds"] > 0
        assert name in rows["peak_bytes_per_row"]
    assert rows["step_microseconds"] > rows["update_microseconds"] > 0
    assert "| 1,000 |" in done.stdout


def test_a_tiny_measurement_of_many_labels_is_a_line_of_json_and_a_table(capsys: pytest.CaptureFixture[str]) -> None:
    line = json.loads(json.dumps(benchmark.measure_labels(labels=5, rows=200, steps=20)))
    assert (line["kind"], line["labels"], line["rows"]) == ("labels", 5, 200)
    assert line["state_mib"] * benchmark.MIB == pytest.approx(200 * (12 + 36), abs=4096)
    assert line["peak_mib"].keys() == {"construct", "steps", "refit"}
    benchmark.print_label_table([line])
    assert "| 5 |" in capsys.readouterr().out
