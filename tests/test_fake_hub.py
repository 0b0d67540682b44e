"""The Hub of the tests serves the real client as the real Hub does, and fails when it is told to."""

import json
from typing import Any

import pytest
from fake_hub import PATIENT, FakeHub, run_client
from fake_hub_api import EXPIRED, OTHER

WEIGHTS = bytes(range(256)) * 40

SETUP = """
import json, os, tempfile
from pathlib import Path
from huggingface_hub import HfApi, HfFileSystem, hf_hub_download, snapshot_download

api = HfApi()
folder = Path(tempfile.mkdtemp(dir=os.environ["HF_HOME"]))
seen = {}

def error(function, *arguments, **named):
    try:
        function(*arguments, **named)
    except Exception as caught:
        response = getattr(caught, "response", None)
        return [type(caught).__name__, response.status_code if response is not None else None]
    return None
"""


def client(hub: FakeHub, code: str, **environment: str | None) -> dict[str, Any]:
    """Run code that fills `seen`, and return it."""
    done = run_client(f"{SETUP}\n{code}\nprint(json.dumps(seen))", hub, **environment)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout.splitlines()[-1])


UPLOADS = """
seen["name"] = api.whoami()["name"]
url = api.create_repo("owner/model")
seen["url"] = [str(url), url.repo_id]
seen["again"] = error(api.create_repo, "owner/model")
api.create_repo("owner/model", exist_ok=True)

(folder / "README.md").write_text("---\\nlicense: mit\\n---\\n# A model\\n")
(folder / "empty.txt").touch()
(folder / "big.bin").write_bytes(bytes(1001))
(folder / "model.safetensors").write_bytes(bytes(range(256)) * 40)
(folder / "runs").mkdir()
(folder / "runs" / "log.txt").write_text("step 1")
first = api.upload_folder(repo_id="owner/model", folder_path=folder, commit_message="First")
seen["first"] = first.oid
seen["same"] = api.upload_folder(repo_id="owner/model", folder_path=folder).oid
api.create_tag("owner/model", tag="v1")

api.create_branch("owner/model", branch="trial/one", revision="v1")
api.create_branch("owner/model", branch="old", revision=api.list_repo_commits("owner/model")[-1].commit_id)
(folder / "README.md").write_text("# Another\\n")
api.upload_folder(repo_id="owner/model", folder_path=folder, revision="trial/one", delete_patterns="runs/*")

request = api.upload_folder(repo_id="owner/model", folder_path=folder, create_pr=True, commit_message="Propose")
seen["pr"] = [request.pr_url, request.pr_revision]
api.upload_file(repo_id="owner/model", path_or_fileobj=b"x", path_in_repo="x", revision="refs/pr/1")
api.delete_folder("runs", repo_id="owner/model", revision="refs/pr/1")

refs = api.list_repo_refs("owner/model", include_pull_requests=True)
seen["refs"] = [[ref.ref for ref in refs_] for refs_ in (refs.branches, refs.tags, refs.pull_requests)]
seen["log"] = [commit.title for commit in api.list_repo_commits("owner/model")]
"""


