# Chaoyang, four classes, at 224x224, with the crops, RandAugment and random erasing of
# tiny-transformers.
_base_ = "./imagenet_swin_224.py"

data_preprocessor = dict(num_classes=4)

# Test on the whole image instead of a center crop.
test_pipeline = [
    dict(type="LoadImageFromFile"),
    dict(type="Resize", scale=(224, 224), backend="pillow", interpolation="bilinear"),
    dict(type="PackInputs"),
]

chaoyang = dict(type="smallvit.Chaoyang", data_root="data/chaoyang")
train_dataloader = dict(
    batch_size=128, num_workers=4, drop_last=True, dataset=dict(split="train", **chaoyang)
)
val_dataloader = dict(
    batch_size=200,
    num_workers=4,
    dataset=dict(split="test", test_mode=True, pipeline=test_pipeline, **chaoyang),
)
test_dataloader = val_dataloader

# With four classes, top-5 is meaningless.
val_evaluator = dict(topk=(1,))
test_evaluator = val_evaluator
