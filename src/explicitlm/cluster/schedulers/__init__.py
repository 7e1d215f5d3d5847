"""Schedulers, and the one in use. Another one is a module beside Slurm's that provides `protocol.Scheduler`."""

from __future__ import annotations

from explicitlm.cluster.schedulers.protocol import Scheduler
from explicitlm.cluster.schedulers.slurm import Slurm

SCHEDULER: Scheduler = Slurm()
