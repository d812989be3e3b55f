# iNaturalist 2019, 1,010 species.
_base_ = "./inat18_deit_224.py"

data_preprocessor = dict(num_classes=1010)

inaturalist = dict(data_root="data/inaturalist2019", year=2019)
train_dataloader = dict(dataset=inaturalist)
val_dataloader = dict(dataset=inaturalist)
test_dataloader = val_dataloader
