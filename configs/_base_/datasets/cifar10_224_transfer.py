# CIFAR-10 enlarged to 224x224, cropped and flipped, as in T2T-ViT's transfer learning. Mean and
# standard deviation follow its script, for both datasets.
_base_ = "mmpretrain::_base_/datasets/cifar10_bs16.py"

data_preprocessor = dict(mean=[125.307, 122.961, 113.8575], std=[51.5865, 50.847, 51.255])

enlarge = dict(type="Resize", scale=224, backend="pillow", interpolation="bilinear")
train_pipeline = [
    enlarge,
    dict(type="RandomCrop", crop_size=224, padding=28),
    dict(type="RandomFlip", prob=0.5, direction="horizontal"),
    dict(type="PackInputs"),
]
test_pipeline = [enlarge, dict(type="PackInputs")]

train_dataloader = dict(batch_size=64, num_workers=8, dataset=dict(pipeline=train_pipeline))
val_dataloader = dict(batch_size=100, num_workers=8, dataset=dict(pipeline=test_pipeline))
test_dataloader = val_dataloader

# 10,000 random training images, with the test transforms.
calibration_dataloader = dict(
    batch_size=100,
    num_workers=8,
    sampler=dict(type="DefaultSampler", shuffle=False),
    dataset=dict(_base_.val_dataloader.dataset, split="train", pipeline=test_pipeline),
)
custom_hooks = [dict(type="smallvit.CalibrationHook", num_images=10_000)]

# eval_mode=1 uses the thresholds stored by tools/multi_exit/calibrate.py, 2 computes them first.
test_evaluator = [
    dict(type="Accuracy", topk=(1, 5)),
    dict(type="smallvit.AnytimeAccuracy"),
    dict(type="smallvit.BudgetedBatch", eval_mode=2),
]
