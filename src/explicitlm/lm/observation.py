"""How a run is watched and saved; none of it changes a weight, so two runs that differ in it only are alike."""

from __future__ import annotations

OBSERVATION = frozenset(
    {
        *("log_interval", "eval_interval", "save_interval", "digest_interval"),
        *("use_swanlab", "swanlab_project", "swanlab_workspace", "swanlab_mode"),
    }
)
