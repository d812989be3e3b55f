# Same as CIFAR-100, for CIFAR-10.
_base_ = "./cifar100_deit_32.py"

data_preprocessor = dict(num_classes=10)

cifar10 = dict(type="CIFAR10", data_root="data/cifar10")
train_dataloader = dict(dataset=cifar10)
val_dataloader = dict(dataset=cifar10)
test_dataloader = val_dataloader

val_evaluator = dict(topk=(1, 5))
test_evaluator = val_evaluator
