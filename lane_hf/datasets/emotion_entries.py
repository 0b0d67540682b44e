"""Entries of the registry: the four emotion data sets of the paper."""

from .entry import DatasetEntry
from .label_names import EMPATHETIC, GOEMOTIONS, ISEAR, PLUTCHIK

__all__ = ["EMOTION_ENTRIES"]

# Assumed, not verified against the paper: F1 for the emotion sets, in its weighted form.
_METRIC = "f1_weighted"
_METRIC_NOTE = "metric: F1 is assumed to be weighted; the macro-averaged F1 is computed as well"
_SIZES_NOTE = "split sizes are the source's own, not those of the paper's Appendix B"

EMOTION_ENTRIES = (
    DatasetEntry(
        name="empathetic-dialogues",
        description="First turns of crowdsourced conversations about an emotional situation, 32 emotions.",
        label_names=EMPATHETIC,
        licence="CC BY-NC 4.0",
        citation="""@inproceedings{rashkin2019towards,
  title     = {Towards Empathetic Open-domain Conversation Models: A New Benchmark and Dataset},
  author    = {Rashkin, Hannah and Smith, Eric Michael and Li, Margaret and Boureau, Y-Lan},
  booktitle = {Proceedings of the 57th Annual Meeting of the Association for Computational Linguistics},
  year      = {2019}
}""",
        access="files",
        geometry="plutchik",
        metric=_METRIC,
        # Conversations, hence first turns, of a copy of the release; the release counts turns (76,673 in train).
        split_sizes={"train": 17844, "validation": 2763, "test": 2542},
        files="train.csv, valid.csv and test.csv of empatheticdialogues.tar.gz",
        text_fields=("utterance",),
        reader="empathetic",
        # The Hub's facebook/empathetic_dialogues is a loading script, which `datasets` 4 and later refuse to run.
        source_url="https://dl.fbaipublicfiles.com/parlai/empatheticdialogues/empatheticdialogues.tar.gz",
        assumptions=(
            _METRIC_NOTE,
            "the first turn is the utterance with index 1; the description of the situation (prompt) is not used",
            "split sizes are conversations of a copy of the release; rows that are damaged are fewer here",
        ),
    ),
    DatasetEntry(
        name="goemotions",
        description="Reddit comments with 27 emotions and neutral; the comments with exactly one label.",
        label_names=GOEMOTIONS,
        licence="Apache-2.0",
        citation="""@inproceedings{demszky2020goemotions,
  title     = {{GoEmotions}: A Dataset of Fine-Grained Emotions},
  author    = {Demszky, Dorottya and Movshovitz-Attias, Dana and Ko, Jeongwoo and Cowen, Alan and Nemade, Gaurav
               and Ravi, Sujith},
  booktitle = {Proceedings of the 58th Annual Meeting of the Association for Computational Linguistics},
  year      = {2020}
}""",
        access="hub",
        geometry="plutchik",
        metric=_METRIC,
        # With exactly one label: 36,308 / 4,548 / 4,590.
        split_sizes={"train": 43410, "validation": 5426, "test": 5427},
        files="train.tsv, dev.tsv and test.tsv (text, label ids, comment id), and emotions.txt if you have it",
        text_fields=("text",),
        reader="goemotions",
        hub_id="google-research-datasets/go_emotions",
        hub_config="simplified",
        # The commit "Convert dataset to Parquet".
        revision="f98486401898395781df446735b32951aff18ba9",
        hub_label_field="labels",
        source_url="https://github.com/google-research/google-research/tree/master/goemotions",
        assumptions=(
            _METRIC_NOTE,
            _SIZES_NOTE,
            "of 43,410 / 5,426 / 5,427 rows, 36,308 / 4,548 / 4,590 have exactly one label; the others are dropped",
        ),
    ),
    DatasetEntry(
        name="isear",
        description="Students' reports of situations in which they had felt one of seven emotions.",
        label_names=ISEAR,
        licence="no licence stated; for research (Swiss Center for Affective Sciences, Geneva)",
        citation="""@article{scherer1994evidence,
  title   = {Evidence for Universality and Cultural Variation of Differential Emotion Response Patterning},
  author  = {Scherer, Klaus R. and Wallbott, Harald G.},
  journal = {Journal of Personality and Social Psychology},
  volume  = {66},
  number  = {2},
  pages   = {310--328},
  year    = {1994}
}""",
        access="request: the Swiss Center for Affective Sciences, University of Geneva (ISEAR databank)",
        geometry="plutchik",
        metric=_METRIC,
        split_sizes={"all": 7666},
        files="isear.csv (fields separated by |, with the columns Field1 and SIT; or two columns, emotion and text)",
        text_fields=("SIT",),
        reader="isear",
        source_url="https://www.unige.ch/cisa/research/materials-and-online-research/research-material/",
        assumptions=(
            _METRIC_NOTE,
            "the release has no splits: divided 8 : 1 : 1 by a hash of the text, not as in the paper's Appendix B",
            "answers that say that there is none ('[ No response.]', 'NO RESPONSE') are dropped",
        ),
    ),
    DatasetEntry(
        name="canceremo",
        description="Sentences from an online community of cancer patients, Plutchik's eight emotions.",
        label_names=PLUTCHIK,
        licence="no licence stated for the data; on request for research",
        citation="""@inproceedings{sosea2020canceremo,
  title     = {{CancerEmo}: A Dataset for Fine-Grained Emotion Detection},
  author    = {Sosea, Tiberiu and Caragea, Cornelia},
  booktitle = {Proceedings of the 2020 Conference on Empirical Methods in Natural Language Processing (EMNLP)},
  pages     = {8892--8904},
  year      = {2020}
}""",
        access="request: Tiberiu Sosea, University of Illinois Chicago (tsosea2@uic.edu)",
        geometry="plutchik",
        metric=_METRIC,
        split_sizes={},  # not stated where the data set is offered
        files="Anger.csv, Anticipation.csv, ... Trust.csv (columns Sentence, the emotion as 0 or 1, Split as 0 to 2)",
        text_fields=("Sentence",),
        reader="canceremo",
        source_url="https://github.com/tsosea2/CancerEmo",
        assumptions=(
            _METRIC_NOTE,
            "the files are read as the authors' published code reads them; the release itself was not seen",
            "sentences with several emotions are dropped; a sentence has the split of its emotion's file",
            "published split sizes are not known",
        ),
    ),
)
