"""The notebook runs from top to bottom, on less data than a reader would take."""

from pathlib import Path

import nbformat
from nbclient import NotebookClient

PATH = Path(__file__).parents[1] / "examples" / "find_wrong_labels.ipynb"


def test_every_cell_runs_offline(tmp_path: Path) -> None:
    notebook = nbformat.read(PATH, as_version=4)
    nbformat.validate(notebook)
    (parameters,) = [cell for cell in notebook.cells if "parameters" in cell.metadata.get("tags", [])]
    assert parameters.source.startswith("ROWS, EPOCHS = 2500, 4")
    parameters.source = "ROWS, EPOCHS = 80, 1"
    setting = nbformat.v4.new_code_cell("import os; os.environ['HF_HUB_OFFLINE'] = '1'")
    notebook.cells.insert(0, setting)
    NotebookClient(notebook, timeout=300, resources={"metadata": {"path": str(tmp_path)}}).execute()
    code = [cell for cell in notebook.cells if cell.cell_type == "code"]
    (table,) = [cell for cell in code if "trainer.label_issues()" in cell.source]
    assert "suggestion_confidence" in str(table.outputs)