def test_uploads(hub: FakeHub) -> None:
    hub.lfs_above = 1000
    seen = client(hub, UPLOADS)
    assert seen["name"] == "owner"
    assert seen["url"] == [f"{hub.address}/owner/model", "owner/model"]
    assert seen["again"] == ["HfHubHTTPError", 409]
    files = hub.files("owner/model")
    data = {"big.bin", "model.safetensors"}
    assert files.keys() == {".gitattributes", "README.md", "empty.txt", "runs/log.txt", *data}
    assert files["model.safetensors"] == WEIGHTS
    assert files["README.md"].endswith(b"# A model\n")
    stored = hub.repos["model", "owner/model"].at("main").files
    assert {path for path, blob in stored.items() if blob.lfs} == data
    assert [request.status for request in hub.served("^PUT .*/objects/")] == [200, 200]
    # The client sees that the same folder once more is no commit, and sends none.
    assert [request.status for request in hub.served("^POST .*/commit/main$")] == [200, 200]
    assert seen["same"] == seen["first"] == hub.commits("owner/model")[0].oid
    assert [commit.title for commit in hub.commits("owner/model")] == seen["log"] == ["First", "initial commit"]
    assert hub.files("owner/model", "v1") == files
    branch = hub.files("owner/model", "trial/one")
    assert branch["README.md"] == b"# Another\n"
    proposed = hub.files("owner/model", "refs/pr/1")
    assert proposed == {**{path: content for path, content in branch.items() if path != "runs/log.txt"}, "x": b"x"}
    assert [commit.title for commit in hub.commits("owner/model", "refs/pr/1")][2:] == ["Propose", *seen["log"]]
    assert seen["pr"] == [f"{hub.address}/owner/model/discussions/1", "refs/pr/1"]
    assert hub.files("owner/model", "old").keys() == {".gitattributes"}
    heads = ["refs/heads/main", "refs/heads/trial/one", "refs/heads/old"]
    assert seen["refs"] == [heads, ["refs/tags/v1"], ["refs/pr/1"]]


DOWNLOADS = """
seen["files"] = {}
for revision in ("main", "v1"):
    snapshot = Path(snapshot_download("owner/model", revision=revision))
    seen["files"][revision] = {
        str(path.relative_to(snapshot)): path.read_bytes().hex() for path in snapshot.rglob("*") if path.is_file()
    }
    seen[revision] = snapshot.name
one = hf_hub_download("owner/model", "deep/er/a.txt", revision="v1", cache_dir=folder)
seen["one"] = Path(one).read_text()
seen["info"] = [(file.rfilename, file.size) for file in api.model_info("owner/model", files_metadata=True).siblings]
seen["tree"] = [entry.path for entry in api.list_repo_tree("owner/model")]
seen["deep"] = [entry.path for entry in api.list_repo_tree("owner/model", "deep", recursive=True)]
seen["paths"] = [entry.path for entry in api.get_paths_info("owner/model", ["deep", "config.json", "none"])]
with HfFileSystem().open("owner/model/w.safetensors", cache_type="none") as file:
    file.seek(1000)
    seen["part"] = file.read(300).hex()
seen["errors"] = [
    error(hf_hub_download, "owner/model", "none"),
    error(snapshot_download, "owner/model", revision="none"),
    error(list, api.list_repo_tree("owner/model", "none")),
    error(api.model_info, "owner/none"),
    error(api.dataset_info, "owner/model"),
]
"""


def test_downloads(hub: FakeHub) -> None:
    repo = hub.create("owner/model", files={"config.json": b"{}", "deep/er/a.txt": b"old", "w.safetensors": WEIGHTS})
    repo.refs["refs/tags/v1"] = repo.at("main").oid
    files = repo.at("main").files
    repo.commit("refs/heads/main", "Less", {path: files[path] for path in ("config.json", "w.safetensors")}, "owner")
    repo.commit("refs/heads/main", "More", files, "owner")
    if PATIENT:
        hub.cut("^GET .*/w.safetensors")
    seen = client(hub, DOWNLOADS)
    for revision in ("main", "v1"):
        expected = {path: content.hex() for path, content in hub.files("owner/model", revision).items()}
        assert seen["files"][revision] == expected
        assert seen[revision] == repo.at(revision).oid
    assert seen["main"] != seen["v1"]
    assert seen["one"] == "old"
    assert dict(seen["info"])["w.safetensors"] == len(WEIGHTS)
    assert seen["tree"] == [".gitattributes", "config.json", "deep", "w.safetensors"]
    assert seen["deep"] == ["deep/er", "deep/er/a.txt"]
    assert seen["paths"] == ["deep", "config.json"]
    assert [name for name, _ in seen["errors"]] == [
        "RemoteEntryNotFoundError",
        "RevisionNotFoundError",
        "RemoteEntryNotFoundError",
        "RepositoryNotFoundError",
        "RepositoryNotFoundError",
    ]
    # The first download is cut, tried again, and then in the cache; the last one is of a part.
    cut = [0] if PATIENT else []
    assert [request.status for request in hub.served("^GET .*/w.safetensors")] == [*cut, 200, 206]
    assert seen["part"] == WEIGHTS[1000:1300].hex()


