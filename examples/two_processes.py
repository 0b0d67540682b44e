"""Two processes train one model, and both hold the same table of label issues, bit for bit.

Shows: each process computes with half of each batch, but knows every row. The hash of the whole table is printed for
each process. On processors the processes talk through gloo, on GPUs through NCCL; nothing changes in the script.

    pip install "lane_hf[demo]"
    torchrun --nproc_per_node 2 examples/two_processes.py

On processors `use_cpu=True` is needed, or each process trains alone without a word from Accelerate; and
`accelerate launch --cpu --num_processes 2` starts one process only.
Takes: 1.5 minutes of processor time, that of both processes together.
"""

import argparse
import gc
import hashlib
import os
import sys

import pandas as pd
import torch
from accelerate.utils import gather_object
from transformers import AutoModelForSequenceClassification, AutoTokenizer, set_seed

from lane_hf import InputError, LaneConfig, LaneTrainer
from lane_hf.datasets import load
from lane_hf.noisy_dataset import inject_into_dataset
from lane_hf.packaged_model import default_model


def main(argv=None):
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rows", type=int, default=301, help="training rows (default: 301)")
    parser.add_argument("--epochs", type=int, default=3, help="default: 3")
    parser.add_argument("--model", help="folder or Hub name of an encoder (default: the packaged one)")
    parser.add_argument("--output_dir", default="two_processes_output")
    options = parser.parse_args(argv)
    if options.rows < 1 or options.epochs < 1:
        parser.error("--rows and --epochs must be above 0")
    if os.environ.get("WORLD_SIZE", "1") == "1":
        raise InputError(
            "this is one process only: start it with torchrun --nproc_per_node 2 examples/two_processes.py"
        )

    args = LaneConfig(  # made first: it sets up the connection between the processes
        options.output_dir,
        num_train_epochs=options.epochs,
        learning_rate=1e-4,
        per_device_train_batch_size=8,  # of each process
        save_strategy="no",
        use_cpu=not torch.accelerator.is_available(),  # else torchrun's processes do not find each other on processors
        disable_tqdm=True,
        seed=1,
    )
    set_seed(1)
    name = options.model or default_model()
    tokenizer = AutoTokenizer.from_pretrained(name)
    train = load("demo")["train"].shuffle(seed=1)
    train = inject_into_dataset(train.select(range(min(options.rows, len(train)))), kind="uniform", rate=0.2, seed=1)
    with args.main_process_first(desc="tokenising"):
        train = train.map(lambda rows: tokenizer(rows["text"], truncation=True, max_length=64), batched=True)
    names = train.features["label"].names
    model = AutoModelForSequenceClassification.from_pretrained(
        name, num_labels=len(names), id2label=dict(enumerate(names)), dtype=torch.float32
    )
    trainer = LaneTrainer(model=model, args=args, train_dataset=train, processing_class=tokenizer)
    trainer.train()

    issues = trainer.label_issues()
    digest = hashlib.sha256(pd.util.hash_pandas_object(pd.DataFrame(issues)).to_numpy().tobytes()).hexdigest()
    # Visits of all rows, those of the other process among them.
    everyone = gather_object([(args.process_index, args.device.type, len(issues), issues["visits"].sum(), digest)])
    if args.process_index == 0:
        for number, device, rows, visits, own_digest in everyone:
            print(f"process {number} ({device}): {rows} rows, {visits} visits, table {own_digest[:16]}")
        same = len({own_digest for *_, own_digest in everyone}) == 1
        print(f"All {len(everyone)} processes hold the same table: {'yes' if same else 'no'}")
    # The connection's threads end with its last user, which is the trainer. One that is alive while Python shuts down
    # can abort the process after all work is done (pytorch/pytorch#179291).
    del trainer
    gc.collect()
    torch.distributed.destroy_process_group()
    return 0


if __name__ == "__main__":
    try:
        sys.exit(main())
    except (InputError, OSError) as error:  # OSError: a model that is not there
        print(f"error: {str(error).strip().splitlines()[0]}", file=sys.stderr)
        sys.exit(2)
