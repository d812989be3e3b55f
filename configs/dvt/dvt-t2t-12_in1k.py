_base_ = [
    "../_base_/datasets/imagenet_dvt_224.py",
    "../_base_/schedules/dvt_adamw_310e.py",
    "../_base_/default_runtime_cudnn.py",
]

network = dict(
    type="smallvit.T2TViT",
    arch="12",
    norm_cfg=dict(type="LN", eps=1e-5),
    token_drop_rate=0.1,
    drop_path_rate=0.1,
)
# Three exits with 7x7, 10x10 and 14x14 tokens; the loss is the sum over the exits.
model = dict(
    type="smallvit.MultiExitClassifier",
    backbone=dict(
        type="smallvit.DynamicViT",
        exits=[dict(token_grid=grid, **network) for grid in (7, 10, 14)],
    ),
    head=dict(
        type="smallvit.MultiExitHead",
        num_classes=1000,
        in_channels=256,
        loss=dict(type="LabelSmoothLoss", label_smooth_val=0.1, mode="original"),
    ),
    train_cfg=dict(augments=[dict(type="Mixup", alpha=0.8), dict(type="CutMix", alpha=1.0)]),
)

# 8 GPUs with 128 images each
train_dataloader = dict(batch_size=128, drop_last=True)

# 50,000 random training images, with the test transforms.
calibration_dataloader = dict(
    _base_.val_dataloader, dataset=dict(_base_.val_dataloader.dataset, split="train")
)
custom_hooks = [
    dict(type="EMAHook", momentum=4e-5, priority="ABOVE_NORMAL"),
    dict(type="smallvit.CalibrationHook", num_images=50_000),
]

# eval_mode=1 uses the thresholds stored by tools/multi_exit/calibrate.py, 2 computes them first.
test_evaluator = [
    dict(type="Accuracy", topk=(1, 5)),
    dict(type="smallvit.AnytimeAccuracy"),
    dict(type="smallvit.BudgetedBatch", eval_mode=2),
]