ACCESS = """
tokens = {"owner": None, "other": OTHER, "expired": EXPIRED, "nobody": False}
for name, token in tokens.items():
    commit = dict(path_or_fileobj=b"1", path_in_repo=f"{name}.txt", token=token)
    seen[name] = {
        "read private": error(hf_hub_download, "owner/private", "a.txt", token=token, cache_dir=folder / name),
        "list private": error(api.model_info, "owner/private", token=token),
        "read public": error(hf_hub_download, "owner/public", "a.txt", token=token, cache_dir=folder / name),
        "write": error(api.upload_file, repo_id="owner/public", **commit),
        "propose": error(api.upload_file, repo_id="owner/public", create_pr=True, **commit),
        "create": error(api.create_repo, f"owner/{name}", token=token),
    }
seen["own"] = api.create_repo("mine", private=True, token=OTHER).repo_id
"""


def test_access(hub: FakeHub) -> None:
    hub.create("owner/private", private=True, files={"a.txt": b"secret"})
    hub.create("owner/public", files={"a.txt": b"open"})
    seen = client(hub, f"OTHER, EXPIRED = {(OTHER, EXPIRED)!r}\n{ACCESS}")
    assert set(seen["owner"].values()) == {None}
    denied, expired = ["RepositoryNotFoundError", 404], ["HfHubHTTPError", 401]
    unknown, refused = ["RepositoryNotFoundError", 401], ["HfHubHTTPError", 403]
    assert list(seen["other"].values()) == [denied, denied, None, refused, None, refused]
    assert list(seen["nobody"].values())[1:3] == [unknown, None]
    assert list(seen["expired"].values())[1] == expired
    assert seen["expired"]["write"] == seen["expired"]["create"] == expired
    assert seen["nobody"]["write"][1] == seen["nobody"]["propose"][1] == seen["nobody"]["create"][1] == 401
    assert set(hub.repos) == {("model", f"owner/{name}") for name in ("private", "public", "owner")} | {
        ("model", "other/mine")
    }
    assert hub.files("owner/public").keys() == {".gitattributes", "a.txt", "owner.txt"}
    assert hub.files("owner/public", "refs/pr/1").keys() == {".gitattributes", "a.txt", "owner.txt", "other.txt"}
    assert seen["own"] == "other/mine"
    assert hub.repos["model", "other/mine"].private


DATASETS = """
from datasets import Dataset, load_dataset

rows = {"text": [f"row {row}" for row in range(300)], "label": [row % 3 for row in range(300)]}
Dataset.from_dict(rows).push_to_hub("owner/rows", num_shards=2)
Dataset.from_dict({name: column[:9] for name, column in rows.items()}).push_to_hub("owner/rows", split="test")
loaded = load_dataset("owner/rows")
seen["same"] = loaded["train"].to_dict() == rows
seen["splits"] = loaded.num_rows
Dataset.from_dict(rows).select(range(5)).push_to_hub("owner/rows", private=True)
seen["pushed over"] = load_dataset("owner/rows", split="train", download_mode="force_redownload").num_rows
"""


def test_datasets(hub: FakeHub) -> None:
    seen = client(hub, DATASETS)
    assert seen == {"same": True, "splits": {"train": 300, "test": 9}, "pushed over": 5}
    files = hub.repos["dataset", "owner/rows"].at("main").files
    data = {path for path, blob in files.items() if blob.lfs}
    assert data == {"data/train-00000-of-00001.parquet", "data/test-00000-of-00001.parquet"}
    assert b"num_examples: 5" in files["README.md"].content
    assert ("model", "owner/rows") not in hub.repos


