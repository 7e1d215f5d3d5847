"""The explicit memory: readable rows; how a query finds one, how it is read, and what may change it.

paper/ is the paper's plain form, chosen by `router: paper`.
"""

from explicitlm.lm.memory.bank import MemoryBank
from explicitlm.lm.memory.selection import Selection
from explicitlm.lm.memory.update import BankUpdater

__all__ = ["BankUpdater", "MemoryBank", "Selection"]
