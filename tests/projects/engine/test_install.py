"""Patches of other libraries: a smallvit run installs them; imports and other runs do not."""

import textwrap

import pytest

import fresh

STATE = """
import mmengine.fileio.io, mmengine.runner.checkpoint as checkpoint
from mmengine.registry import TRANSFORMS, WEIGHT_INITIALIZERS
from mmengine.runner import Runner

def state():
    import mmcv.transforms, mmdet.datasets.transforms, mmseg.datasets.transforms
    from mmdet.registry import DATASETS, METRICS, TRANSFORMS as DET
    from mmpretrain.registry import TRANSFORMS as CLS
    from mmseg.registry import TRANSFORMS as SEG

    loaders = (
        mmcv.transforms.LoadAnnotations,
        mmdet.datasets.transforms.LoadAnnotations,
        mmseg.datasets.transforms.LoadAnnotations,
    )
    found = {
        "local": checkpoint.CheckpointLoader._schemes[""],
        "https": checkpoint.CheckpointLoader._schemes["https://"],
        "zoos": checkpoint.load_from_http,
        "lmdb": mmengine.fileio.io.backends["lmdb"],
    }
    found["init_cfg"] = WEIGHT_INITIALIZERS.get("Pretrained")
    found["COCO"] = DATASETS.get("CocoDataset")
    found["COCO metric"] = METRICS.get("CocoMetric")
    for name, registry in (("root", TRANSFORMS), ("cls", CLS), ("det", DET), ("seg", SEG)):
        found[f"images of {name}"] = registry.get("LoadImageFromFile")
    from mmengine.visualization import Visualizer

    found["drawn texts"] = type("", (), {"__module__": Visualizer.draw_texts.__module__})
    for loader in loaders:
        found[f"labels of {loader.__module__}"] = loader._load_seg_map
    return found

def ours(found):
    return sorted(
        key for key, value in found.items()
        if value.__module__.startswith("smallvit") or hasattr(value, "__wrapped__")
    )
"""

IMPORTS = """
import smallvit
from smallvit.registry import DATASETS, HOOKS, LOOPS, METRICS, MODELS
from smallvit.registry import OPTIM_WRAPPERS, TRANSFORMS
for registry, name in (
    (MODELS, "DHVT"), (MODELS, "MultiExitClassifier"), (MODELS, "GuidedClassifier"),
    (HOOKS, "ResumeHook"), (HOOKS, "AtomicCheckpointHook"), (HOOKS, "CalibrationHook"),
    (DATASETS, "ClassFolders"), (LOOPS, "AutocastTestLoop"), (METRICS, "BudgetedBatch"),
    (OPTIM_WRAPPERS, "AutocastOptimWrapper"), (TRANSFORMS, "LoadTeacherFeatures"),
):
    assert registry.get(f"smallvit.{name}") is not None, name
import smallvit.analysis.complexity, smallvit.apis, smallvit.cli.config, smallvit.engine.pipeline
"""

FOREIGN_RUN = """
import tempfile
from mmengine.model import BaseModel
from torch import nn
import torch

class Toy(BaseModel):
    def __init__(self):
        super().__init__()
        self.layer = nn.Linear(2, 1)
    def forward(self, inputs, mode="loss"):
        return dict(loss=self.layer(inputs).mean())

with tempfile.TemporaryDirectory() as folder:
    Runner(
        model=Toy(), work_dir=folder, train_cfg=dict(by_epoch=True, max_epochs=1),
        train_dataloader=dict(
            dataset=[dict(inputs=torch.ones(2))], batch_size=1,
            sampler=dict(type="DefaultSampler", shuffle=False),
            collate_fn=dict(type="default_collate"),
        ),
        optim_wrapper=dict(optimizer=dict(type="SGD", lr=0.1)),
        default_hooks=dict(
            checkpoint=dict(type="smallvit.AtomicCheckpointHook"),
            resume=dict(type="smallvit.ResumeHook"),
            bad_samples=dict(type="smallvit.BadSampleHook"),
        ),
        experiment_name="foreign", default_scope="mmpretrain",
    ).train()
"""


@pytest.fixture(scope="module")
def states():
    """List what is patched in the libraries, before and after a smallvit run is prepared."""
    code = textwrap.dedent(
        """
        {}
        print("AFTER IMPORTS", ours(state()))
        {}
        print("AFTER A FOREIGN RUN", ours(state()))
        from mmengine.config import Config
        from smallvit.engine.pipeline import adapt_config
        for scope in ("mmpretrain", "mmdet", "mmseg"):
            adapt_config(Config(dict(default_scope=scope)))
        print("AFTER OURS", ours(state()), len(state()))
        """
    )
    code = STATE + IMPORTS + code.format("", FOREIGN_RUN)
    done = fresh.run(code)
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_imports_and_look_ups_replace_nothing(states):
    assert "AFTER IMPORTS []" in states


def test_a_foreign_run_with_our_hooks_replaces_nothing(states):
    assert "AFTER A FOREIGN RUN []" in states


def test_a_run_of_smallvit_replaces_all(states):
    (line,) = [line for line in states.splitlines() if line.startswith("AFTER OURS")]
    found, _, count = line.removeprefix("AFTER OURS ").rpartition(" ")
    assert len(eval(found)) == int(count), line
