# Tiny-ImageNet, 200 classes, same augmentations as Chaoyang.
_base_ = "./chaoyang_224_randaug.py"

data_preprocessor = dict(num_classes=200)

tiny_imagenet = dict(type="smallvit.TinyImageNet", data_root="data/tiny-imagenet-200")
train_dataloader = dict(dataset=dict(**tiny_imagenet))
val_dataloader = dict(dataset=dict(split="val", **tiny_imagenet))
test_dataloader = val_dataloader

val_evaluator = dict(topk=(1, 5))
test_evaluator = val_evaluator
