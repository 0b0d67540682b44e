"""Entries of the registry: the topic and sentiment data sets of the paper."""

from .entry import DatasetEntry
from .label_names import AG_NEWS, CCS_SECOND_LEVEL, RCV1_TOPICS, SENTIMENT, STARS, YAHOO

__all__ = ["TOPIC_ENTRIES"]

# Assumed, not verified against the paper: accuracy for the topic and sentiment sets.
_METRIC = "accuracy"
_METRIC_NOTE = "metric: accuracy is assumed"
_SIZES_NOTE = "split sizes are the source's own, not those of the paper's Appendix B"
_VALIDATION_NOTE = "no validation split is published: a tenth of train, chosen by a hash of the text"

_ZHANG = """@inproceedings{zhang2015character,
  title     = {Character-level Convolutional Networks for Text Classification},
  author    = {Zhang, Xiang and Zhao, Junbo and LeCun, Yann},
  booktitle = {Advances in Neural Information Processing Systems 28},
  pages     = {649--657},
  year      = {2015}
}"""
_MCAULEY = """@inproceedings{mcauley2013hidden,
  title     = {Hidden Factors and Hidden Topics: Understanding Rating Dimensions with Review Text},
  author    = {McAuley, Julian and Leskovec, Jure},
  booktitle = {Proceedings of the 7th ACM Conference on Recommender Systems},
  pages     = {165--172},
  year      = {2013}
}"""

