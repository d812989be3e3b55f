# The clipart domain of DomainNet, 345 classes, in train/ and val/ folders by class.
_base_ = "mmpretrain::_base_/datasets/imagenet_bs64_swin_224.py"

data_preprocessor = dict(num_classes=345)
data_root = "data/domainnet/clipart"

train_dataloader = dict(
    batch_size=128,
    num_workers=8,
    sampler=dict(type="RepeatAugSampler", shuffle=True),
    dataset=dict(type="CustomDataset", data_root=data_root, split="", data_prefix="train"),
)
val_dataloader = dict(
    batch_size=128,
    num_workers=8,
    dataset=dict(type="CustomDataset", data_root=data_root, split="", data_prefix="val"),
)
test_dataloader = val_dataloader
