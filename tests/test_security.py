"""The promises of SECURITY.md: nothing is executed that was only to be read, and nothing private is shown."""

import ast
import io
import json
import logging
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
import torch
from tiny import make_model, make_tokenizer

import lane_hf
from lane_hf import InputError, LaneConfig
from lane_hf.run import main
from lane_hf.run_arguments import parse

PACKAGE = Path(lane_hf.__file__).parent
NAMES = ["glad", "sad"]

# ---- What the source code does ----

FORBIDDEN = {
    "eval", "exec", "compile", "__import__", "pickle.load", "pickle.loads", "pickle.Unpickler", "dill.load",
    "cloudpickle.load", "joblib.load", "marshal.load", "marshal.loads", "shelve.open", "pd.read_pickle",
    "pandas.read_pickle", "yaml.load", "yaml.load_all", "yaml.unsafe_load", "yaml.full_load", "os.system", "os.popen",
    "hub.load", "torch.hub.load", "runpy.run_path",
}  # fmt: skip
# Classes of Transformers whose from_pretrained reads no weights.
WITHOUT_WEIGHTS = {"AutoTokenizer", "AutoConfig", "MarianTokenizer"}


def calls() -> Iterator[tuple[str, str, ast.Call]]:
    """Yield file and line, the dotted name that is called, and the call, for the whole package."""
    for path in sorted(PACKAGE.rglob("*.py")):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Call):
                yield f"{path.relative_to(PACKAGE)}:{node.lineno}", ast.unparse(node.func), node


def keywords(call: ast.Call) -> dict[str, str]:
    return {each.arg: ast.unparse(each.value) for each in call.keywords if each.arg is not None}


def test_the_source_is_found() -> None:
    assert len({where.partition(":")[0] for where, _, _ in calls()}) > 20


def test_nothing_that_executes_what_it_reads_is_called() -> None:
    assert [(where, name) for where, name, _ in calls() if name in FORBIDDEN] == []
    assert [where for where, _, call in calls() if keywords(call).get("shell", "False") != "False"] == []


def test_torch_loads_tensors_only() -> None:
    loads = [
        (where, keywords(call)) for where, name, call in calls() if name in ("torch.load", "load_state_dict_from_url")
    ]
    assert [where for where, given in loads if given.get("weights_only") != "True"] == []
    arrays = [(where, keywords(call)) for where, name, call in calls() if name in ("np.load", "numpy.load")]
    assert [where for where, given in arrays if given.get("allow_pickle", "False") != "False"] == []


def test_weights_are_loaded_from_safetensors_only() -> None:
    loads = [(where, name, keywords(call)) for where, name, call in calls() if name.endswith(".from_pretrained")]
    weights = [load for load in loads if load[1].partition(".")[0] not in WITHOUT_WEIGHTS]
    assert weights
    assert [where for where, _, given in weights if given.get("use_safetensors") != "True"] == []


def test_nowhere_is_remote_code_trusted() -> None:
    for path in PACKAGE.rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.keyword) and node.arg == "trust_remote_code":
                assert ast.unparse(node.value) == "False", path
            if isinstance(node, ast.Dict):
                for key, value in zip(node.keys, node.values, strict=True):
                    if isinstance(key, ast.Constant) and key.value == "trust_remote_code":
                        assert ast.unparse(value) == "False", path


# ---- What a run does ----


@pytest.fixture(scope="module")
def model_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("model")
    make_model("bert", len(NAMES)).save_pretrained(folder)
    make_tokenizer(folder)
    return folder


def write_data(path: Path, mark: str = "") -> Path:
    rows = [(f"{mark}{word} {number}", NAMES[number % 2]) for number, word in enumerate(["happy", "cry"] * 8)]
    pd.DataFrame(rows, columns=["text", "label"]).to_csv(path, index=False)
    return path


def run(folder: Path, model: Path, *argv: str, mark: str = "") -> int:
    data = write_data(folder / "data.csv", mark)
    files = [f"--{split}_file={data}" for split in ("train", "validation", "test")]
    short = ["--num_train_epochs=1", "--bf16=False", "--disable_tqdm=True", "--learning_rate=1e-3"]
    return main([*files, *short, f"--model_name_or_path={model}", f"--output_dir={folder / 'out'}", *argv])


