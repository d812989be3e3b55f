_base_ = "../dwnet/dwnet-mini_digits.py"

# 2x2, 4x4 and 8x8 tokens for 32x32 pixels. The first exit has a linear patch embedding, the others
# DHVT's convolutional one, which learns from few images within minutes.
network = dict(
    type="smallvit.DHVT",
    arch=dict(embed_dims=64, num_layers=3, num_heads=4, feedforward_channels=128),
    img_size=32,
    with_daff=False,
    with_head_tokens=False,
    with_pos_embed=True,
    drop_path_rate=0.05,
)

model = dict(
    type="smallvit.MultiExitClassifier",
    backbone=dict(
        _delete_=True,
        type="smallvit.DynamicViT",
        exits=[
            dict(patch_size=16, with_sope=False, **network),
            dict(patch_size=8, **network),
            dict(patch_size=4, **network),
        ],
        feature_reuse=dict(context_dims=16, hidden_dims=32),
    ),
    head=dict(type="smallvit.MultiExitHead", in_channels=64),
)

max_epochs = 30
train_cfg = dict(max_epochs=max_epochs)
train_dataloader = dict(batch_size=32)
param_scheduler = [
    dict(type="LinearLR", start_factor=0.01, by_epoch=False, begin=0, end=60),
    dict(
        type="CosineAnnealingLR",
        eta_min=0.0,
        by_epoch=True,
        begin=0,
        end=max_epochs,
        convert_to_iter_based=True,
    ),
]
optim_wrapper = dict(optimizer=dict(lr=1.5e-3))
auto_scale_lr = dict(base_batch_size=32)

# Held-out images, used to select the best epoch and the thresholds.
calibration_dataloader = dict(_base_.val_dataloader)
custom_hooks = [dict(type="smallvit.CalibrationHook")]

# eval_mode=1 uses the thresholds stored by tools/multi_exit/calibrate.py, 2 computes them first.
test_evaluator = [
    dict(type="Accuracy", topk=(1,)),
    dict(type="smallvit.AnytimeAccuracy"),
    dict(type="smallvit.BudgetedBatch", eval_mode=2),
]
