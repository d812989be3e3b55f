# Training images of CIFAR-100 at their original size, without labels.
_base_ = "./unlabeled.py"

data_root = "data/cifar100"
data_preprocessor = dict(to_rgb=False)  # MMPretrain's CIFAR images are already RGB

images = dict(type="CIFAR100", data_root=data_root, split="train")
train_dataloader = dict(
    batch_size=256,
    dataset=dict(_delete_=True, type="smallvit.WithoutLabels", datasets=[images], pipeline=[]),
)
