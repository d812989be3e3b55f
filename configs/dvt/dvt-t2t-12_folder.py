_base_ = [
    "../_base_/models/dvt_transfer.py",
    "../_base_/datasets/folder.py",
    "../_base_/schedules/folder_adamw_100e.py",
    "../_base_/default_runtime.py",
]

# From scratch; to start from a checkpoint of dvt-t2t-12_in1k: --cfg-options load_from=CHECKPOINT
model = dict(backbone=dict(init_cfg=None))

# Training images, with the test transforms.
calibration_dataloader = dict(
    _base_.val_dataloader, dataset=dict(_base_.val_dataloader.dataset, split="train")
)
custom_hooks = [dict(type="smallvit.CalibrationHook", num_images=10_000)]

# eval_mode=1 uses the thresholds stored by tools/multi_exit/calibrate.py, 2 computes them first.
test_evaluator = [
    dict(type="Accuracy", topk=(1, 5)),
    dict(type="smallvit.AnytimeAccuracy"),
    dict(type="smallvit.BudgetedBatch", eval_mode=2),
]
