# Same as CIFAR-10, with the mean and standard deviation of CIFAR-100.
_base_ = "./cifar10_224_swin.py"

mean = [129.285, 124.0575, 112.4295]
std = [68.1615, 65.382, 70.431]
data_preprocessor = dict(num_classes=100, mean=mean, std=std)

*geometry, randaugment, erasing, pack = _base_.train_pipeline
train_pipeline = [
    *geometry,
    dict(randaugment, fill=mean),
    dict(erasing, mean=mean, std=std),
    pack,
]

cifar100 = dict(type="CIFAR100", data_root="data/cifar100")
train_dataloader = dict(dataset=dict(pipeline=train_pipeline, **cifar100))
val_dataloader = dict(dataset=cifar100)
test_dataloader = val_dataloader

val_evaluator = dict(topk=(1, 5))
test_evaluator = val_evaluator
