data_preprocessor = dict(num_classes=10, mean=[77.9] * 3, std=[95.8] * 3, to_rgb=False)

train_pipeline = [
    dict(type="Resize", scale=32, interpolation="bicubic"),
    dict(type="RandomCrop", crop_size=32, padding=3),
    dict(
        type="Rotate",
        magnitude_range=(0.0, 15.0),
        magnitude_std="inf",
        prob=1.0,
        pad_val=0,
        interpolation="bilinear",
    ),
    dict(type="PackInputs"),
]
test_pipeline = [
    dict(type="Resize", scale=32, interpolation="bicubic"),
    dict(type="PackInputs"),
]

# Batches of 32x32 load faster in the main process than a worker could transfer them.
train_dataloader = dict(
    batch_size=64,
    num_workers=0,
    persistent_workers=False,
    sampler=dict(type="DefaultSampler", shuffle=True),
    dataset=dict(type="smallvit.Digits", split="train", pipeline=train_pipeline),
)
val_dataloader = dict(
    batch_size=128,
    num_workers=0,
    persistent_workers=False,
    sampler=dict(type="DefaultSampler", shuffle=False),
    dataset=dict(type="smallvit.Digits", split="val", pipeline=test_pipeline, test_mode=True),
)
test_dataloader = dict(
    batch_size=128,
    num_workers=0,
    persistent_workers=False,
    sampler=dict(type="DefaultSampler", shuffle=False),
    dataset=dict(type="smallvit.Digits", split="test", pipeline=test_pipeline, test_mode=True),
)

val_evaluator = dict(type="Accuracy", topk=(1,))
test_evaluator = val_evaluator
