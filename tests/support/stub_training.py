"""An environment in which `accelerate launch` writes files instead of training.

For tests and benchmarks of everything around the training: git, DVC, the stages and the commands are the real ones, run
as processes; only the training takes 0.1 s instead of many, and its "weights" are a digest of its arguments and data.
With STUB_TRAINING=fails it fails after it has saved a state, with STUB_TRAINING=cuts not all facts fit into the bank.
"""

from __future__ import annotations

import stat
import subprocess
import sys
import sysconfig
from pathlib import Path

STUB = '''#!{python}
"""accelerate launch 1_pretrain.py --epochs 2 ...: what a training leaves, without a training."""
import hashlib, json, os, pathlib, platform, sys

arguments = sys.argv[3:]
run_dir, out = pathlib.Path(os.environ["EXPLICITLM_RUN_DIR"]), pathlib.Path("checkpoints/run")
data = pathlib.Path("experiments/run/data.json").read_text()
digest = hashlib.sha256(json.dumps([arguments, data]).encode()).hexdigest()
run_dir.mkdir(parents=True, exist_ok=True)
if os.environ.get("STUB_TRAINING") == "fails":
    (run_dir / "states/step-000003").mkdir(parents=True)
    told = {{"status": "failed", "exit_code": 5, "error": "the loss is nan at step 4: training has diverged"}}
    (run_dir / "status.json").write_text(json.dumps(told))
    sys.exit("error: the loss is nan at step 4: training has diverged")
if os.environ.get("STUB_TRAINING") == "cuts":
    (run_dir / "knowledge.json").write_text(json.dumps({{"left_out": 2, "cut": 1}}))
(run_dir / "status.json").write_text(json.dumps({{"status": "done", "exit_code": 0}}))
machine = {{"python_version": platform.python_version(), "cuda_version": None, "num_gpus": 0, "world_size": 1}}
(run_dir / "environment.json").write_text(json.dumps(machine))
(run_dir / "inputs.json").write_text(json.dumps(["1_pretrain.py"]))
out.mkdir(parents=True, exist_ok=True)
(out / "model.safetensors").write_text(digest)
(out / "config.json").write_text(json.dumps(arguments))
(out / "tokenizer.json").write_text("{{}}")
loss = int(digest[:6], 16) / 2**24 + 2
shares = ("acc_object_prediction", "acc_relation_reasoning", "acc_fact_verification", "greedy_object_prediction",
          "memory_hit_rate", "memory_hit_rate_right", "memory_hit_rate_wrong", "memory_recall", "memory_rows_read")
metrics = {{"val_loss": loss, "val_ppl": 2.0**loss, **{{key: loss % 1 for key in shares}}, "train_loss": loss + 0.1,
           "steps": 3, "tokens": 900, "val_tokens": 90, "val_items": 9}}
pathlib.Path("experiments/items.jsonl.zst").write_text(f"answers of {{digest}}")
folder = pathlib.Path("experiments/run")
(folder / "metrics.json").write_text(json.dumps(metrics))
(folder / "digests.csv").write_text("step,digest\\n3," + digest + "\\n")
(folder / "train.csv").write_text("step,train/loss_ce\\n3,2.5\\n")
(folder / "val.csv").write_text(f"step,val/loss\\n3,{{loss}}\\n")
print(f"step 3/3 loss {{loss:.4f}}", flush=True)
'''


def stub_training(folder: Path) -> Path:
    """Makes that environment in a folder and gives the folder of its commands, for the front of PATH."""
    return environment_over(folder, STUB)


def environment_over(folder: Path, accelerate: str) -> Path:
    """Makes a Python environment over this one, with an `accelerate` of its own.

    Args:
        accelerate: text of that command, with {python} for the environment's interpreter.

    Returns:
        the folder of its commands.
    """
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", str(folder)], check=True)
    packages = sysconfig.get_path("purelib")
    (own_packages(folder) / "beneath.pth").write_text(f"import site; site.addsitedir({packages!r})\n")
    for name, module in (("dvc", "dvc.cli"), ("explicitlm", "explicitlm.cli.main")):
        _script(folder, name, f"#!{folder}/bin/python\nimport sys\nfrom {module} import main\nsys.exit(main())\n")
    _script(folder, "accelerate", accelerate.format(python=f"{folder}/bin/python"))
    return folder / "bin"


def own_packages(folder: Path) -> Path:
    """Where such an environment has packages of its own."""
    return folder / "lib" / f"python{sys.version_info.major}.{sys.version_info.minor}" / "site-packages"


def _script(folder: Path, name: str, text: str) -> None:
    path = folder / "bin" / name
    path.write_text(text)
    path.chmod(path.stat().st_mode | stat.S_IXUSR)
