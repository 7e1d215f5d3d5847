"""Names of the environment variables that the project reads or sets; each is explained where it is used."""

from __future__ import annotations

# Of a run, set by the train stage for the training process
RUN_ID = "EXPLICITLM_RUN_ID"
RUN_DIR = "EXPLICITLM_RUN_DIR"
DESCRIPTION = "EXPLICITLM_DESCRIPTION"

# Set by `explicitlm run --resume` for the stages: the id is that of an interrupted run, which continues
RESUME = "EXPLICITLM_RESUME"

# Set by the user
MESSAGE = "EXPLICITLM_MESSAGE"  # the description of the experiment that `dvc exp run` starts
DEBUG = "EXPLICITLM_DEBUG"  # lets tracebacks through, for those who work on the project itself
NUM_THREADS = "EXPLICITLM_NUM_THREADS"

# Set by DVC for its stages
DVC_EXP_NAME = "DVC_EXP_NAME"
DVC_ROOT = "DVC_ROOT"  # the main checkout, also in isolated runs
