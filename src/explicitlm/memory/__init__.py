"""The explicit memory: readable entries; how a query finds, encodes and matches them; how they move."""

from explicitlm.memory.bank import MemoryBank
from explicitlm.memory.read import MemoryRead, MemoryReader, Selection
from explicitlm.memory.update import BankUpdater

__all__ = ["BankUpdater", "MemoryBank", "MemoryRead", "MemoryReader", "Selection"]
