# Your own images, in a folder for each class: data_root holds train/, val/ and test/ or the
# classes themselves. The tools read data_root and the number of classes late, from the folder
# that is there: --cfg-options data_root=/my/images is enough, and so is data_root = "/my/images"
# in a config that inherits this one.
_base_ = "./imagenet_swin_224.py"

data_root = "data/images"

# The data sets below that have these settings follow data_root, and the model the classes.
fit_to_folder = dict(data_root=data_root)

folder = dict(type="smallvit.ClassFolders", data_root=data_root)
train_dataloader = dict(num_workers=4, dataset=dict(split="train", **folder))
val_dataloader = dict(num_workers=4, dataset=dict(split="val", test_mode=True, **folder))
test_dataloader = dict(val_dataloader, dataset=dict(val_dataloader["dataset"], split="test"))
