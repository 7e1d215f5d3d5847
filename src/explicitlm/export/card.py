"""A model card in the form of the Hugging Face Hub, made from the record alone."""

from __future__ import annotations

from typing import Any

from huggingface_hub import EvalResult, ModelCard, ModelCardData

from explicitlm.common.shown import markdown
from explicitlm.records.schema import Record

TEMPLATE = """---
{{ card_data }}
---

# {{ record.experiment.id }}

{{ description }}

A language model with an explicit, readable memory bank (ExplicitLM, arXiv 2511.01581), trained by an experiment that
can be run again to the bit.

| what | value |
| --- | --- |
{% for name, value in facts.items() %}
| {{ name }} | {{ value }} |
{% endfor %}

## Results

{% if metrics %}
| metric | value |
| --- | --- |
{% for name, value in metrics.items() %}
| {{ name }} | {{ value }} |
{% endfor %}
{% else %}
None were recorded.
{% endif %}
{% if outcome %}

Asked: {{ outcome }}
{% endif %}
{% if conclusion %}

Conclusion: {{ conclusion }}
{% endif %}

## Files

`model.safetensors`, `config.json` and `tokenizer.json` are the checkpoint; `explicitlm.lm.training.checkpoint.load`
reads it (with `knowledge.jsonl`, the facts of the memory bank, where there is one). `items.jsonl.zst` holds what the
model answered, a row a task item, `record.json` the whole record of the experiment, `SHA256SUMS` the checksums
(`sha256sum -c SHA256SUMS`).

## Reproduce

In a clone of the project this gives the same checkpoint on the same kind of machine:

```bash
{{ record.reproduction.full_command }}
```
"""


def model_card(record: Record) -> str:
    """The text of README.md."""
    metrics = {name: value for name, value in record.results.metrics.items() if isinstance(value, int | float)}
    data = ModelCardData(
        library_name="explicitlm",
        license="apache-2.0",
        tags=["explicitlm", "explicit-memory", "causal-lm"],
        model_name=record.experiment.id,
        eval_results=[_result(name, value) for name, value in metrics.items() if name not in ("steps", "tokens")],
    )
    card = ModelCard.from_template(
        data,
        template_str=TEMPLATE,
        record=record,
        description=markdown(record.experiment.description),
        facts={name: markdown(str(value)) for name, value in _facts(record).items()},
        metrics={name: f"{value:.6g}" for name, value in metrics.items()},
        outcome=_outcome(record),
        conclusion=markdown(record.conclusion or ""),
    )
    return str(card)


def _facts(record: Record) -> dict[str, Any]:
    parameters, environment = record.hyperparameters, record.environment
    return {
        "width, layers": f"{parameters.dim}, {parameters.n_layers}",
        "memory bank": "none (dense)" if parameters.disable_memory else f"{parameters.knowledge_num} entries",
        "seed": record.seed,
        "code": f"{record.versions.code_commit}{' with uncommitted changes' if record.code.dirty else ''}",
        "data": ", ".join(f"{name} {details.md5}" for name, details in record.data.items() if details),
        "checkpoint (DVC)": record.versions.checkpoint_hash,
        "machine": ", ".join(str(environment[key]) for key in ("device", "cpu", "platform") if environment.get(key)),
        "PyTorch": environment.get("torch_version"),
    }


def _outcome(record: Record) -> str:
    outcome = record.outcome
    if outcome is None:
        return ""
    expected = f"expected {outcome.expect} against" if outcome.expect else "compared with"
    return markdown(f"{expected} {outcome.against}: {outcome.verdict.replace('_', ' ')}")


def _result(name: str, value: float) -> EvalResult:
    return EvalResult(task_type="text-generation", dataset_type="explicitlm-benchmarks",
                      dataset_name="data/benchmarks", metric_type=name, metric_value=value)  # fmt: skip