def test_weights_that_are_pickled_are_refused(
    tmp_path: Path, model_folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    model = tmp_path / "model"
    shutil.copytree(model_folder, model)

    class Bomb:
        def __reduce__(self) -> tuple[Any, ...]:
            return Path.touch, (tmp_path / "EXECUTED",)

    (model / "model.safetensors").unlink()
    torch.save({"bert.embeddings.word_embeddings.weight": Bomb()}, model / "pytorch_model.bin")
    assert run(tmp_path, model) == 2
    line = capsys.readouterr().err.splitlines()[-1]
    assert line.startswith(f"error: the model '{model}' cannot be loaded: ")
    assert "safetensors" in line
    assert not (tmp_path / "EXECUTED").exists()


CODE = """
from pathlib import Path
Path({path!r}).touch()
from transformers import BertConfig, BertForSequenceClassification, BertTokenizer
class Config(BertConfig): model_type = {kind!r}
class Model(BertForSequenceClassification): config_class = Config
class Tokenizer(BertTokenizer): pass
"""


@pytest.mark.parametrize("kind", ["of_its_own", "bert"])
@pytest.mark.parametrize("place", ["config.json", "tokenizer_config.json"])
def test_code_in_a_model_folder_is_not_executed(
    tmp_path: Path, model_folder: Path, monkeypatch: pytest.MonkeyPatch, kind: str, place: str
) -> None:
    model = tmp_path / "model"
    shutil.copytree(model_folder, model)
    (model / "code.py").write_text(CODE.format(path=str(tmp_path / "EXECUTED"), kind=kind))
    config = json.loads((model / "config.json").read_text())
    (model / "config.json").write_text(json.dumps({**config, "model_type": kind}))
    classes = {
        "AutoConfig": "code.Config",
        "AutoModelForSequenceClassification": "code.Model",
        "AutoTokenizer": [None, "code.Tokenizer"],
    }
    content = json.loads((model / place).read_text())
    if kind != "bert":
        content.pop("tokenizer_class", None)
    (model / place).write_text(json.dumps({**content, "auto_map": classes}))
    # Transformers asks at the terminal unless it is told: a script whose input says yes must not agree to it.
    monkeypatch.setattr("sys.stdin", io.StringIO("y\n" * 9))
    status, shown = run_caught(tmp_path, model)
    assert not (tmp_path / "EXECUTED").exists()
    assert status in ((0,) if kind == "bert" else (2,))
    if status == 2:
        lines = [line for line in shown.splitlines() if line.startswith("error: ")]
        assert len(lines) == 1
        assert "Traceback" not in shown


def run_caught(folder: Path, model: Path) -> tuple[int, str]:
    """Run, and return the status and everything on standard error."""
    with pytest.MonkeyPatch.context() as patch:
        stream = io.StringIO()
        patch.setattr("sys.stderr", stream)
        status = run(folder, model, "--save_strategy=no")
    return status, stream.getvalue()


SECRET = "hf_aVerySecretTokenOfNobody"


@pytest.fixture
def whole_run(
    tmp_path: Path, model_folder: Path, capfd: pytest.CaptureFixture[str], caplog: pytest.LogCaptureFixture
) -> Any:
    """Return a function that runs everything loudly, and then everything that was shown or written."""

    def do(*argv: str, mark: str = "") -> tuple[str, dict[str, bytes]]:
        caplog.set_level(logging.DEBUG)
        capfd.readouterr()
        assert run(tmp_path, model_folder, "--log_level=debug", "--logging_steps=1", *argv, mark=mark) == 0
        shown = "".join(capfd.readouterr()) + caplog.text
        paths = [path for path in (tmp_path / "out").rglob("*") if path.is_file()]
        return shown, {str(path.relative_to(tmp_path / "out")): path.read_bytes() for path in paths}

    return do


WRITTEN = ("metrics.json", "run_config.json", "trainer_state.json", "label_issues.parquet", "predictions.csv")


def test_texts_are_not_logged_and_written_only_where_the_hub_client_does_not_look(
    whole_run: Any, tmp_path: Path
) -> None:
    # Forty characters may be shown of a text, and these begin each of them.
    mark = "".join(f"{number:02d}" for number in range(20, 41))
    shown, files = whole_run("--method=lane", "--weighting_warmup=0", "--label_noise=0.25", mark=f"{mark} ")
    assert files.keys() >= set(WRITTEN)
    assert mark[:37] in shown, "the summary shows an excerpt: this test would see more"
    assert mark not in shown
    assert mark[-8:] not in shown
    assert [name for name, content in files.items() if mark[:20].encode() in content] == ["_report/texts.parquet"]
    issues = pd.read_parquet(tmp_path / "out" / "label_issues.parquet").to_csv()  # its columns are compressed
    assert mark[:20] not in issues


def test_tokens_are_neither_shown_nor_written(whole_run: Any, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    environment = "hf_anotherTokenInTheEnvironment"
    monkeypatch.setenv("HF_TOKEN", environment)
    shown, files = whole_run(f"--hub_token={SECRET}", "--save_strategy=no")
    for token in (SECRET, environment):
        assert token not in shown
        assert [name for name, content in files.items() if token.encode() in content] == []


def test_tokens_are_not_shown_where_arguments_are() -> None:
    config = parse([f"--hub_token={SECRET}"])[2]
    assert config.hub_token == SECRET
    for each in (config, LaneConfig("out", hub_token=SECRET), LaneConfig.from_training_arguments(config)):
        shown = (str(each), repr(each), f"{each}", str([each]), each.to_json_string(), str(each.to_dict()))
        assert [text for text in shown if SECRET in text] == []


@pytest.mark.parametrize(
    "argv",
    [
        [f"--hub_tokn={SECRET}"],
        [f"--token={SECRET}"],
        [SECRET],
        [f"--push_to_hub={SECRET}"],
        [f"--hub_token={SECRET}", "--seed=x"],
        [f"--hub_token={SECRET}", "--temperature=0"],
    ],
)
def test_tokens_are_not_shown_in_refusals(argv: list[str]) -> None:
    with pytest.raises(InputError) as caught:
        parse(argv)
    assert SECRET not in str(caught.value)


@pytest.mark.parametrize(
    "content",
    [
        f"hub_token: {SECRET}: x",
        f"hub_token: [{SECRET}, x]",
        f"hub_token: '{SECRET}",
        f"push_to_hub: {SECRET}",
        f"hub_tokn: {SECRET}",
        f"{SECRET}: 1",
    ],
)
def test_tokens_are_not_shown_when_a_file_is_refused(tmp_path: Path, content: str) -> None:
    path = tmp_path / "config.yaml"
    path.write_text(content)
    with pytest.raises(InputError) as caught:
        parse([str(path)])
    assert SECRET not in str(caught.value)
