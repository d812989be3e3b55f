# Your own images, one folder per class: data_root contains train/, val/ and test/ or the class
# folders themselves. To use them, pass --cfg-options data_root=/my/images, or set data_root =
# "/my/images" in a config that inherits this one; the tools derive the classes from the folder.
_base_ = "./imagenet_swin_224.py"

data_root = "data/images"

# Datasets below with these settings follow data_root, and the model follows the classes.
fit_to_folder = dict(data_root=data_root)

folder = dict(type="smallvit.ClassFolders", data_root=data_root)
train_dataloader = dict(num_workers=4, dataset=dict(split="train", **folder))
val_dataloader = dict(num_workers=4, dataset=dict(split="val", test_mode=True, **folder))
test_dataloader = dict(val_dataloader, dataset=dict(val_dataloader["dataset"], split="test"))
