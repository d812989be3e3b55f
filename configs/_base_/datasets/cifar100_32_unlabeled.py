# The training images of CIFAR-100 at their own size, without their labels.
_base_ = "./unlabeled.py"

data_root = "data/cifar100"
data_preprocessor = dict(to_rgb=False)  # mmpretrain's CIFAR images are RGB already

images = dict(type="CIFAR100", data_root=data_root, split="train")
train_dataloader = dict(
    batch_size=256,
    dataset=dict(_delete_=True, type="smallvit.WithoutLabels", datasets=[images], pipeline=[]),
)
