"""Sample data: a small invented world of people, towns and firms, equal to the byte on every machine.

`write(version, folder)` makes training text, benchmark items and the knowledge base in the formats that
real data has, so that `dvc add` of a user's own files replaces it and nothing else changes. About 70 % of
the facts are said in the training text ("seen"); the rest stand in the knowledge base only ("held"), which
distinguishes a model that reads its memory from one that has learned the text by heart.
"""

from explicitlm.datasets.sample.output import VERSIONS, write

__all__ = ["VERSIONS", "write"]
