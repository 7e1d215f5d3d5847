"""The datasets of the project. A row here is all that a new one needs; everything else is derived from it."""

from __future__ import annotations

from dataclasses import dataclass

from explicitlm.common.errors import UsageError

NONE = "none"  # as a revision: the dataset is not used, though the project has it


@dataclass(frozen=True)
class Dataset:
    """A dataset with a version of its own.

    Attributes:
        param: its key under `data:` in params.yaml.
        folder: its folder under data/; `data/<folder>.dvc` holds its version.
        record_key: its field in a record's `versions.data`.
        required: whether training needs it.
    """

    param: str
    folder: str
    record_key: str
    required: bool

    @property
    def path(self) -> str:
        """Project-relative path of the data."""
        return f"data/{self.folder}"

    @property
    def pointer(self) -> str:
        """Project-relative path of its .dvc file."""
        return f"data/{self.folder}.dvc"


DATASETS = (
    Dataset("dataset", "database", "dataset_commit", required=True),
    Dataset("val_dataset", "benchmarks", "val_dataset_commit", required=True),
    Dataset("embedding", "embeddings", "embedding_commit", required=False),
    Dataset("database_init", "knowledge_base", "database_init_commit", required=False),
    Dataset("cache", "cache", "cache_commit", required=False),
)
TEXT = next(
    dataset for dataset in DATASETS if dataset.folder == "database"
)  # of which tokens are made, wherever its row is


def by_name(name: str) -> Dataset:
    """The dataset that a user means: by its folder, path, pointer or parameter.

    Raises:
        UsageError: there is none of that name.
    """
    for dataset in DATASETS:
        if name.rstrip("/") in (dataset.folder, dataset.path, dataset.pointer, dataset.param):
            return dataset
    known = ", ".join(dataset.folder for dataset in DATASETS)
    raise UsageError(f"there is no dataset {name!r}", f"choose one of {known}")