TOPIC_ENTRIES = (
    DatasetEntry(
        name="rcv1",
        description="Reuters news items of 1996 and 1997; those with exactly one most specific topic.",
        label_names=RCV1_TOPICS,
        licence="Reuters Corpora agreement with NIST: research only, no redistribution",
        citation="""@article{lewis2004rcv1,
  title   = {{RCV1}: A New Benchmark Collection for Text Categorization Research},
  author  = {Lewis, David D. and Yang, Yiming and Rose, Tony G. and Li, Fan},
  journal = {Journal of Machine Learning Research},
  volume  = {5},
  pages   = {361--397},
  year    = {2004}
}""",
        access="request: NIST, Reuters Corpora (https://trec.nist.gov/data/reuters/reuters.html)",
        geometry="hierarchy",
        metric=_METRIC,
        split_sizes={"train": 23149, "test": 781265},  # LYRL2004
        files="the news items as unpacked *.xml files, or train, validation and test as .jsonl, .json, .csv or .tsv "
        "with the columns text, topics and, if wanted, headline",
        text_fields=("headline", "text"),
        text_separator="\n",
        reader="rcv1",
        source_url="https://trec.nist.gov/data/reuters/reuters.html",
        assumptions=(
            _METRIC_NOTE,
            _SIZES_NOTE,
            _VALIDATION_NOTE,
            "an item keeps its label if one topic is left without the topics above it; other items are dropped",
            "the paper's choice of topics is not known: all 103 topics of RCV1-v2 are labels here",
        ),
    ),
    DatasetEntry(
        name="scihtc",
        description="Titles and abstracts of papers of the ACM digital library, second level of the ACM CCS tree.",
        label_names=CCS_SECOND_LEVEL,
        licence="no licence stated; texts on request, subject to the ACM's terms",
        citation="""@inproceedings{sadat2022hierarchical,
  title     = {Hierarchical Multi-Label Classification of Scientific Documents},
  author    = {Sadat, Mobashir and Caragea, Cornelia},
  booktitle = {Proceedings of the 2022 Conference on Empirical Methods in Natural Language Processing},
  pages     = {8923--8937},
  year      = {2022}
}""",
        access="request: Mobashir Sadat, University of Illinois Chicago (msadat3@uic.edu)",
        geometry="hierarchy",
        metric=_METRIC,
        split_sizes={"train": 148928, "validation": 18616, "test": 18616},
        files="train, dev and test as .csv, .tsv, .json or .jsonl with the columns Title, Abstract and Category "
        "(CCS->topic->topic); or train_title_abstract_keywords.csv and train_ids_83_categories.csv, and so on",
        text_fields=("Title", "Subtitle", "Abstract"),
        text_separator=". ",
        reader="scihtc",
        source_url="https://github.com/msadat3/SciHTC",
        assumptions=(
            _METRIC_NOTE,
            _SIZES_NOTE,
            "the paper's 80 classes are not listed in public: the labels here are the 84 topics of the second level "
            "of the ACM CCS of 2012, to which the categories of the data set belong",
            "papers with no second-level topic or with several are dropped",
        ),
    ),
    DatasetEntry(
        name="sst5",
        description="Sentences of film reviews, five grades from very negative to very positive.",
        label_names=SENTIMENT,
        licence="no licence stated",
        citation="""@inproceedings{socher2013recursive,
  title     = {Recursive Deep Models for Semantic Compositionality Over a Sentiment Treebank},
  author    = {Socher, Richard and Perelygin, Alex and Wu, Jean and Chuang, Jason and Manning, Christopher D. and Ng,
               Andrew and Potts, Christopher},
  booktitle = {Proceedings of the 2013 Conference on Empirical Methods in Natural Language Processing},
  pages     = {1631--1642},
  year      = {2013}
}""",
        access="hub",
        geometry="ordinal",
        metric=_METRIC,
        split_sizes={"train": 8544, "validation": 1101, "test": 2210},
        files="train.txt, dev.txt and test.txt: trees of trainDevTestTrees_PTB.zip, or lines '__label__1 text'",
        text_fields=("sentence",),
        reader="sst",
        hub_id="SetFit/sst5",
        revision="e51bdcd8cd3a30da231967c1a249ba59361279a3",
        source_url="https://nlp.stanford.edu/sentiment/",
        assumptions=(_METRIC_NOTE, "the paper's split sizes are assumed to be those of the release"),
    ),
    DatasetEntry(
        name="amazon",
        description="Amazon product reviews with one to five stars.",
        label_names=STARS,
        licence="no licence stated by Zhang et al. (2015)",
        citation=f"{_ZHANG}\n{_MCAULEY}",
        access="files",
        geometry="ordinal",
        metric=_METRIC,
        split_sizes={"train": 3000000, "test": 650000},
        files="train.csv and test.csv of amazon_review_full_csv (class index, title, review; no header)",
        text_fields=("title", "review"),
        text_separator="\n",
        reader="headerless_csv",
        # Copies on the Hub exist, but none of known format could be verified.
        escapes="newline",
        source_url="https://s3.amazonaws.com/fast-ai-nlp/amazon_review_full_csv.tgz",
        assumptions=(_METRIC_NOTE, _SIZES_NOTE, _VALIDATION_NOTE),
    ),
    DatasetEntry(
        name="yelp",
        description="Yelp reviews with one to five stars.",
        label_names=STARS,
        licence="Yelp Dataset agreement",
        citation=_ZHANG,
        access="hub",
        geometry="ordinal",
        metric=_METRIC,
        split_sizes={"train": 650000, "test": 50000},
        files="train.csv and test.csv of yelp_review_full_csv (class index, review; no header)",
        text_fields=("review",),
        reader="headerless_csv",
        hub_id="Yelp/yelp_review_full",
        revision="c1f9ee939b7d05667af864ee1cb066393154bf85",
        escapes="newline",
        source_url="https://s3.amazonaws.com/fast-ai-nlp/yelp_review_full_csv.tgz",
        assumptions=(
            _METRIC_NOTE,
            _SIZES_NOTE,
            _VALIDATION_NOTE,
            "the source writes '2 star'; here it is '2 stars'",
        ),
    ),
    DatasetEntry(
        name="yahoo",
        description="Questions and best answers of Yahoo! Answers, ten topics.",
        label_names=YAHOO,
        licence="unknown",
        citation=_ZHANG,
        access="hub",
        geometry="none",
        metric=_METRIC,
        split_sizes={"train": 1400000, "test": 60000},
        files="train.csv and test.csv of yahoo_answers_csv (class index, title, question, best answer; no header), "
        "and classes.txt if you have it",
        text_fields=("question_title", "question_content", "best_answer"),
        text_separator="\n",
        reader="headerless_csv",
        hub_id="community-datasets/yahoo_answers_topics",
        revision=None,  # main is 6652a1e ("Convert dataset to Parquet (#4)"); its full commit could not be verified
        hub_text_fields=("question_title", "question_content", "best_answer"),
        hub_label_field="topic",
        escapes="newline",
        source_url="https://s3.amazonaws.com/fast-ai-nlp/yahoo_answers_csv.tgz",
        assumptions=(_METRIC_NOTE, _SIZES_NOTE, _VALIDATION_NOTE, "the Hub's revision is not pinned"),
    ),
    DatasetEntry(
        name="ag-news",
        description="Titles and first sentences of news articles, four topics.",
        label_names=AG_NEWS,
        licence="no licence stated; for research and other non-commercial use",
        citation=_ZHANG,
        access="hub",
        geometry="none",
        metric=_METRIC,
        split_sizes={"train": 120000, "test": 7600},
        files="train.csv and test.csv of ag_news_csv (class index, title, description; no header)",
        text_fields=("title", "description"),
        reader="headerless_csv",
        hub_id="fancyzhx/ag_news",
        revision=None,  # no commit could be verified
        escapes="backslash",
        source_url="https://s3.amazonaws.com/fast-ai-nlp/ag_news_csv.tgz",
        assumptions=(_METRIC_NOTE, _SIZES_NOTE, _VALIDATION_NOTE, "the Hub's revision is not pinned"),
    ),
)
