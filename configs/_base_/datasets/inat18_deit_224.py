# iNaturalist 2018, 8,142 species, with DeiT's augmentations.
_base_ = "./imagenet_swin_224.py"

data_preprocessor = dict(num_classes=8142)

inaturalist = dict(type="smallvit.INaturalist", data_root="data/inaturalist2018", year=2018)
train_dataloader = dict(
    batch_size=128,
    num_workers=8,
    drop_last=True,
    sampler=dict(type="RepeatAugSampler", shuffle=True),
    dataset=dict(split="train", **inaturalist),
)
val_dataloader = dict(
    batch_size=128,
    num_workers=8,
    dataset=dict(split="val", test_mode=True, **inaturalist),
)
test_dataloader = val_dataloader
