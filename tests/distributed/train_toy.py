"""Train a tiny LaneTrainer, in as many processes as the launcher starts, and save what the main process knows."""

import json
import os
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))

import torch
from training import dataset_for, logged, make_trainer, weights_of

if __name__ == "__main__":
    folder, options = Path(sys.argv[1]), json.loads(sys.argv[2])
    torch.set_num_threads(1)
    batch_size = 8 // int(os.environ.get("WORLD_SIZE", "1"))
    trainer = make_trainer(
        folder,
        dropout=0.0,
        train_dataset=dataset_for("bert", 64),
        per_device_train_batch_size=batch_size,
        num_train_epochs=3,
        # Plain gradient descent: AdamW would blow up the rounding noise of gradients that are zero (key biases).
        optim="sgd",
        learning_rate=0.1,
        **options,
    )
    trainer.train()
    if trainer.is_world_process_zero():
        result = {"alm": trainer.alm.state_dict(), "rows": trainer.row_statistics.state_dict()}
        result |= {"classifier": weights_of(trainer.model), "auxiliary": weights_of(trainer.auxiliary_model)}
        torch.save({**result, "weights": logged(trainer, "lane/mean_weight")}, folder / "result.pt")
