"""An ordinary `Trainer` script, as in Hugging Face's guide to text classification, with one import changed.

Shows: everything else stays as it is, `TrainingArguments` too, and afterwards the trainer knows which labels look
wrong. A fifth of the labels are spoiled on purpose, so that the last line can say how many were found.

    pip install "lane_hf[demo]"
    python examples/drop_in.py
    python examples/drop_in.py --rows 200 --epochs 3      # quicker, and finds less

Takes: 4 minutes of processor time; 78 of the 120 spoiled labels are among the 120 most suspicious rows.
"""

import argparse
import sys

import numpy as np
from transformers import AutoModelForSequenceClassification, AutoTokenizer, DataCollatorWithPadding, TrainingArguments

from lane_hf import InputError
from lane_hf import LaneTrainer as Trainer  # was: from transformers import Trainer
from lane_hf.datasets import load
from lane_hf.noisy_dataset import inject_into_dataset
from lane_hf.packaged_model import default_model


def compute_metrics(prediction):
    logits, labels = prediction
    return {"accuracy": float((np.argmax(logits, axis=-1) == labels).mean())}


def main(argv=None):
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rows", type=int, default=600, help="training rows (default: 600)")
    parser.add_argument("--epochs", type=float, default=4, help="from the third on, rows are weighted (default: 4)")
    parser.add_argument("--model", default=None, help="folder or Hub name of an encoder (default: the packaged one)")
    parser.add_argument("--output_dir", default="drop_in_output")
    options = parser.parse_args(argv)
    if options.rows < 1 or options.epochs <= 0:
        parser.error("--rows and --epochs must be above 0")

    data = load("demo")
    train, test = (
        data[split].shuffle(seed=1).select(range(min(options.rows, data.num_rows[split])))
        for split in ("train", "test")
    )
    train = inject_into_dataset(train, kind="uniform", rate=0.2, seed=1)

    name = options.model or default_model()
    tokenizer = AutoTokenizer.from_pretrained(name)

    def preprocess(examples):
        return tokenizer(examples["text"], truncation=True, max_length=64)

    id2label = dict(enumerate(train.features["label"].names))
    model = AutoModelForSequenceClassification.from_pretrained(name, num_labels=len(id2label), id2label=id2label)

    training_args = TrainingArguments(
        output_dir=options.output_dir,
        learning_rate=1e-4,
        per_device_train_batch_size=16,
        num_train_epochs=options.epochs,
        weight_decay=0.01,
        eval_strategy="epoch",
        save_strategy="epoch",
        load_best_model_at_end=True,
        report_to="none",
        seed=1,
    )
    trainer = Trainer(
        model=model,
        args=training_args,
        train_dataset=train.map(preprocess, batched=True),
        eval_dataset=test.map(preprocess, batched=True),
        processing_class=tokenizer,
        data_collator=DataCollatorWithPadding(tokenizer=tokenizer),
        compute_metrics=compute_metrics,
    )
    trainer.train()
    print(f"Test accuracy: {trainer.evaluate()['eval_accuracy']:.3f}")

    # New: what training has shown of the labels.
    issues = trainer.label_issues()
    print(issues[["row_id", "given_label", "suggested_label", "noise_probability", "text"]].head(5).to_string())
    flipped = np.asarray(train["is_flipped"])[issues["row_id"]]
    number = int(flipped.sum())
    found = flipped[:number].sum()
    print(f"{number} of {len(issues)} labels were spoiled; among the {number} most suspicious are {found} of them")
    return 0


if __name__ == "__main__":
    try:
        sys.exit(main())
    except (InputError, OSError) as error:  # OSError: a model that is not there
        print(f"error: {str(error).strip().splitlines()[0]}", file=sys.stderr)
        sys.exit(2)
