"""Train a LoRA adapter on labels that cannot be trusted, and find the wrong ones.

Shows: `LaneTrainer` takes a PEFT model as it is; the saved adapter, loaded again, gives the same logits. A fifth of
the labels are spoiled on purpose, so that the table can be checked.

    pip install "lane_hf[demo]" peft
    python examples/lora.py
    python examples/lora.py --rows 200 --epochs 3         # quicker, and finds less

Takes: 2 minutes of processor time; average precision 0.50, where chance gives 0.2.
"""

import argparse
import sys
from pathlib import Path

import numpy as np
import torch
from sklearn.metrics import average_precision_score
from transformers import AutoModelForSequenceClassification, AutoTokenizer, set_seed

from lane_hf import InputError, LaneConfig, LaneTrainer
from lane_hf.datasets import load
from lane_hf.noisy_dataset import inject_into_dataset
from lane_hf.packaged_model import default_model


def logits_of(model, batch):
    with torch.no_grad():
        return model.to(batch["input_ids"].device).eval()(**batch).logits


def main(argv=None):
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rows", type=int, default=600, help="training rows (default: 600)")
    parser.add_argument("--epochs", type=float, default=4, help="from the third on, rows are weighted (default: 4)")
    parser.add_argument("--rank", type=int, default=8, help="rank of the adapter (default: 8)")
    parser.add_argument("--model", help="folder or Hub name of an encoder with layers query and value")
    parser.add_argument("--output_dir", type=Path, default=Path("lora_output"))
    options = parser.parse_args(argv)
    if options.rows < 1 or options.epochs <= 0 or options.rank < 1:
        parser.error("--rows, --epochs and --rank must be above 0")
    try:
        from peft import AutoPeftModelForSequenceClassification, LoraConfig, get_peft_model
    except ImportError as error:
        raise InputError("this example needs peft: pip install peft") from error

    train = load("demo")["train"].shuffle(seed=1)
    train = inject_into_dataset(train.select(range(min(options.rows, len(train)))), kind="uniform", rate=0.2, seed=1)
    names = train.features["label"].names
    labels = {"num_labels": len(names), "id2label": dict(enumerate(names)), "dtype": torch.float32}

    set_seed(1)
    name = options.model or default_model()
    tokenizer = AutoTokenizer.from_pretrained(name)
    base = AutoModelForSequenceClassification.from_pretrained(name, **labels)
    # SEQ_CLS: the head, which is new, is trained and saved too.
    model = get_peft_model(base, LoraConfig(task_type="SEQ_CLS", r=options.rank, target_modules=["query", "value"]))
    model.print_trainable_parameters()

    args = LaneConfig(
        str(options.output_dir),
        num_train_epochs=options.epochs,
        learning_rate=2e-3,  # adapters take larger steps than whole models
        per_device_train_batch_size=16,
        save_strategy="no",
        report_to="none",
        seed=1,
    )
    trainer = LaneTrainer(
        model=model,
        args=args,
        train_dataset=train.map(lambda rows: tokenizer(rows["text"], truncation=True, max_length=64), batched=True),
        processing_class=tokenizer,
    )
    trainer.train()
    adapter = options.output_dir / "adapter"
    trainer.save_model(str(adapter))

    issues = trainer.label_issues()
    flipped = np.asarray(train["is_flipped"])[issues["row_id"]]
    precision = average_precision_score(flipped, -issues["score"])
    print(f"Finding the spoiled labels: average precision {precision:.2f} (by chance: {flipped.mean():.2f})")

    # The adapter does not hold the labels of a base without a head: they are given again.
    again = AutoPeftModelForSequenceClassification.from_pretrained(str(adapter), **labels)
    batch = tokenizer(train["text"][:8], padding=True, truncation=True, max_length=64, return_tensors="pt")
    size = sum(path.stat().st_size for path in adapter.glob("*.safetensors")) / 2**20
    same = torch.allclose(logits_of(again, batch), logits_of(trainer.model, batch), atol=1e-5)
    print(f"Adapter: {adapter} ({size:.1f} MiB); loaded again, it gives the same logits: {'yes' if same else 'no'}")
    return 0


if __name__ == "__main__":
    try:
        sys.exit(main())
    except (InputError, OSError) as error:  # OSError: a model that is not there
        print(f"error: {str(error).strip().splitlines()[0]}", file=sys.stderr)
        sys.exit(2)
