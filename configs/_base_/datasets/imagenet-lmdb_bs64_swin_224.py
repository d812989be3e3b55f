# ImageNet-1K in stores written by tools/dataset_converters/folder2lmdb.py, with Swin's
# augmentations: a replacement for imagenet_swin_224.py with the same samples.
_base_ = "./imagenet_swin_224.py"

train_store = "data/imagenet/train.lmdb"
val_store = "data/imagenet/val.lmdb"
train_pipeline = [
    dict(type="LoadImageFromFile", backend_args=dict(backend="lmdb", db_path=train_store)),
    *_base_.train_pipeline[1:],
]
test_pipeline = [
    dict(type="LoadImageFromFile", backend_args=dict(backend="lmdb", db_path=val_store)),
    *_base_.test_pipeline[1:],
]

# Keys are paths relative to the root of the class folders, without a prefix.
keys = dict(data_root="", split="")
train_dataloader = dict(
    dataset=dict(ann_file=f"{train_store}/annotations.txt", pipeline=train_pipeline, **keys)
)
val_dataloader = dict(
    dataset=dict(ann_file=f"{val_store}/annotations.txt", pipeline=test_pipeline, **keys)
)
test_dataloader = val_dataloader
