"""Trains ExplicitLM: `accelerate launch 1_pretrain.py --epochs 10 --knowledge_num 1048576 --dim 512 ...`.

Reads data/, writes the finished model to checkpoints/run and metrics to experiments/run, keeps resume states
in .explicitlm/runs. `python 1_pretrain.py --help` lists every option; all of them are keys of params.yaml.
The work is done by explicitlm.lm.training; a file whose name starts with a digit cannot be imported.
"""

import sys
from pathlib import Path

# The code beside this file, whichever copy of the project is installed: what a commit holds is what runs.
sys.path.insert(0, str(Path(__file__).resolve().parent / "src"))

from explicitlm.lm.training.cli import main

if __name__ == "__main__":
    sys.exit(main())
