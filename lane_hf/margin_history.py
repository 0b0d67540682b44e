"""MarginHistory: the margin of every row in every epoch, on disk."""

import math
import shutil
from pathlib import Path
from typing import Any

import numpy as np
from torch import Tensor
from transformers import TrainerCallback

from .row_ids import PADDING_ID

MARGINS_FILE = "_report/margins.npy"  # in a run's folder; the Hub client leaves out what begins with an underscore
PARTIAL_FILE = "_report/margins.partial.npy"  # until training is done
ROW_IDS_FILE = "row_ids.npy"
_LARGEST = float(np.finfo(np.float16).max)


class MarginHistory:
    """A file of float16 margins, `[epochs, num_rows]`: 2 bytes a visit, none of them in memory.

    The file is an ordinary `.npy`; NaN stands where a row was not visited. Every batch is written when it is seen, so
    that a kill loses nothing that was written before it, and a resumed run writes the same numbers once more. Until
    training is done it is called `margins.partial.npy`: what an earlier run left stays as long as that run's table.

    Args:
        path: the file; its folder is made if needed.
        epochs: how many epochs training has.
        num_rows: number of rows of the training set.
        keep: go on with a file that is there, if it is of as many rows; otherwise start anew.
        row_ids: `[num_rows]` the user's names of the rows, written beside the file as `row_ids.npy`.

    Example:
        >>> history = MarginHistory("/tmp/margins.npy", epochs=2, num_rows=3)  # doctest: +SKIP
        >>> history.record(0, torch.tensor([2]), torch.tensor([-1.5]))  # doctest: +SKIP
        >>> history.finish()  # doctest: +SKIP
    """

    def __init__(
        self, path: str | Path, epochs: int, num_rows: int, keep: bool = False, row_ids: np.ndarray | None = None
    ) -> None:
        self._path, self._row_ids = Path(path), row_ids
        self._path.parent.mkdir(parents=True, exist_ok=True)
        self._partial = self._path.with_name(Path(PARTIAL_FILE).name)
        if keep and self._path.is_file() and not self._partial.is_file():
            shutil.copyfile(self._path, self._partial)
        before = np.empty((0, num_rows), np.float16)
        if keep and self._partial.is_file():
            self._margins = np.lib.format.open_memmap(self._partial, mode="r+")
            if self._margins.shape == (epochs, num_rows) and self._margins.dtype == np.float16:
                return
            before = np.array(self._margins)
        self._margins = np.lib.format.open_memmap(self._partial, mode="w+", dtype=np.float16, shape=(epochs, num_rows))
        self._margins[:] = np.nan
        if before.dtype == np.float16 and before.shape[1:] == (num_rows,):
            self._margins[: len(before)] = before[:epochs]

    def record(self, epoch: int, row_ids: Tensor, margins: Tensor) -> None:
        """Write the margins of a batch.

        Args:
            epoch: number of the epoch, from 0; later ones than the file has are left out.
            row_ids: `[B]`; padding (-1) is left out.
            margins: `[B]` in logits, cut to what float16 holds.
        """
        if epoch >= len(self._margins):
            return
        ids, values = row_ids.cpu(), margins.detach().float().clamp(-_LARGEST, _LARGEST).cpu()
        counted = ids != PADDING_ID
        self._margins[epoch, ids[counted].numpy()] = values[counted].numpy()

    def finish(self) -> None:
        """Put the file in its place, because training is done; nothing can be recorded after."""
        self._margins.flush()
        del self._margins  # some systems rename no file that is open
        names = self._path.with_name(ROW_IDS_FILE)
        if self._row_ids is None:
            names.unlink(missing_ok=True)
        else:
            np.save(names, self._row_ids)
        self._partial.replace(self._path)


class HistoryCallback(TrainerCallback):
    """Keeps the margin history of a trainer's run, if `args.margin_history` asks for it.

    Args:
        trainer: a `RowTrainer`.
    """

    def __init__(self, trainer: Any) -> None:
        self._trainer = trainer
        self._history: MarginHistory | None = None

    def on_train_begin(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        """Open the file; a run that is resumed goes on with what is there, also if it has no step to take."""
        self._history = None
        if args.margin_history and state.is_world_process_zero:
            epochs, num_rows = math.ceil(state.num_train_epochs), len(self._trainer.row_statistics)
            path, resumed = Path(args.output_dir) / MARGINS_FILE, state.global_step > 0
            self._history = MarginHistory(path, epochs, num_rows, resumed, self._trainer.trained_row_ids)

    def record(self, epoch: int, row_ids: Tensor, margins: Tensor) -> None:
        """Write the margins of a step, if there is a file."""
        if self._history is not None:
            self._history.record(epoch, row_ids, margins)

    def on_train_end(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        """Put the file in its place, unless a signal stopped the run, which will go on."""
        if self._history is not None and not self._trainer.stopped_at_signal:
            self._history.finish()
        self._history = None
