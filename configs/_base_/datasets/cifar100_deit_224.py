# CIFAR-100 enlarged to 224x224 with DeiT's augmentations and test crop.
_base_ = "./cifar100_224_randaug.py"

test_pipeline = [
    dict(type="ResizeEdge", scale=256, edge="short", backend="pillow", interpolation="bicubic"),
    dict(type="CenterCrop", crop_size=224),
    dict(type="PackInputs"),
]
val_dataloader = dict(dataset=dict(pipeline=test_pipeline))
test_dataloader = val_dataloader
