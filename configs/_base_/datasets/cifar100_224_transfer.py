# Same as CIFAR-10, for CIFAR-100.
_base_ = "./cifar10_224_transfer.py"

data_preprocessor = dict(num_classes=100)

cifar100 = dict(type="CIFAR100", data_root="data/cifar100")
train_dataloader = dict(dataset=cifar100)
val_dataloader = dict(dataset=cifar100)
test_dataloader = val_dataloader

calibration_dataloader = dict(
    _base_.calibration_dataloader, dataset=dict(_base_.calibration_dataloader.dataset, **cifar100)
)
