"""The explicit memory: readable entries; how a query finds, encodes and matches them; how they move."""

from explicitlm.lm.memory.bank import MemoryBank
from explicitlm.lm.memory.read import MemoryRead, MemoryReader, Selection
from explicitlm.lm.memory.update import BankUpdater

__all__ = ["BankUpdater", "MemoryBank", "MemoryRead", "MemoryReader", "Selection"]
