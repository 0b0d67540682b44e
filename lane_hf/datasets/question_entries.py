"""Entries of the registry: questions. They are none of the paper's, but others measure noisy labels on them."""

from .entry import DatasetEntry
from .label_names import TREC

__all__ = ["QUESTION_ENTRIES"]

QUESTION_ENTRIES = (
    DatasetEntry(
        name="trec",
        description="Questions of the TREC question answering track, by what kind of thing their answer is.",
        label_names=TREC,
        licence="no licence stated",
        citation="""@inproceedings{li2002learning,
  title     = {Learning Question Classifiers},
  author    = {Li, Xin and Roth, Dan},
  booktitle = {COLING 2002: The 19th International Conference on Computational Linguistics},
  year      = {2002}
}""",
        access="files",
        geometry="none",
        # Not one of the paper's data sets: the literature on noisy labels reports accuracy here.
        metric="accuracy",
        split_sizes={"train": 5452, "test": 500},
        files="train_5500.label and TREC_10.label",
        text_fields=("question",),
        reader="trec",
        # The Hub's CogComp/trec is a loading script, which `datasets` 4 and later refuse to run.
        source_url="https://cogcomp.seas.upenn.edu/Data/QA/QC/",
        assumptions=(
            "the six coarse types; the fifty finer ones are not used",
            "the source has no validation split: a tenth of its training data, chosen by a hash of the text",
        ),
    ),
)
