"""The transformer around the memory: attention, fusion, losses, and the dense baseline of equal size."""

from explicitlm.lm.model.output import ModelOutput
from explicitlm.lm.model.transformer import ExplicitLM, count_parameters

__all__ = ["ExplicitLM", "ModelOutput", "count_parameters"]
