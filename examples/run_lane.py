"""Fine-tune a text classifier on labels that cannot be trusted, and find the wrong ones.

    accelerate launch examples/run_lane.py                       # the demo: real text, 20% of the labels flipped
    accelerate launch examples/run_lane.py config.yaml
    accelerate launch examples/run_lane.py --train_file train.csv --validation_file dev.csv --test_file test.csv
    torchrun --nproc_per_node 2 examples/run_lane.py             # two processes; on CPU, accelerate would start one

Every argument: examples/run_lane.py --help
"""

import sys

from lane_hf.run import main

if __name__ == "__main__":
    sys.exit(main())
