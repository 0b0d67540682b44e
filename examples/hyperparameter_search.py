"""Search for a learning rate and for LANE's own settings with `trainer.hyperparameter_search` and optuna.

Shows: `LaneTrainer` takes a `model_init` and is searched like `Trainer`; LANE's arguments can be part of the search;
after it the best settings are trained once more, for the model and the table. A fifth of the training labels are
spoiled; the validation labels, which decide, are right. The defaults are small: they show how, not what is best.

    pip install "lane_hf[demo]" optuna
    python examples/hyperparameter_search.py
    python examples/hyperparameter_search.py --trials 20 --rows 2500 --epochs 4     # takes long on processors

Takes: 2.5 minutes of processor time; with so few rows the accuracy is 0.175.
"""

import argparse
import sys

import torch
from transformers import AutoModelForSequenceClassification, AutoTokenizer

from lane_hf import InputError, LaneConfig, LaneTrainer
from lane_hf.datasets import load
from lane_hf.metrics import compute_metrics
from lane_hf.noisy_dataset import inject_into_dataset
from lane_hf.packaged_model import default_model


def space(trial):
    """Return the settings of a trial; names are those of fields of `LaneConfig`."""
    return {
        "learning_rate": trial.suggest_float("learning_rate", 3e-5, 3e-4, log=True),
        "weighting_warmup": trial.suggest_categorical("weighting_warmup", [1.0, 2.0]),
        "bootstrap": trial.suggest_categorical("bootstrap", ["candidate", "prediction"]),
    }


def main(argv=None):
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--trials", type=int, default=3, help="default: 3")
    parser.add_argument("--rows", type=int, default=200, help="training rows (default: 200)")
    parser.add_argument("--epochs", type=float, default=3, help="default: 3")
    parser.add_argument("--model", help="folder or Hub name of an encoder (default: the packaged one)")
    parser.add_argument("--output_dir", default="search_output")
    options = parser.parse_args(argv)
    if options.trials < 1 or options.rows < 1 or options.epochs <= 0:
        parser.error("--trials, --rows and --epochs must be above 0")
    try:
        import optuna
    except ImportError as error:
        raise InputError("this example needs optuna: pip install optuna") from error

    name = options.model or default_model()
    tokenizer = AutoTokenizer.from_pretrained(name)
    train, dev = (load("demo")[split].take(options.rows) for split in ("train", "validation"))
    train = inject_into_dataset(train, kind="uniform", rate=0.2, seed=1)
    names = train.features["label"].names
    labels = {"num_labels": len(names), "id2label": dict(enumerate(names)), "dtype": torch.float32}

    def tokenise(rows):
        return tokenizer(rows["text"], truncation=True, max_length=64)

    args = LaneConfig(
        options.output_dir,
        num_train_epochs=options.epochs,
        save_strategy="no",
    )
    trainer = LaneTrainer(
        model_init=lambda: AutoModelForSequenceClassification.from_pretrained(name, **labels),
        args=args,
        train_dataset=train.map(tokenise, batched=True),
        eval_dataset=dev.map(tokenise, batched=True),
        processing_class=tokenizer,
        compute_metrics=compute_metrics,
    )
    best = trainer.hyperparameter_search(
        space,
        compute_objective=lambda metrics: metrics["eval_accuracy"],
        direction="maximize",
        n_trials=options.trials,
        backend="optuna",
        sampler=optuna.samplers.TPESampler(seed=1),
    )
    print(f"Best of {options.trials} trials: number {best.run_id}, accuracy {best.objective:.3f}")
    for setting, value in best.hyperparameters.items():
        setattr(trainer.args, setting, value)
        print(f"  {setting}: {getattr(trainer.args, setting)}")

    trainer.train()  # the search keeps no model: the best settings once more
    issues = trainer.label_issues()
    accuracy, suspicious = trainer.evaluate()["eval_accuracy"], int(issues["is_issue"].sum())
    print(f"Trained again: accuracy {accuracy:.3f}, {suspicious} of {len(issues)} labels look wrong")
    return 0


if __name__ == "__main__":
    try:
        sys.exit(main())
    except (InputError, OSError) as error:  # OSError: a model that is not there
        print(f"error: {str(error).strip().splitlines()[0]}", file=sys.stderr)
        sys.exit(2)
