# CIFAR-10 enlarged to 224x224, cropped and flipped, as T2T-ViT is transferred to it. The mean and
# standard deviation are those of its script, for both data sets.
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

# Training images, in the transforms of the test: 10,000 of them are drawn.
calibration_dataloader = dict(
    batch_size=100,
    num_workers=8,
    sampler=dict(type="DefaultSampler", shuffle=False),
    dataset=dict(_base_.val_dataloader.dataset, split="train", pipeline=test_pipeline),
)
custom_hooks = [dict(type="smallvit.CalibrationHook", num_images=10_000)]

# eval_mode=1 takes the thresholds that tools/multi_exit/calibrate.py stored, 2 finds them first.
test_evaluator = [
    dict(type="Accuracy", topk=(1, 5)),
    dict(type="smallvit.AnytimeAccuracy"),
    dict(type="smallvit.BudgetedBatch", eval_mode=2),
]
