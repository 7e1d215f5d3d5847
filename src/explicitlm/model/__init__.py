"""The transformer around the memory: attention, fusion, losses, and the dense baseline of equal size."""

from explicitlm.model.output import ModelOutput
from explicitlm.model.transformer import ExplicitLM, count_parameters

__all__ = ["ExplicitLM", "ModelOutput", "count_parameters"]
