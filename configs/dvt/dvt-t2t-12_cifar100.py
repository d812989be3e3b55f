_base_ = [
    "../_base_/datasets/cifar100_224_swin.py",
    "../_base_/schedules/cifar_transfer_sgd_60e.py",
    "../_base_/default_runtime.py",
]

network = dict(
    type="smallvit.T2TViT", arch="12", norm_cfg=dict(type="LN", eps=1e-5), drop_path_rate=0.1
)
# Weights come from ImageNet, all exits and their reuse; the new head is not among them:
# --cfg-options model.backbone.init_cfg.checkpoint=dvt-t2t-12_in1k.pth
model = dict(
    type="smallvit.MultiExitClassifier",
    backbone=dict(
        type="smallvit.DynamicViT",
        exits=[dict(token_grid=grid, **network) for grid in (7, 10, 14)],
        init_cfg=dict(
            type="Pretrained",
            checkpoint="work_dirs/dvt-t2t-12_in1k/epoch_310.pth",
            prefix="backbone.",
        ),
    ),
    head=dict(type="smallvit.MultiExitHead", num_classes=100, in_channels=256),
)

train_dataloader = dict(batch_size=64)

# Training images, in the transforms of the test: 10,000 of them are drawn.
calibration_dataloader = dict(
    _base_.val_dataloader, dataset=dict(_base_.val_dataloader.dataset, split="train")
)
custom_hooks = [
    dict(type="smallvit.CalibrationHook", dataloader=calibration_dataloader, num_images=10_000),
]

test_evaluator = [
    dict(type="Accuracy", topk=(1, 5)),
    dict(type="smallvit.AnytimeAccuracy"),
    dict(type="smallvit.BudgetedBatch", eval_mode=2),
]
