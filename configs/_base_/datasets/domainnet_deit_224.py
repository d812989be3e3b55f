# One domain of DomainNet, 345 classes, with DeiT's augmentations. For another domain, set
# dataset=dict(domain="sketch") in train_dataloader and val_dataloader, and test_dataloader =
# val_dataloader.
_base_ = "./imagenet_swin_224.py"

data_preprocessor = dict(num_classes=345)

domainnet = dict(type="smallvit.DomainNet", data_root="data/domainnet", domain="clipart")
train_dataloader = dict(
    batch_size=128,
    num_workers=8,
    drop_last=True,
    sampler=dict(type="RepeatAugSampler", shuffle=True),
    dataset=dict(split="train", **domainnet),
)
val_dataloader = dict(
    batch_size=128,
    num_workers=8,
    dataset=dict(split="test", test_mode=True, **domainnet),
)
test_dataloader = val_dataloader