FAULTS = """
(folder / "a.safetensors").write_bytes(bytes(range(256)) * 4000)
seen["first"] = error(api.upload_folder, repo_id="owner/model", folder_path=folder)
seen["second"] = error(api.upload_folder, repo_id="owner/model", folder_path=folder)
seen["third"] = api.upload_folder(repo_id="owner/model", folder_path=folder).oid
"""


def test_faults(hub: FakeHub) -> None:
    hub.create("owner/model")
    hub.fail("preupload/main$", times=1)
    hub.limit("^POST .*objects/batch$", retry_after=2)
    if PATIENT:
        hub.cut("^PUT .*/objects/[0-9a-f]+$")
    hub.fail("^POST .*/commit/", status=503)
    hub.lose("^POST .*/commit/")
    seen = client(hub, FAULTS)

    def statuses(pattern: str) -> list[int]:
        return [request.status for request in hub.served(pattern)]

    assert statuses("preupload") == [500, 200, 200, 200]
    assert statuses("objects/batch") == [429, 200, 200, 200]
    limited, after, *_ = hub.served("objects/batch")
    if PATIENT:
        assert after.time - limited.time >= 2
    # Half a file is thrown away, a whole one outlives the commit that failed.
    assert statuses("^PUT ") == ([0, 200] if PATIENT else [200])
    assert statuses("/commit/") == [503, 0]
    assert seen["first"] == ["HfHubHTTPError", 503]
    assert seen["second"][0] == "RemoteProtocolError"
    # The client did not hear of its commit, but finds it when it tries again.
    assert [commit.oid for commit in hub.commits("owner/model")][:-1] == [seen["third"]]
    assert hub.files("owner/model")["a.safetensors"] == bytes(range(256)) * 4000
    assert all(fault.times == 0 for fault in hub.faults)


RAW = """
from huggingface_hub import constants, get_session
from huggingface_hub.utils import build_hf_headers

def post(*changes, **header):
    lines = [{"key": "header", "value": {"summary": "Raw", **header}}, *changes]
    content = "".join(json.dumps(line) + "\\n" for line in lines)
    url = f"{constants.ENDPOINT}/api/models/owner/model/commit/main"
    response = get_session().post(url, headers=build_hf_headers(), content=content)
    return response.status_code, response.json().get("commitOid")

same = {"key": "file", "value": {"path": "a.txt", "content": "YQ==", "encoding": "base64"}}
other = {"key": "file", "value": {"path": "b.txt", "content": "Yg==", "encoding": "base64"}}
seen["same"] = post(same)
seen["stale"] = post(other, parentCommit="0" * 40)
seen["absent"] = post({"key": "lfsFile", "value": {"path": "w", "algo": "sha256", "oid": "0" * 64, "size": 1}})
seen["gone"] = post({"key": "deletedFile", "value": {"path": "none"}})
seen["done"] = post(other)
"""


def test_what_the_client_takes_care_not_to_send(hub: FakeHub) -> None:
    before = hub.create("owner/model", files={"a.txt": b"a"}).at("main").oid
    seen = client(hub, RAW)
    after = hub.commits("owner/model")[0]
    assert seen == {
        "same": [200, before],
        "stale": [412, None],
        "absent": [400, None],
        "gone": [404, None],
        "done": [200, after.oid],
    }
    assert after.parent == before


@pytest.mark.parametrize("token", [None, EXPIRED])
def test_environment_of_the_client(hub: FakeHub, token: str | None, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HTTP_PROXY", "http://127.0.0.1:9")
    monkeypatch.setenv("no_proxy", "elsewhere")
    code = "import os\nfrom huggingface_hub import constants, whoami\nprint(constants.HF_HUB_OFFLINE)\nwhoami()"
    done = run_client(code, hub, HF_TOKEN=token)
    assert done.stdout == "False\n"
    assert done.returncode == 1
    expected = "401" if token else "LocalTokenNotFoundError"
    assert expected in done.stderr
