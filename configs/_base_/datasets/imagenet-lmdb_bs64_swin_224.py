# ImageNet-1K in the stores that tools/dataset_converters/folder2lmdb.py writes, with the
# augmentations of Swin: in place of imagenet_swin_224.py, and the same samples.
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

# A key is the path below the class folders' root: nothing may stand before it.
keys = dict(data_root="", split="")
train_dataloader = dict(
    dataset=dict(ann_file=f"{train_store}/annotations.txt", pipeline=train_pipeline, **keys)
)
val_dataloader = dict(
    dataset=dict(ann_file=f"{val_store}/annotations.txt", pipeline=test_pipeline, **keys)
)
test_dataloader = val_dataloader
